"""Which database a command uses, and the line on stderr that says so."""

from __future__ import annotations

import argparse
import os
import sys

from rowcast._engine import EventBusConfig
from rowcast.source import VARIABLE, slot_of_environment


def database_of(options: argparse.Namespace) -> EventBusConfig:
    """The bus of a command; unset parts of the URL come from ``PG*``.

    Raises:
        ConnectionFailed: ``CONNINFO_INVALID``: the URL is malformed.
    """
    given = os.environ.get(VARIABLE)
    url, origin = (options.database_url, "--database-url") if options.database_url else (given, VARIABLE)
    bus = EventBusConfig.postgresql(url, slot=getattr(options, "slot", None) or slot_of_environment())
    print(f"rowcast: database {bus.database} (from {origin if url else 'PG* variables and defaults'})", file=sys.stderr)
    return bus
