"""Where a manager's events come from.

In this order: the given bus, the given URL, ``ROWCAST_DATABASE_URL``, an embedded PostgreSQL.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from rowcast._engine import EventBusConfig
from rowcast.errors import ConfigurationError
from rowcast.settings import CAPTURES, SLOT_RULE, Capture, is_slot

if TYPE_CHECKING:
    from rowcast.embedded import EmbeddedPostgres

_log = logging.getLogger("rowcast")

VARIABLE = "ROWCAST_DATABASE_URL"
CAPTURE_VARIABLE = "ROWCAST_CAPTURE"
SLOT_VARIABLE = "ROWCAST_SLOT"


class Source:
    """Chosen when the manager is made, opened when it starts; each `open` has its `close`. Both block."""

    def __init__(
        self,
        url: str | None,
        bus: EventBusConfig | None,
        *,
        slot: str | None,
        publication: str,
        capture: Capture | None = None,
    ) -> None:
        if url is not None and bus is not None:
            raise ConfigurationError(
                "give database_url or bus, not both: EventBusConfig.postgresql(url) is a bus with a URL"
            )
        if url is not None and not url.strip():
            raise ConfigurationError(f"database_url is empty; leave it out to use {VARIABLE} or an embedded PostgreSQL")
        self._given_url = url
        self._bus = bus
        self._slot = slot
        self._publication = publication
        self._capture = capture
        self._embedded: EmbeddedPostgres | None = None
        self._changing = threading.Lock()
        self._opened = 0

    @property
    def url(self) -> str | None:
        """The database in use; ``None`` for a given bus, or before an embedded server was started."""
        if self._bus is not None:
            return None
        given = self._given_url or os.environ.get(VARIABLE)
        return given or (self._embedded.url if self._embedded is not None else None)

    def open(self) -> EventBusConfig:
        """The bus; an embedded server runs when this returns. Raises ``ConfigurationError`` or ``ConnectionFailed``."""
        capture = self._capture or _capture_of_environment()
        slot = self._slot or slot_of_environment()
        with self._changing:
            if self._bus is None and self.url is None:
                from rowcast.embedded import EmbeddedPostgres  # noqa: PLC0415 (POSIX only, and seldom needed)

                self._embedded = EmbeddedPostgres.start()
            self._opened += 1
        if self._bus is not None:
            return self._bus
        bus = EventBusConfig.postgresql(self.url, slot=slot, publication=self._publication, capture=capture)
        self._announce(bus)
        return bus

    def _announce(self, bus: EventBusConfig) -> None:
        """Name the database: a forgotten variable must not go unnoticed. Without the password."""
        if self._embedded is not None:
            _log.warning(
                "no database_url was given and %s is not set: using the embedded PostgreSQL in %s (%s), which is meant "
                "for development; set %s to use a database of your own",
                VARIABLE, self._embedded.folder, bus.database, VARIABLE,
            )  # fmt: skip
        else:
            _log.info("database %s (from %s)", bus.database, "database_url" if self._given_url else VARIABLE)

    def close(self) -> None:
        """Stop the embedded server when this is the last `close`."""
        with self._changing:
            self._opened -= 1
            if self._opened == 0 and self._embedded is not None:
                embedded, self._embedded = self._embedded, None
                embedded.stop()


def _capture_of_environment() -> str:
    capture = os.environ.get(CAPTURE_VARIABLE) or "auto"
    if capture not in CAPTURES:
        raise ConfigurationError(
            f'{CAPTURE_VARIABLE} is {capture!r}; it must be "auto", "wal" or "outbox"', code="SETTING_INVALID"
        )
    return capture


def slot_of_environment() -> str | None:
    """The pool that ``ROWCAST_SLOT`` names. Raises ``ConfigurationError`` when that is not a slot's name."""
    slot = os.environ.get(SLOT_VARIABLE) or None
    if slot is not None and not is_slot(slot):
        raise ConfigurationError(f"{SLOT_VARIABLE} is {slot!r}; it {SLOT_RULE}", code="SETTING_INVALID")
    return slot
