"""graphql-sse: subscriptions over plain HTTP, for clients without a WebSocket.

Two modes. *Distinct*: a request that accepts ``text/event-stream`` is answered with the results of its one operation;
each has its cursor for an ``id``, so that a browser's ``EventSource`` resumes by itself (``Last-Event-ID`` means what
``extensions.rowcast.after`` means, and is newer). *Single*: PUT reserves a stream and gives its token, GET opens it,
POST starts operations in it, DELETE ends them.

The same ``authenticate`` hook and limits apply as on a WebSocket. A client can resume a stream that ended without
``complete``. The engine holds the conversation; this module carries bytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from rowcast._engine import GraphQLRequest, Session
from rowcast.errors import NotStarted, RateLimited, RowcastError
from rowcast.transport.bridge import LoopBridge
from rowcast.transport.conversation import Rules
from rowcast.transport.http import (
    EVENT_STREAM,
    FORBIDDEN,
    STOPPED,
    TOO_LARGE,
    Answer,
    Request,
    answer,
    media_type_of,
    operation_of,
    refusal,
    refuse_early,
    who_asks,
)
from rowcast.transport.sse.reservation import Reservation, Reservations, is_same
from rowcast.transport.sse.stream import EventStream, Exchange

if TYPE_CHECKING:
    from rowcast.manager import SubscriptionManager

_log = logging.getLogger("rowcast")

TOKEN_HEADER = "x-graphql-event-stream-token"  # noqa: S105 - a header's name
TOKEN_PARAMETER = "token"  # noqa: S105 - a parameter's name

_NO_STREAM = refusal(404, "There is no such stream", "STREAM_NOT_FOUND")
_OPEN = refusal(409, "Stream already open", "STREAM_OPEN")
_REGISTERED = refusal(409, "Stream already registered", "STREAM_REGISTERED")
_NO_ID = refusal(400, "extensions.operationId must be a text: the client chooses it", "OPERATION_ID_MISSING")
_NOT_BY_GET = refusal(405, "A mutation is not asked for by GET", "METHOD_NOT_ALLOWED", allow="POST")
_OVERLOADED = refusal(503, "Try again later", "OVERLOADED")
_FORBIDDEN_CLOSE = 4403
_STATUS = {"OPERATION_EXISTS": 409, "OPERATION_LIMIT": 429, "RATE_LIMITED": 429, "STREAM_CLOSED": 404}


class GraphQLHTTPHandler:
    """Serves the HTTP requests of one mount: queries as JSON, subscriptions as event streams.

    Args:
        manager: Running, or started before the first request comes.
        rules: Those of the mount's WebSocket.
        allowed_origins: As for the WebSocket. Of queries the hook alone decides.
    """

    def __init__(
        self, manager: SubscriptionManager, rules: Rules, *, allowed_origins: Collection[str] | None = None
    ) -> None:
        self._manager = manager
        self._rules = rules
        self._origins = None if allowed_origins is None else frozenset(allowed_origins)
        self._reservations = Reservations()

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            answered = refuse_early(exchange.request) or await self._answer(exchange)
        except NotStarted as error:
            if not self._manager.has_run:
                _log.error("%s", error)
            answered = STOPPED
        except RateLimited as error:
            answered = refusal(429, error.message, error.code, retry_after=str(error.retry_after_s))
        except RowcastError as error:
            _log.warning("request refused: %s [%s]", error, error.code)
            answered = _OVERLOADED
        if answered is not None:
            await exchange.answer(answered)

    async def _answer(self, exchange: Exchange) -> Answer | None:
        """The answer; ``None`` when it was a stream and is over."""
        request = exchange.request
        token = self._token(request)
        if token is None and request.method in ("GET", "HEAD", "POST") and not _wants_events(request):
            return await self._query(exchange)
        if not self._may_come_from(request):
            return FORBIDDEN
        if request.method == "PUT":
            return await self._reserve(request, token)
        if token is None:
            return await self._without_a_token(exchange)
        return await self._with_a_token(exchange, token)

    async def _without_a_token(self, exchange: Exchange) -> Answer | None:
        request = exchange.request
        is_for_a_token = TOKEN_PARAMETER in request.query and "query" not in request.query
        if request.method == "DELETE" or (request.method == "GET" and is_for_a_token):
            return _NO_STREAM
        asked = await _read(exchange)
        return asked if isinstance(asked, Answer) else await self._distinct(exchange, asked)

    async def _with_a_token(self, exchange: Exchange, token: str) -> Answer | None:
        request = exchange.request
        if request.method == "DELETE":
            return await self._end(request, token)
        if _wants_events(request):
            return await self._claim(exchange, token)
        asked = await _read(exchange)
        return asked if isinstance(asked, Answer) else await self._start(request, asked, token)

    async def _query(self, exchange: Exchange) -> Answer:
        """A subscription with an ``operationId`` was meant for a stream, but the request has no token."""
        body = await exchange.body()
        if body is None:
            return TOO_LARGE
        answered = await answer(self._manager, exchange.request, body, self._rules)
        if b'"OPERATION_NOT_SUPPORTED"' in answered.body and b'"operationId"' in body:
            return _NO_STREAM
        return answered

    # One operation to a stream

    async def _distinct(self, exchange: Exchange, asked: GraphQLRequest) -> Answer | None:
        request = exchange.request
        bridge, session = self._connect(request, single=False)
        stream = EventStream(session, exchange)
        number = session.token
        bridge.add(number, stream)
        try:
            principal = await who_asks(self._rules, request)
            if isinstance(principal, Answer):
                return principal
            session.accept(principal)
            if refused := _refused(session):
                return refused
            last_event_id = request.headers.get("last-event-id")
            errors = session.start("", asked.resumed(last_event_id) if last_event_id else asked)
            if request.method == "GET" and _code_of(errors) == "OPERATION_NOT_SUPPORTED":
                return _NOT_BY_GET
            await stream.run()
            return None
        finally:
            bridge.remove(number)
            session.disconnect()

    # All operations of a client in one stream

    async def _reserve(self, request: Request, token: str | None) -> Answer:
        if self._reservations.find(token) is not None:
            return _REGISTERED
        bridge, session = self._connect(request, single=True)
        try:
            principal = await who_asks(self._rules, request)
        except BaseException:
            session.disconnect()
            raise
        if isinstance(principal, Answer):
            session.disconnect()
            return principal
        session.accept(principal)
        if refused := _refused(session):
            session.disconnect()
            return refused
        reservation = self._reservations.add(session, principal, bridge)
        return Answer(201, reservation.token.encode(), "text/plain")

    async def _claim(self, exchange: Exchange, token: str) -> Answer | None:
        reservation = await self._find(exchange.request, token)
        if isinstance(reservation, Answer):
            return reservation
        if not reservation.claim():
            return _OPEN
        stream = EventStream(reservation.session, exchange)
        reservation.bridge.add(reservation.number, stream)
        stream.wake()
        try:
            await stream.run()
            return None
        finally:
            self._reservations.drop(reservation)

    async def _start(self, request: Request, asked: GraphQLRequest, token: str) -> Answer:
        reservation = await self._find(request, token)
        if isinstance(reservation, Answer):
            return reservation
        if asked.operation_id is None:
            return _NO_ID
        errors = reservation.session.start(asked.operation_id, asked)
        if errors is None:
            return Answer(202, b"")
        return Answer(_STATUS.get(_code_of(errors), 400), f'{{"errors":{errors}}}'.encode())

    async def _end(self, request: Request, token: str) -> Answer:
        reservation = await self._find(request, token)
        if isinstance(reservation, Answer):
            return reservation
        operation = request.query.get("operationId")
        if not operation:
            return refusal(400, "The parameter operationId is missing", "OPERATION_ID_MISSING")
        reservation.session.end(operation)
        return Answer(200, b"")

    async def _find(self, request: Request, token: str) -> Reservation | Answer:
        """The stream of this token, if it is the caller's; to anybody else it is not there."""
        if self._reservations.find(token) is None:
            return _NO_STREAM
        principal = await who_asks(self._rules, request)
        if isinstance(principal, Answer):
            return principal
        reservation = self._reservations.find(token)
        if reservation is None or not is_same(principal, reservation.principal):
            return _NO_STREAM
        return reservation

    def _token(self, request: Request) -> str | None:
        """A header names a stream always, a parameter if there is one of that name: it may be the application's."""
        named = request.headers.get(TOKEN_HEADER)
        if named is not None:
            return named
        parameter = request.query.get(TOKEN_PARAMETER)
        return None if self._reservations.find(parameter) is None else parameter

    def _connect(self, request: Request, *, single: bool) -> tuple[LoopBridge, Session]:
        bridge = self._manager.bridge()
        peer = request.client
        return bridge, self._manager.executor.open_stream(bridge.hub, peer[0] if peer else None, single=single)

    def _may_come_from(self, request: Request) -> bool:
        origin = request.headers.get("origin")
        return self._origins is None or origin is None or origin in self._origins


def _wants_events(request: Request) -> bool:
    return request.method in ("GET", "POST") and media_type_of(request) == EVENT_STREAM


async def _read(exchange: Exchange) -> GraphQLRequest | Answer:
    body = await exchange.body()
    return TOO_LARGE if body is None else operation_of(exchange.request, body)


def _refused(session: Session) -> Answer | None:
    """What to answer when the principal was revoked, or disconnected, while its hook was asked."""
    closing = session.closing()
    if closing is None:
        return None
    return FORBIDDEN if closing[0] == _FORBIDDEN_CLOSE else _OVERLOADED


def _code_of(errors: str | None) -> str:
    code: str = "" if errors is None else json.loads(errors)[0]["extensions"]["code"]
    return code
