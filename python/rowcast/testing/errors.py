"""What a test learns by exceptions.

A subscription that was refused raises `rowcast.RequestRefused`, one that has ended `rowcast.SubscriptionEnded`, each
with the code that clients see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rowcast.errors import RowcastError


class NoEvent(RowcastError, TimeoutError):
    """Nothing came in the time that a test was ready to wait."""

    default_code = "NO_EVENT"


class Unsettled(RowcastError, TimeoutError):
    """The engine did not come to rest: a resolver hangs, most likely. The message says what is not over."""

    default_code = "UNSETTLED"


class ConnectionClosed(RowcastError):
    """The server closed the connection, as it would have closed a socket.

    Args:
        close_code: A WebSocket close code, such as 4403 when the principal's token has expired.
        reason: The reason that the client receives.
    """

    default_code = "CONNECTION_CLOSED"

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(f"the server closed the connection with {close_code}: {reason}")
        self.close_code = close_code
        self.reason = reason


class ResultError(RowcastError):
    """A result has errors: a resolver raised, or a value has no JSON form. The subscription goes on.

    Args:
        errors: GraphQL errors, each with ``message``, ``path`` and ``extensions.code``; the first one's is ``code``.
    """

    default_code = "RESULT_FAILED"

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        first = errors[0]
        super().__init__(str(first["message"]), code=first.get("extensions", {}).get("code"))
        self.errors = list(errors)


class PoliciesMissing(UserWarning):
    """A table has row-level security and no policies were given: as in PostgreSQL, no row of it is visible."""
