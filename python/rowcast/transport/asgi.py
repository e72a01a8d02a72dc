"""rowcast as an ASGI application, and the adapter that the FastAPI and Starlette mounts share.

``SubscriptionApp(manager, authenticate)`` answers three kinds of scope: ``websocket`` with graphql-transport-ws,
``http`` with GraphQL over HTTP (queries, see `rowcast.transport.http`; event streams, see `rowcast.transport.sse`), and
``lifespan`` by starting and stopping the manager, so that it also runs alone: ``uvicorn module:app``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from rowcast.manager import SubscriptionManager
from rowcast.transport.connection import Headers, parse_cookies
from rowcast.transport.hook import Authenticate
from rowcast.transport.http import BODY_BYTES_MAX, NOT_FOUND, Answer, Request
from rowcast.transport.protocol import GraphQLTransportWSHandler
from rowcast.transport.server_access import ServerAccess, Stopping, server_access
from rowcast.transport.sse.handler import GraphQLHTTPHandler
from rowcast.transport.sse.stream import HEADERS

_log = logging.getLogger("rowcast")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ASGIAdapter:
    """A ``websocket`` scope as a `WebSocketAdapter`.

    ``abort`` and ``stopping`` work where the server's own objects can be reached: see
    `rowcast.transport.server_access`.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers: Mapping[str, str] = headers_of(scope)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._connected = False
        self._server = ServerAccess()

    @property
    def subprotocols(self) -> Sequence[str]:
        offered: Sequence[str] = self._scope.get("subprotocols") or ()
        return offered

    @property
    def cookies(self) -> Mapping[str, str]:
        return parse_cookies(self.headers.get("cookie", ""))

    @property
    def query(self) -> Mapping[str, str]:
        return query_of(self._scope)

    @property
    def client(self) -> tuple[str, int] | None:
        return client_of(self._scope)

    @property
    def is_connected(self) -> bool:
        return self._connected

    async def accept(self, subprotocol: str | None) -> None:
        self._server = server_access(self._receive)
        await self._receive()  # websocket.connect
        message: dict[str, Any] = {"type": "websocket.accept"}
        if subprotocol is not None:
            message["subprotocol"] = subprotocol
        await self._send(message)
        self._connected = True

    async def receive(self) -> str | bytes | None:
        if not self._connected:
            return None
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._connected = False
            return None
        text: str | None = message.get("text")
        frame: bytes | None = message.get("bytes")
        return text if text is not None else frame or b""

    async def send_text(self, text: str) -> None:
        await self._send({"type": "websocket.send", "text": text})

    async def close(self, code: int, reason: str) -> None:
        if self._connected:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
            self._connected = False

    @property
    def stopping(self) -> Stopping | None:
        return self._server.stopping

    def abort(self) -> None:
        unread, self._connected = self._connected, False
        if self._server.transport is not None:
            self._server.transport.abort()
        elif unread:
            _log.warning("a client that does not read keeps its socket: this ASGI server gives no access to it")


class ASGIExchange:
    """An ``http`` scope as an `Exchange`."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request = Request(scope["method"], headers_of(scope), query_of(scope), client_of(scope))
        self._receive = receive
        self._send = send
        # uvicorn takes this away from each of its requests when it stops.
        self._kept_alive = _keeps_alive(receive)

    async def body(self) -> bytes | None:
        chunks = bytearray()
        while True:
            message = await self._receive()
            chunks += message.get("body", b"")
            if len(chunks) > BODY_BYTES_MAX:
                return None
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return bytes(chunks)

    async def answer(self, answer: Answer) -> None:
        await self._start(answer.status, answer.headers)
        body = b"" if self.request.method == "HEAD" else answer.body
        await self._send({"type": "http.response.body", "body": body})

    async def open(self) -> None:
        await self._start(200, HEADERS)

    async def send(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def abort(self) -> None:
        transport = server_access(self._receive).transport
        if transport is not None:
            transport.abort()

    def is_leaving(self) -> bool:
        return self._kept_alive and not _keeps_alive(self._receive)

    async def _start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        pairs = [(name.encode(), value.encode()) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


class SubscriptionApp:
    """An ASGI application for one manager.

    Args:
        manager: Started by this application's lifespan, if the server runs that, or by its owner.
        authenticate: See `GraphQLTransportWSHandler`; over HTTP (event streams and queries, introspection too) it is
            asked without a payload, and a refusal is 403. The manager's ``public_introspection`` opens the schema.
        allowed_origins: See `GraphQLTransportWSHandler`.
        path: Answer 404 to other paths; ``None`` when a router in front has chosen already.
    """

    def __init__(
        self,
        manager: SubscriptionManager,
        authenticate: Authenticate | None = None,
        *,
        allowed_origins: Collection[str] | None = None,
        path: str | None = None,
    ) -> None:
        self._manager = manager
        self._handler = GraphQLTransportWSHandler(manager, authenticate, allowed_origins=allowed_origins)
        self._http_handler = GraphQLHTTPHandler(manager, self._handler.rules, allowed_origins=allowed_origins)
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(self._manager, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_here(scope):
            await self._handler.handle(ASGIAdapter(scope, receive, send))
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = ASGIExchange(scope, receive, send)
        if self._is_here(scope):
            await self._http_handler.handle(exchange)
        else:
            await exchange.answer(NOT_FOUND)

    def _is_here(self, scope: Scope) -> bool:
        return self._path is None or scope["path"].rstrip("/") == self._path.rstrip("/")


def headers_of(scope: Scope) -> Headers:
    """The request's headers."""
    return Headers((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])


def query_of(scope: Scope) -> Mapping[str, str]:
    """The URL's parameters; of a name given twice the last value."""
    return dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))


def client_of(scope: Scope) -> tuple[str, int] | None:
    """The peer, if the server tells."""
    peer = scope.get("client")
    return (str(peer[0]), int(peer[1])) if peer else None


async def _live(manager: SubscriptionManager, receive: Receive, send: Send) -> None:
    """The lifespan protocol: a manager that cannot start keeps the server from starting, with its message."""
    await receive()
    try:
        await manager.start()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await manager.stop()
    await send({"type": "lifespan.shutdown.complete"})


def _keeps_alive(receive: object) -> bool:
    return getattr(getattr(receive, "__self__", None), "keep_alive", None) is True
