"""Tests of an application's resolvers, without PostgreSQL: the kit `rowcast.testing` and its fixtures for pytest.

Run: python -m pytest examples/testing_resolvers.py

The application comes first; in a project of your own it is what you import. Tests here use ``asyncio.run``; with
pytest-asyncio or anyio they are ``async def`` and need no `run`.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from rowcast import Connection, Event, Forbidden, Principal, RequestRefused, SubscriptionManager
from rowcast.testing import ConnectionClosed, MemoryManager, Policy, Table

# The application.

manager = SubscriptionManager()


@dataclass
class Alert:
    """What clients receive for a large order."""

    order: int
    text: str


@manager.subscription("orders", tenant="tenant_id")
async def large_orders(event: Event, variables: dict[str, object]) -> Alert | None:
    """Orders of 1,000 and more."""
    row = event.row or {}
    return Alert(row["id"], f"{row['total']} EUR") if row["total"] >= 1000 else None


manager.subscription("orders", tenant="tenant_id", name="orders", scopes=["orders:read"])
manager.subscription("notes", public=True)


async def authenticate(connection: Connection) -> Principal:
    """Accept clients that know the password."""
    if connection.payload["token"] != "sesame":
        raise Forbidden("wrong token")
    return Principal(tenant_id="acme", scopes=["orders:read"])


# What a conftest.py contains.


@pytest.fixture
def rowcast_app() -> SubscriptionManager:
    """What is tested."""
    return manager


@pytest.fixture
def rowcast_tables() -> list[Table]:
    """What a database would know about the tables."""
    policy = Policy("(owner = current_setting('app.user'::text))")
    return [
        Table("orders", id="bigint", tenant_id="text", status="text", total="numeric", key="id"),
        Table("notes", id="bigint", owner="text", key="id", policies=[policy]),
    ]


@pytest.fixture
def rowcast_roles() -> list[str]:
    """The roles that principals have."""
    return ["app"]


# The tests.

LARGE = "subscription { largeOrders { order text } }"
ORDERS = "subscription { orders { operation transition changed row { id status } } }"


def order(number: int, tenant: str = "acme", status: str = "open", total: str = "1") -> dict[str, object]:
    """A row."""
    return {"id": number, "tenant_id": tenant, "status": status, "total": Decimal(total)}


def test_a_resolver_delivers_large_orders_only(rowcast_manager: MemoryManager) -> None:
    """Its result has the declared type, and `None` skips the event."""

    async def run() -> None:
        alerts = (await rowcast_manager.client(tenant_id="acme")).subscribe(LARGE)
        rowcast_manager.emit("orders", "INSERT", new=order(1, total="999.99"))
        await alerts.assert_no_event()
        rowcast_manager.emit("orders", "INSERT", new=order(2, total="1000.00"))
        assert (await alerts.next()).value == {"order": 2, "text": "1000.00 EUR"}

    asyncio.run(run())


def test_an_order_reaches_its_own_tenant_only(rowcast_manager: MemoryManager) -> None:
    """The engine's own gate decides."""

    async def run() -> None:
        acme = (await rowcast_manager.client(tenant_id="acme", scopes=["orders:read"])).subscribe(ORDERS)
        globex = (await rowcast_manager.client(tenant_id="globex", scopes=["orders:read"])).subscribe(ORDERS)
        rowcast_manager.emit("orders", "INSERT", new=order(1))
        rowcast_manager.emit("orders", "UPDATE", old={"status": "open"}, new=order(1, status="paid"))
        assert [(await acme.next()).operation, (await acme.next()).value["changed"]] == ["INSERT", ["status"]]
        await globex.assert_no_event()

    asyncio.run(run())


def test_a_client_that_resumes_misses_nothing(rowcast_manager: MemoryManager) -> None:
    """`after=` is the cursor of any result, or of what was emitted."""

    async def run() -> None:
        client = await rowcast_manager.client(tenant_id="acme", scopes=["orders:read"])
        seen = rowcast_manager.emit("orders", "INSERT", new=order(1))
        rowcast_manager.emit("orders", "INSERT", new=order(2))
        orders = client.subscribe(ORDERS, after=seen.cursor)
        assert (await orders.next()).value["row"] == {"id": "2", "status": "open"}
        await orders.assert_no_event()

    asyncio.run(run())


def test_a_refused_subscription_is_an_exception(rowcast_manager: MemoryManager) -> None:
    """It has the code that clients see."""

    async def run() -> None:
        client = await rowcast_manager.client(tenant_id="acme")
        with pytest.raises(RequestRefused) as refused:
            client.subscribe(ORDERS)
        assert refused.value.code == "SCOPE_REQUIRED"

    asyncio.run(run())


def test_the_hook_decides_which_clients_connect(rowcast_manager: MemoryManager) -> None:
    """It is called as a mount would call it."""

    async def run() -> None:
        client = await rowcast_manager.client(authenticate=authenticate, payload={"token": "sesame"})
        assert client.principal == Principal(tenant_id="acme", scopes=["orders:read"])
        with pytest.raises(ConnectionClosed) as refused:
            await rowcast_manager.client(authenticate=authenticate, payload={"token": "?"})
        assert refused.value.close_code == 4403

    asyncio.run(run())


def test_an_hour_passes_in_no_time(rowcast_manager: MemoryManager) -> None:
    """The test moves the time, and the token expires at its own."""

    async def run() -> None:
        client = await rowcast_manager.client(tenant_id="acme", expires_in=3600)
        alerts, begun = client.subscribe(LARGE), rowcast_manager.clock.now()
        rowcast_manager.clock.advance(3599)
        await alerts.assert_no_event()
        rowcast_manager.clock.advance(1)
        assert rowcast_manager.clock.now() - begun == timedelta(hours=1)
        with pytest.raises(ConnectionClosed, match="4403"):
            await alerts.next()

    asyncio.run(run())


def test_a_row_policy_decides_as_in_the_database(rowcast_manager: MemoryManager) -> None:
    """The text of `pg_policies` is enough, if the engine can compile it."""

    async def run() -> None:
        alice = await rowcast_manager.client(role="app", settings={"app.user": "alice"})
        notes = alice.subscribe("subscription { notes { row { id } } }")
        rowcast_manager.emit("notes", "INSERT", new={"id": 1, "owner": "bob"})
        rowcast_manager.emit("notes", "INSERT", new={"id": 2, "owner": "alice"})
        assert (await notes.next()).value["row"] == {"id": "2"}
        await notes.assert_no_event()

    asyncio.run(run())
