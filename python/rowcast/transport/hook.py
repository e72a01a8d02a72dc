"""The ``authenticate`` hook: checked when it is mounted, called for each connection, its refusals recognised.

A hook that could not be called would fail for each client alone, so its signature is checked where it is given.
FastAPI users refuse with ``HTTPException(401)`` or ``WebSocketException(1008)``; these count as `Forbidden`, and
Starlette is not imported for it.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable

from rowcast.errors import ConfigurationError, Forbidden
from rowcast.principal import Principal
from rowcast.transport.connection import Connection

Authenticate = Callable[[Connection], Principal | Awaitable[Principal]]

_HTTP_REFUSALS = (401, 403)
_SOCKET_REFUSALS = (1008,)


def checked(hook: Authenticate | None) -> Authenticate | None:
    """The hook itself.

    Raises:
        ConfigurationError: ``AUTHENTICATE_INVALID``: it cannot be called with one `Connection`.
    """
    problem = None if hook is None else _problem(hook)
    if problem is not None:
        raise ConfigurationError(
            f"authenticate {problem}; write `async def authenticate(connection: Connection) -> Principal`",
            code="AUTHENTICATE_INVALID",
        )
    return hook


def _problem(hook: object) -> str | None:
    if not callable(hook):
        return f"must be a function, not {type(hook).__name__}"
    if inspect.isasyncgenfunction(hook) or inspect.isgeneratorfunction(hook):
        return "must return a Principal, not yield one"
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):
        return None  # Some callables of C have no signature to read.
    try:
        signature.bind(object())
    except TypeError as error:
        return f"is called with one argument, a Connection, and takes {signature}: {error}"
    return None


async def principal_of(hook: Authenticate, connection: Connection) -> Principal:
    """Call the hook; a plain function runs in a thread.

    Raises:
        Forbidden: The hook refused.
        TypeError: It returned something other than a `Principal`.
    """
    try:
        principal = await _answer(hook, connection)
    except Exception as error:
        if _refuses(error):
            raise Forbidden(f"the hook raised {error!r}") from error
        raise
    if not isinstance(principal, Principal):
        raise TypeError(
            f"authenticate must return a rowcast.Principal, not {type(principal).__name__}; "
            "raise rowcast.Forbidden to refuse the connection, return Principal() for an anonymous caller"
        )
    return principal


async def _answer(hook: Authenticate, connection: Connection) -> object:
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
        answer = hook(connection)
    else:
        answer = await asyncio.to_thread(hook, connection)
    return await answer if inspect.isawaitable(answer) else answer


def _refuses(error: Exception) -> bool:
    """Whether it is a refusal by Starlette. A hook that raises one has imported it."""
    starlette = sys.modules.get("starlette.exceptions")
    if starlette is None:
        return False
    if isinstance(error, starlette.HTTPException):
        return error.status_code in _HTTP_REFUSALS
    return isinstance(error, starlette.WebSocketException) and error.code in _SOCKET_REFUSALS
