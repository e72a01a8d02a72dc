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
        ws_ping_interval=1.0,
        ws_ping_timeout=2.0,
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
        await asyncio.sleep(0.01)  # noqa: ASYNC110 - uvicorn has a flag, not an event
    print(f"ready http://127.0.0.1:{port}", flush=True)  # noqa: T201 - the line that the starter waits for


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
