"""GraphQL over HTTP for who has no WebSocket: whoever asks for the schema, and a federated graph's gateway.

Requests are read here, and queries answered; subscriptions are `rowcast.sse`.
The ``authenticate`` hook is asked first, with the request's headers and without a payload: the schema names tables and
columns. With ``public_introspection`` it is asked for ``_entities`` alone, which gives rows. Status codes and
media types follow the GraphQL-over-HTTP draft: ``application/graphql-response+json`` tells errors by status,
``application/json`` (what older clients ask for) by body.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rowcast.connection import Connection, Headers, Payload, parse_cookies
from rowcast.conversation import HIDDEN, Rules
from rowcast.errors import Forbidden, NotStarted, RequestRefused
from rowcast.hook import principal_of
from rowcast.principal import Principal

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


class _Unreadable(ValueError):
    """The client's mistake, in our words."""


@dataclass(frozen=True)
class Parameters:
    """What a request asks for; ``variables`` as JSON text."""

    query: str
    variables: str | None
    operation_name: str | None
    extensions: Mapping[str, Any] = field(default_factory=dict)


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
ODD = refusal(400, "The request nests too deeply, or has numbers or characters that are none in JSON", "BAD_REQUEST")
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
    asked = parameters_of(request, body)
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
    except ValueError:
        # Python's JSON knows lone surrogates, infinities and a thousand levels; the engine's does not.
        return replace(ODD, media_type=media_type)
    except RequestRefused as error:
        errors = error.errors or [{"message": error.message, "extensions": {"code": error.code}}]
        text = json.dumps({"errors": errors})
    return Answer(_status(text, media_type), text.encode(), media_type)


def parameters_of(request: Request, body: bytes) -> Parameters | Answer:
    """What is asked for, or what to answer when that cannot be read."""
    try:
        return _from_body(body) if request.method == "POST" else _from_query(request.query)
    except _Unreadable as error:
        return refusal(400, str(error), "BAD_REQUEST")
    except (ValueError, RecursionError):
        return ODD


async def _answered_to_all(manager: SubscriptionManager, asked: Parameters) -> str | None:
    """What is answered whoever asks; ``None`` when it depends on that."""
    if not manager.settings.public_introspection:
        return None
    text = await _execute(manager, asked, None)
    return None if _wants_a_principal(text) else text


async def _execute(manager: SubscriptionManager, asked: Parameters, principal: Principal | None) -> str:
    execute = manager.executor.execute
    return await asyncio.to_thread(execute, asked.query, asked.variables, asked.operation_name, principal=principal)


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


def _from_body(body: bytes) -> Parameters:
    try:
        parameters = json.loads(body)
    except ValueError as error:
        raise _Unreadable("The body is no JSON") from error
    if not isinstance(parameters, dict):
        raise _Unreadable("The body must be a JSON object with a `query`")
    return _checked(parameters)


def _from_query(query: Mapping[str, str]) -> Parameters:
    parameters: dict[str, Any] = dict(query)
    for name in ("variables", "extensions"):
        try:
            parameters[name] = json.loads(parameters.get(name) or "null")
        except ValueError as error:
            raise _Unreadable(f"`{name}` must be a JSON object") from error
    return _checked(parameters)


def _checked(parameters: dict[str, Any]) -> Parameters:
    query, variables, name = parameters.get("query"), parameters.get("variables"), parameters.get("operationName")
    if not isinstance(query, str) or not query:
        raise _Unreadable("`query` is missing or no text")
    if variables is not None and not isinstance(variables, dict):
        raise _Unreadable("`variables` must be a JSON object")
    if name is not None and not isinstance(name, str):
        raise _Unreadable("`operationName` must be text")
    extensions = parameters.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise _Unreadable("`extensions` must be a JSON object")
    return Parameters(query, None if variables is None else json.dumps(variables), name or None, extensions or {})


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
    """A media range and its ``q``; one that is no number wants nothing less than all."""
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
