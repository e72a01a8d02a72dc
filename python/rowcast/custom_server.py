"""A template for other servers, on the ``websockets`` package: one file that carries rowcast without ASGI.

Copy it and replace what touches the server. The adapter below is all that rowcast needs; ``rowcast.adapter_suite``
proves that it keeps its promises (``tests/python/unit/test_adapters.py`` shows how). It is tested and works as it
is::

    async with manager, serve(manager, "127.0.0.1", 8000, authenticate=authenticate) as server:
        await server.serve_forever()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.typing import Subprotocol

from rowcast.manager import SubscriptionManager
from rowcast.transport.adapter import WebSocketAdapter, pick_subprotocol
from rowcast.transport.connection import Headers, parse_cookies
from rowcast.transport.hook import Authenticate
from rowcast.transport.protocol import GraphQLTransportWSHandler

MESSAGE_BYTES_MAX = 1 << 20


class WebSocketsAdapter:
    """A connection of the ``websockets`` package. Its handshake is over when the handler is called, see `choose`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._path = connection.request.path if connection.request else "/"
        raw = connection.request.headers.raw_items() if connection.request else ()
        self.headers: Mapping[str, str] = Headers(raw)

    @property
    def subprotocols(self) -> Sequence[str]:
        return [self.headers.get("sec-websocket-protocol", "")]

    @property
    def cookies(self) -> Mapping[str, str]:
        return parse_cookies(self.headers.get("cookie", ""))

    @property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(urlsplit(self._path).query, keep_blank_values=True))

    @property
    def client(self) -> tuple[str, int] | None:
        peer = self._connection.remote_address
        return (peer[0], peer[1]) if peer else None

    @property
    def is_connected(self) -> bool:
        return self._connection.state is State.OPEN

    async def accept(self, subprotocol: str | None) -> None:
        """Done by the server with the same choice."""

    async def receive(self) -> str | bytes | None:
        try:
            return await self._connection.recv()
        except ConnectionClosed:
            return None

    async def send_text(self, text: str) -> None:
        await self._connection.send(text)

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def abort(self) -> None:
        self._connection.transport.abort()


def serve(
    manager: SubscriptionManager,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    authenticate: Authenticate | None = None,
    **options: Any,
) -> Any:
    """Serve a manager's subscriptions; use the result as ``async with``.

    ``options`` are those of ``websockets.serve``.
    """
    return serve_adapters(GraphQLTransportWSHandler(manager, authenticate).handle, host, port, **options)


def serve_adapters(
    handle: Callable[[WebSocketAdapter], Awaitable[None]], host: str = "127.0.0.1", port: int = 8000, **options: Any
) -> Any:
    """Call ``handle`` with an adapter for each socket; an async context manager that gives the `Server`."""

    async def handler(connection: ServerConnection) -> None:
        await handle(WebSocketsAdapter(connection))

    def choose(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        chosen = pick_subprotocol(offered)
        return None if chosen is None else Subprotocol(chosen)

    # No compression: it costs more processor time than rows of a few hundred bytes save. The engine pings by itself.
    options = {"compression": None, "max_size": MESSAGE_BYTES_MAX, "ping_interval": None, **options}
    return websockets_serve(handler, host, port, select_subprotocol=choose, **options)


def address(server: Server) -> str:
    """``ws://host:port`` of a running server, for clients that let the system choose the port."""
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"ws://{host}:{port}"
