"""``python -m rig.serve module:app``: uvicorn on a free port, which prints ``ready http://127.0.0.1:PORT``."""

import asyncio
import importlib
import os
import socket
import sys

import uvicorn


async def main(target: str) -> None:
    """Serve until a signal comes."""
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    if "SERVE_SEND_BUFFER" in os.environ:
        # Sockets inherit it: else the kernel takes megabytes before a client is seen not to read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(os.environ["SERVE_SEND_BUFFER"]))
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        ws_ping_interval=None,  # the engine pings by itself, and a client that is slow to read is its business too
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    server = Announced(config)
    await server.serve(sockets=[listener])
    if not server.started:
        sys.exit(3)


class Announced(uvicorn.Server):
    """uvicorn, which says where it is once the application has started and sockets are accepted."""

    async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.started and sockets:
            print(f"ready http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - awaited by the starter


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
