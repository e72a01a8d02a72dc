"""``python -m rig.serve module:app``: uvicorn on a free port, which prints ``ready http://127.0.0.1:PORT``."""

import asyncio
import importlib
import socket
import sys

import uvicorn


async def main(target: str) -> None:
    """Serve until a signal comes."""
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    announcement = asyncio.create_task(_announce(server, listener.getsockname()[1]))
    await server.serve(sockets=[listener])
    announcement.cancel()
    if not server.started:
        sys.exit(3)


async def _announce(server: uvicorn.Server, port: int) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    print(f"ready http://127.0.0.1:{port}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
