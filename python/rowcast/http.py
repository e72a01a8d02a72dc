"""GraphQL over HTTP for who has no WebSocket: whoever asks for the schema, and a federated graph's gateway.

Only queries are answered. Those for the schema are not authenticated; ``_entities`` gives rows, and for it the
``authenticate`` hook is asked first, with the request's headers and without a payload. Status codes and
media types follow the GraphQL-over-HTTP draft: ``application/graphql-response+json`` tells errors by status,
``application/json`` (what older clients ask for) by body.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rowcast.connection import Connection, Headers, Payload, parse_cookies
from rowcast.conversation import HIDDEN, Rules, principal_of
from rowcast.errors import Forbidden, NotStarted, RequestRefused
from rowcast.principal import Principal

if TYPE_CHECKING:
    from rowcast.manager import SubscriptionManager

_log = logging.getLogger("rowcast")

BODY_BYTES_MAX = 1 << 20
_JSON = "application/json"
_GRAPHQL = "application/graphql-response+json"


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
    allow: str | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [("content-type", f"{self.media_type}; charset=utf-8"), ("content-length", str(len(self.body)))]
        return headers if self.allow is None else [*headers, ("allow", self.allow)]


class _Unreadable(ValueError):
    """The client's mistake, in our words."""


@dataclass(frozen=True)
class _Parameters:
    query: str
    variables: str | None
    operation_name: str | None


def _error(status: int, message: str, code: str, *, media_type: str = _JSON, allow: str | None = None) -> Answer:
    body = json.dumps({"errors": [{"message": message, "extensions": {"code": code}}]}).encode()
    return Answer(status, body, media_type, allow)


NOT_FOUND = _error(404, "There is nothing at this path", "NOT_FOUND")
TOO_LARGE = _error(413, f"The body is larger than {BODY_BYTES_MAX} bytes", "BODY_TOO_LARGE")
_METHOD = _error(405, "Use POST, GET or a WebSocket", "METHOD_NOT_ALLOWED", allow="GET, POST")
_ACCEPT = _error(406, f"This endpoint answers with {_GRAPHQL} or {_JSON}", "NOT_ACCEPTABLE")
_CONTENT = _error(415, f"Send the request as {_JSON} in UTF-8", "UNSUPPORTED_MEDIA_TYPE")
_FORBIDDEN = _error(403, "Forbidden", "FORBIDDEN")
_LATE = _error(503, "Try again later", "AUTHENTICATE_TIMEOUT")
_BROKEN = _error(500, HIDDEN, "INTERNAL_SERVER_ERROR")
_ODD = "The request nests too deeply, or has numbers or characters that are none in JSON"
_STOPPED = _error(503, "The service is starting or stopping", "NOT_STARTED")


def refuse_early(request: Request) -> Answer | None:
    """What the head alone decides, before a body is read."""
    if request.method not in ("GET", "HEAD", "POST"):
        return _METHOD
    if _media_type(request) is None:
        return _ACCEPT
    if request.method == "POST" and not _is_json(request.headers.get("content-type", "")):
        return _CONTENT
    return None


async def answer(manager: SubscriptionManager, request: Request, body: bytes, rules: Rules | None = None) -> Answer:
    """Answer a request that `refuse_early` let through; ``rules`` say who asks for rows."""
    media_type = _media_type(request) or _JSON
    try:
        asked = _from_body(body) if request.method == "POST" else _from_query(request.query)
    except _Unreadable as error:
        return _error(400, str(error), "BAD_REQUEST", media_type=media_type)
    except (ValueError, RecursionError):
        return _error(400, _ODD, "BAD_REQUEST", media_type=media_type)
    try:
        text = await _execute(manager, asked, None)
        if rules is not None and _wants_a_principal(text):
            principal = await _principal(rules, request)
            if isinstance(principal, Answer):
                return principal
            text = await _execute(manager, asked, principal)
    except NotStarted:
        return _STOPPED
    except ValueError:
        # Python's JSON knows lone surrogates, infinities and a thousand levels; the engine's does not.
        return _error(400, _ODD, "BAD_REQUEST", media_type=media_type)
    except RequestRefused as error:
        errors = error.errors or [{"message": error.message, "extensions": {"code": error.code}}]
        text = json.dumps({"errors": errors})
    return Answer(_status(text, media_type), text.encode(), media_type)


async def _execute(manager: SubscriptionManager, asked: _Parameters, principal: Principal | None) -> str:
    execute = manager.executor.execute
    return await asyncio.to_thread(execute, asked.query, asked.variables, asked.operation_name, principal=principal)


def _wants_a_principal(text: str) -> bool:
    if '"PRINCIPAL_REQUIRED"' not in text:
        return False
    response = json.loads(text)
    return "data" not in response and response["errors"][0]["extensions"]["code"] == "PRINCIPAL_REQUIRED"


async def _principal(rules: Rules, request: Request) -> Principal | Answer:
    """Who asks, or what to answer instead; what a hook raises is for the log."""
    if rules.authenticate is None:
        return Principal()
    cookies = parse_cookies(request.headers.get("cookie", ""))
    connection = Connection(request.headers, cookies, Payload({}), request.query, request.client)
    try:
        return await asyncio.wait_for(principal_of(rules.authenticate, connection), rules.authenticate_timeout_s)
    except Forbidden as refusal:
        _log.info("request refused: %s", refusal)
        return _FORBIDDEN
    except asyncio.TimeoutError:
        _log.warning("authenticate timed out (limit %g s)", rules.authenticate_timeout_s)
        return _LATE
    except Exception:
        _log.exception("authenticate failed")
        return _BROKEN


def _status(text: str, media_type: str) -> int:
    """A request error has no ``data``; only the newer media type may say so by status."""
    return 400 if media_type == _GRAPHQL and "data" not in json.loads(text) else 200


def _from_body(body: bytes) -> _Parameters:
    try:
        parameters = json.loads(body)
    except ValueError as error:
        raise _Unreadable("The body is no JSON") from error
    if not isinstance(parameters, dict):
        raise _Unreadable("The body must be a JSON object with a `query`")
    return _checked(parameters)


def _from_query(query: Mapping[str, str]) -> _Parameters:
    parameters: dict[str, Any] = dict(query)
    for name in ("variables", "extensions"):
        try:
            parameters[name] = json.loads(parameters.get(name) or "null")
        except ValueError as error:
            raise _Unreadable(f"`{name}` must be a JSON object") from error
    return _checked(parameters)


def _checked(parameters: dict[str, Any]) -> _Parameters:
    query, variables, name = parameters.get("query"), parameters.get("variables"), parameters.get("operationName")
    if not isinstance(query, str) or not query:
        raise _Unreadable("`query` is missing or no text")
    if variables is not None and not isinstance(variables, dict):
        raise _Unreadable("`variables` must be a JSON object")
    if name is not None and not isinstance(name, str):
        raise _Unreadable("`operationName` must be text")
    if parameters.get("extensions") is not None and not isinstance(parameters["extensions"], dict):
        raise _Unreadable("`extensions` must be a JSON object")
    return _Parameters(query, None if variables is None else json.dumps(variables), name or None)


def _media_type(request: Request) -> str | None:
    """The first of our two types that ``Accept`` names, JSON for a wildcard or no header, or ``None``."""
    accepted = request.headers.get("accept", "*/*") or "*/*"
    for entry in accepted.split(","):
        name = entry.partition(";")[0].strip().lower()
        if name in (_GRAPHQL, _JSON):
            return name
        if name in ("*/*", "application/*"):
            return _JSON
    return None


def _is_json(content_type: str) -> bool:
    name, _, parameters = content_type.lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    return name.strip() == _JSON and ("charset=" not in charset or "charset=utf-8" in charset)
