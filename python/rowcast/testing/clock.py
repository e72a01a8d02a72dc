"""The time of an engine under test: it stands still until the test moves it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from rowcast.errors import ConfigurationError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock:
    """What expiry, pings, ``init_wait_s``, ``queue_age_max_s`` and ``replay_window_s`` go by.

    Args:
        begins_at: An aware ``datetime``; by default the machine's time when the clock is made, so that tokens that a
            hook checks by the machine's time are still good.

    Raises:
        ConfigurationError: ``begins_at`` has no time zone.
    """

    def __init__(self, begins_at: datetime | None = None) -> None:
        begins_at = begins_at or datetime.now(timezone.utc)
        if begins_at.tzinfo is None:
            raise ConfigurationError("begins_at has no time zone; use datetime(…, tzinfo=timezone.utc)")
        self._now_us = (begins_at - _EPOCH) // timedelta(microseconds=1)
        self._move: Callable[[float], int] | None = None

    def now(self) -> datetime:
        """What it shows, in UTC."""
        return _EPOCH + timedelta(microseconds=self._now_us)

    def time(self) -> float:
        """The same in seconds since 1970, as ``Principal(expires_at=…)`` and a token's ``exp`` take it."""
        return self._now_us / 1_000_000

    def advance(self, seconds: float) -> None:
        """Let time pass. Timers fire in order, and every client answers pings in time.

        Args:
            seconds: How much; not negative.

        Raises:
            ValueError: ``seconds`` is negative or not a number.
        """
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"time goes forward by a finite number of seconds, not by {seconds!r}")
        if self._move is None:
            self._now_us += round(seconds * 1_000_000)
        else:
            self._now_us = self._move(seconds)

    @property
    def now_us(self) -> int:
        """The same in microseconds since 1970."""
        return self._now_us

    def drive(self, move: Callable[[float], int] | None) -> None:
        """Let a running engine move the hands: ``move(seconds)`` answers what `now_us` is then. For `MemoryManager`."""
        self._move = move
