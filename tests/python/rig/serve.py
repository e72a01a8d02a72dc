"""``python -m rig.serve module:app``: uvicorn on a free port, which prints ``ready http://127.0.0.1:PORT``."""

import asyncio
import importlib
import os
import socket
import sys

import uvicorn


async def main(target: str) -> None:
    """Serve until a signal arrives."""
    module, _, name = target.partition(":")
    app = getattr(importlib.import_module(module), name)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    if "SERVE_SEND_BUFFER" in os.environ:
        # Sockets inherit it: otherwise the kernel buffers megabytes before a slow client is noticed.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, int(os.environ["SERVE_SEND_BUFFER"]))
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=1 << 20,
        ws_ping_interval=None,  # the engine sends pings and handles slow clients by itself
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
    server = Announced(config)
    await server.serve(sockets=[listener])
    if not server.started:
        sys.exit(3)


class Announced(uvicorn.Server):
    """uvicorn, which prints its address once the application has started and sockets are accepted."""

    async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Start, then print the address."""
        await super().startup(sockets)
        if self.started and sockets:
            print(f"ready http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - awaited by the starter


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
