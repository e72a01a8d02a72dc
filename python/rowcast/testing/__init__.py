"""A kit for testing what you build on rowcast: resolvers, schemas, who sees what. No PostgreSQL, no sockets, no sleeps.

::

    from rowcast.testing import MemoryManager, Table

    async def test_an_order_is_told_to_its_own_tenant_alone():
        tables = [Table("orders", id="bigint", tenant_id="text", total="numeric", key="id")]
        async with MemoryManager.of(app.manager, tables=tables) as manager:
            orders = manager.client(tenant_id="acme").subscribe("subscription { orders { row { total } } }")
            manager.emit("orders", "INSERT", new={"id": 1, "tenant_id": "acme", "total": "9.50"})
            assert (await orders.next()).value["row"] == {"total": "9.50"}

Everything behind the capture is the real engine: matching, the gate, resolvers, serialization, sessions, cursors. A
test supplies what only a database knows: the shape of tables (`Table`) and, if a table has row-level security, its
policies (`Policy`). A policy that only PostgreSQL can evaluate refuses its subscriber with ``POLICY_NEEDS_DATABASE``.

Not simulated: commits that wait, lost connections, slots, schema changes. Rates (``limits``) and the seconds that a
resolver may take (``resolver_timeout_s``) go by the machine's own clock.

The plugin `rowcast.testing.plugin` brings fixtures for pytest; this package does not import pytest.
"""

from rowcast.testing.client import Client, Received, Subscription
from rowcast.testing.clock import Clock
from rowcast.testing.errors import ConnectionClosed, NoEvent, PoliciesMissing, ResultError, Unsettled
from rowcast.testing.manager import Change, Emitted, MemoryManager, delete, insert, truncate, update
from rowcast.testing.tables import Policy, Table, enum

__all__ = [
    "Change",
    "Client",
    "Clock",
    "ConnectionClosed",
    "Emitted",
    "MemoryManager",
    "NoEvent",
    "PoliciesMissing",
    "Policy",
    "Received",
    "ResultError",
    "Subscription",
    "Table",
    "Unsettled",
    "delete",
    "enum",
    "insert",
    "truncate",
    "update",
]
