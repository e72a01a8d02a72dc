"""GraphQL over HTTP for clients without a WebSocket: schema tools and a federated graph's gateway.

The engine alone reads the JSON of a request: Python's would round numbers. Queries are answered here; subscriptions are
`rowcast.transport.sse.handler`.
The ``authenticate`` hook runs first, with the request's headers and an empty payload: the schema names tables and
columns. With ``public_introspection`` it runs only for ``_entities``, which returns rows. Status codes and
media types follow the GraphQL-over-HTTP draft: ``application/graphql-response+json`` reports errors by status,
``application/json`` (which older clients request) in the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rowcast._engine import GraphQLRequest
from rowcast.errors import Forbidden, NotStarted, RequestRefused
from rowcast.principal import Principal
from rowcast.transport.connection import Connection, Headers, Payload, parse_cookies
from rowcast.transport.conversation import HIDDEN, Rules
from rowcast.transport.hook import principal_of

if TYPE_CHECKING:
    from rowcast.manager import SubscriptionManager

_log = logging.getLogger("rowcast")

BODY_BYTES_MAX = 1 << 20
EVENT_STREAM = "text/event-stream"
TEXT = "text/plain"
_JSON = "application/json"
_GRAPHQL = "application/graphql-response+json"
_METHODS = "GET, POST, PUT, DELETE"


@dataclass(frozen=True)
class Request:
    """The head of a request."""

    method: str
    headers: Mapping[str, str] = field(default_factory=Headers)
    query: Mapping[str, str] = field(default_factory=dict)
    client: tuple[str, int] | None = None


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    body: bytes
    media_type: str = _JSON
    more: tuple[tuple[str, str], ...] = ()

    @property
    def headers(self) -> list[tuple[str, str]]:
        length = ("content-length", str(len(self.body)))
        return [("content-type", f"{self.media_type}; charset=utf-8"), length, *self.more]


def refusal(status: int, message: str, code: str, *, media_type: str = _JSON, **headers: str) -> Answer:
    """An answer with one error; ``retry_after="1"`` becomes the header ``retry-after: 1``."""
    body = json.dumps({"errors": [{"message": message, "extensions": {"code": code}}]}).encode()
    return Answer(status, body, media_type, tuple((name.replace("_", "-"), value) for name, value in headers.items()))


NOT_FOUND = refusal(404, "There is nothing at this path", "NOT_FOUND")
TOO_LARGE = refusal(413, f"The body is larger than {BODY_BYTES_MAX} bytes", "BODY_TOO_LARGE")
_METHOD = refusal(405, "Use POST, GET or a WebSocket", "METHOD_NOT_ALLOWED", allow=_METHODS)
_ACCEPT = refusal(406, f"This endpoint answers with {_GRAPHQL}, {_JSON} or {EVENT_STREAM}", "NOT_ACCEPTABLE")
_ACCEPT_TOKEN = refusal(406, f"A reservation is answered with {TEXT}", "NOT_ACCEPTABLE")
_CONTENT = refusal(415, f"Send the request as {_JSON} in UTF-8", "UNSUPPORTED_MEDIA_TYPE")
FORBIDDEN = refusal(403, "Forbidden", "FORBIDDEN")
_LATE = refusal(503, "Try again later", "AUTHENTICATE_TIMEOUT")
_BROKEN = refusal(500, HIDDEN, "INTERNAL_SERVER_ERROR")
STOPPED = refusal(503, "The service is starting or stopping", "NOT_STARTED")


def refuse_early(request: Request) -> Answer | None:
    """What the head alone decides, before a body is read."""
    if request.method not in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        return _METHOD
    if request.method == "PUT":
        return None if accepted(request, (TEXT,)) else _ACCEPT_TOKEN
    if request.method != "DELETE" and media_type_of(request) is None:
        return _ACCEPT
    if request.method == "POST" and not _is_json(request.headers.get("content-type", "")):
        return _CONTENT
    return None


async def answer(manager: SubscriptionManager, request: Request, body: bytes, rules: Rules) -> Answer:
    """Answer a request that `refuse_early` let through; ``rules`` say who asks."""
    media_type = accepted(request, (_JSON, _GRAPHQL)) or _JSON
    asked = operation_of(request, body)
    if isinstance(asked, Answer):
        return replace(asked, media_type=media_type)
    try:
        text = await _answered_to_all(manager, asked)
        if text is None:
            principal = await who_asks(rules, request)
            if isinstance(principal, Answer):
                return principal
            text = await _execute(manager, asked, principal)
    except NotStarted:
        return STOPPED
    except RequestRefused as error:
        errors = error.errors or [{"message": error.message, "extensions": {"code": error.code}}]
        text = json.dumps({"errors": errors})
    return Answer(_status(text, media_type), text.encode(), media_type)


def operation_of(request: Request, body: bytes) -> GraphQLRequest | Answer:
    """What is asked for, or what to answer when the engine cannot read that."""
    try:
        return GraphQLRequest.parse(body) if request.method == "POST" else _from_query(request.query)
    except ValueError as error:
        return refusal(400, f"{error}", "BAD_REQUEST")


def _from_query(query: Mapping[str, str]) -> GraphQLRequest:
    """An empty parameter is one that was not given."""
    variables, name, extensions = (query.get(key) or None for key in ("variables", "operationName", "extensions"))
    return GraphQLRequest(query.get("query", ""), variables, name, extensions)


async def _answered_to_all(manager: SubscriptionManager, asked: GraphQLRequest) -> str | None:
    """What is answered whoever asks; ``None`` when it depends on that."""
    if not manager.settings.public_introspection:
        return None
    text = await _execute(manager, asked, None)
    return None if _wants_a_principal(text) else text


async def _execute(manager: SubscriptionManager, asked: GraphQLRequest, principal: Principal | None) -> str:
    return await asyncio.to_thread(manager.executor.answer, asked, principal=principal)


def _wants_a_principal(text: str) -> bool:
    if '"PRINCIPAL_REQUIRED"' not in text:
        return False
    response = json.loads(text)
    return "data" not in response and response["errors"][0]["extensions"]["code"] == "PRINCIPAL_REQUIRED"


async def who_asks(rules: Rules, request: Request) -> Principal | Answer:
    """Who asks, or what to answer instead; what a hook raises is for the log."""
    if rules.authenticate is None:
        return Principal()
    cookies = parse_cookies(request.headers.get("cookie", ""))
    connection = Connection(request.headers, cookies, Payload({}), request.query, request.client)
    try:
        return await asyncio.wait_for(principal_of(rules.authenticate, connection), rules.authenticate_timeout_s)
    except Forbidden as refusal:
        _log.info("request refused: %s", refusal)
        return FORBIDDEN
    except asyncio.TimeoutError:
        _log.warning("authenticate timed out (limit %g s)", rules.authenticate_timeout_s)
        return _LATE
    except Exception:
        _log.exception("authenticate failed")
        return _BROKEN


def _status(text: str, media_type: str) -> int:
    """A request error has no ``data``; only the newer media type may say so by status."""
    return 400 if media_type == _GRAPHQL and "data" not in json.loads(text) else 200


def media_type_of(request: Request) -> str | None:
    """What to answer with, by ``Accept``; ``None`` when we have nothing of it."""
    return accepted(request, (_JSON, _GRAPHQL) if request.method == "HEAD" else (_JSON, _GRAPHQL, EVENT_STREAM))


def accepted(request: Request, ours: Sequence[str]) -> str | None:
    """That of ``ours`` which ``Accept`` wants most: by its weight, then by its order; the first for a wildcard."""
    entries = [_weighed(entry) for entry in (request.headers.get("accept") or "*/*").split(",")]
    for name, weight in sorted(entries, key=lambda entry: -entry[1]):
        if weight > 0 and name in ours:
            return name
        if weight > 0 and name in ("*/*", ours[0].partition("/")[0] + "/*"):
            return ours[0]
    return None


def _weighed(entry: str) -> tuple[str, float]:
    """A media range and its ``q``; an invalid ``q`` counts as 1."""
    name, *parameters = (part.strip().lower() for part in entry.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            with contextlib.suppress(ValueError):
                return name, float(parameter[2:])
    return name, 1.0


def _is_json(content_type: str) -> bool:
    name, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    return name.strip() == _JSON and ("charset=" not in charset or "charset=utf-8" in charset)
