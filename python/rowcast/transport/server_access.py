"""What ASGI has no word for, where a server's own objects can be found: the TCP transport, and the news that it stops.

Found by what they have, never imported: a server that looks otherwise is served without.

- uvicorn: its protocol object has the transport, and it closes sockets before anything else when it stops.
- hypercorn: while it stops it waits for sockets (``graceful_timeout``) without telling them, cancels what is left, and
  then waits without end for a client that does not read. So sockets have to learn of the stop by themselves. Its
  objects are those behind the ``send`` of the task that serves the socket, whatever middleware came between.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol


class Stopping(Protocol):
    """An event of the server's own: it begins to stop."""

    async def wait(self) -> None:
        """Return when it does."""


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """What can be reached of the server behind one socket."""

    transport: Any = None
    stopping: Stopping | None = None


def server_access(receive: object) -> ServerAccess:
    """Called in the task in which the server runs the application, with the ``receive`` that it was given."""
    transport = _uvicorns_transport(receive)
    return _hypercorns() if transport is None else ServerAccess(transport)


def _uvicorns_transport(receive: object) -> Any:
    """The TCP transport behind uvicorn's receive function, also through Starlette's WebSocket; else ``None``."""
    for _ in range(3):
        owner = getattr(receive, "__self__", None)
        transport = getattr(owner, "transport", None)
        if callable(getattr(transport, "abort", None)):
            return transport
        receive = getattr(owner, "_receive", None)
    return None


def _hypercorns() -> ServerAccess:
    task = asyncio.current_task()
    frame = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    if frame is None or not str(frame.f_globals.get("__name__")).startswith("hypercorn."):
        return ServerAccess()
    stream = getattr(frame.f_locals.get("send"), "__self__", None)
    stopping = getattr(getattr(stream, "context", None), "terminated", None)
    protocol = getattr(getattr(stream, "send", None), "__self__", None)
    # Several streams share a connection of HTTP/2: it is not one client's to be aborted.
    server = getattr(getattr(protocol, "send", None), "__self__", None) if hasattr(protocol, "stream") else None
    transport = getattr(getattr(server, "writer", None), "transport", None)
    return ServerAccess(
        transport if callable(getattr(transport, "abort", None)) else None,
        stopping if callable(getattr(stopping, "wait", None)) else None,
    )
