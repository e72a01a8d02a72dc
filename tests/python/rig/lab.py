"""A running `rig.lab_app` on its own database, and what tests read from it."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rig.postgres import Database
from rig.server import Server, serve
from rig.shop import Shop

INIT_TIMEOUT = 1.0
"""Seconds that a client of the lab has to send connection_init."""

OPERATIONS_MAX = 50
"""Operations that one socket of the lab may have."""


@dataclass(frozen=True)
class Lab:
    """One server and the shop whose changes it delivers."""

    server: Server
    shop: Shop

    @property
    def url(self) -> str:
        """``ws://host:port``."""
        return self.server.url("ws")

    def metrics(self) -> dict[str, int]:
        """The engine's counters now."""
        with urllib.request.urlopen(f"{self.server.url()}/metrics", timeout=10) as answer:  # noqa: S310 - our own server
            counters: dict[str, int] = json.load(answer)
            return counters

    def subscriptions(self) -> int:
        """How many operations are live in the whole server."""
        return self.metrics()["subscriptions"]


@contextmanager
def laboratory(database: Database, app: str = "rig.lab_app:app", **environment: str) -> Iterator[Lab]:
    """A started lab on a new shop; the server's output is shown by pytest when the test fails."""
    with served(Shop(database).open(), environment, app) as lab:
        yield lab


@contextmanager
def served(shop: Shop, environment: dict[str, str] | None = None, app: str = "rig.lab_app:app") -> Iterator[Lab]:
    """A started lab on an existing shop, for example after its server was stopped."""
    server = serve(app, {"ROWCAST_DATABASE_URL": shop.database.url} | (environment or {}))
    try:
        server.line("ready ")
        yield Lab(server, shop)
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure
