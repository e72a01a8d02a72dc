"""Reserved streams: the client with the random token may open one and start operations in it.

A reservation lives as long as its session. An unopened one closes after the engine's ``init_wait_s``; like a
session, it is then woken.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from rowcast._engine import Session
from rowcast.principal import Principal
from rowcast.transport.bridge import LoopBridge


@dataclass(eq=False)
class Reservation:
    """One stream, from its reservation to its end."""

    session: Session
    principal: Principal
    bridge: LoopBridge
    owner: Reservations
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    number: int = 0
    is_open: bool = False

    def claim(self) -> bool:
        """Whether it is the first to open it."""
        is_first, self.is_open = not self.is_open, True
        if is_first:
            self.session.claim()
        return is_first

    def wake(self) -> None:
        """Events wait for a client that has not opened the stream yet; or the stream is over."""
        if self.session.closing() is not None:
            self.owner.drop(self)

    def __repr__(self) -> str:
        """Without the token."""
        return f"Reservation({self.principal!r})"


class Reservations:
    """The streams of one mount in this process."""

    def __init__(self) -> None:
        self._by_token: dict[str, Reservation] = {}

    def add(self, session: Session, principal: Principal, bridge: LoopBridge) -> Reservation:
        """Reserve a stream for an accepted session."""
        reservation = Reservation(session, principal, bridge, self, number=session.token)
        self._by_token[reservation.token] = reservation
        bridge.add(reservation.number, reservation)
        # If the token has expired, the session closed before `bridge.add`, and no wake follows.
        reservation.wake()
        return reservation

    def find(self, token: str | None) -> Reservation | None:
        """The stream of this token."""
        return None if token is None else self._by_token.get(token)

    def drop(self, reservation: Reservation) -> None:
        """The stream is over, and every operation in it."""
        self._by_token.pop(reservation.token, None)
        reservation.bridge.remove(reservation.number)
        reservation.session.disconnect()


_RENEWED = frozenset({"exp", "iat", "nbf", "jti", "auth_time"})
"""The claims in which a renewed token differs from the one before."""


def is_same(one: Principal, other: Principal) -> bool:
    """Whether it is the same caller with the same rights, perhaps with a token that was renewed."""
    return _rights(one) == _rights(other)


def _rights(of: Principal) -> tuple[object, ...]:
    claims = {name: claim for name, claim in of.claims.items() if name not in _RENEWED}
    return (of.user_id, of.tenant_id, of.role, of.settings, claims, frozenset(of.scopes), frozenset(of.services))
