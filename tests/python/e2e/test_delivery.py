"""Every committed row reaches exactly the subscribers that may see it, once, in commit order."""

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import psycopg
import pytest

from rig.client import ACME, GLOBEX, Socket, signed_in
from rig.lab import Lab, laboratory
from rig.postgres import Database
from rig.shop import ORDERS, ids
from rig.wait import until, until_async

pytestmark = pytest.mark.timeout(300)

SOCKETS_EACH = 50
ROWS_EACH = 5_000
TRANSACTION_ROWS_MAX = 20
TENANTS = {"acme": ACME, "globex": GLOBEX}


@pytest.fixture
def crowded(database: Database) -> Iterator[Lab]:
    """A server for a hundred readers in one process: a ping waits behind all that they have not read yet."""
    with laboratory(database, LAB_PING_S="120") as lab:
        yield lab


async def test_an_inserted_row_arrives(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        order = lab.shop.insert(status="open")
        row = {"id": order, "status": "open"}
        expected = {"operation": "INSERT", "transition": "ENTER", "key": {"id": order}, "row": row}
        assert (await socket.next("1"))["data"] == {"orders": expected}


async def test_an_update_tells_the_new_row_and_a_delete_the_key_alone(lab: Lab) -> None:
    query = "subscription { orders { operation transition changed key { id } row { status } } }"
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", query)
        order = lab.shop.insert()
        lab.shop.update(order, status="paid")
        lab.shop.delete(order)
        inserted, updated, deleted = [(await socket.next("1"))["data"]["orders"] for _ in range(3)]
        assert inserted["changed"] == []
        assert updated == {
            "operation": "UPDATE", "transition": "STAY", "changed": ["status"],
            "key": {"id": order}, "row": {"status": "paid"},
        }  # fmt: skip
        assert (deleted["operation"], deleted["transition"], deleted["key"], deleted["row"]) == (
            "DELETE", "LEAVE", {"id": order}, None,
        )  # fmt: skip


async def test_tenant_b_sees_nothing_of_tenant_a(lab: Lab) -> None:
    async with signed_in(lab.url) as acme, signed_in(lab.url, "globex") as globex:
        await acme.subscribe("1", ORDERS)
        await globex.subscribe("1", ORDERS)
        hers = lab.shop.insert(ACME)
        lab.shop.update(hers, status="paid")
        lab.shop.delete(hers)
        his = lab.shop.insert(GLOBEX)
        assert ids([await globex.next("1")]) == [his]
        assert ids([await acme.next("1") for _ in range(3)]) == [hers] * 3


async def test_a_row_that_changes_its_tenant_leaves_one_and_enters_the_other(lab: Lab) -> None:
    async with signed_in(lab.url) as acme, signed_in(lab.url, "globex") as globex:
        await acme.subscribe("1", ORDERS)
        await globex.subscribe("1", ORDERS)
        order = lab.shop.insert(ACME)
        assert ids([await acme.next("1")]) == [order]
        lab.shop.update(order, tenant_id=GLOBEX)
        left, entered = (await acme.next("1"))["data"]["orders"], (await globex.next("1"))["data"]["orders"]
        assert (left["transition"], left["row"], left["key"]) == ("LEAVE", None, {"id": order})
        assert (entered["transition"], entered["row"]["id"]) == ("ENTER", order)


async def test_a_row_that_leaves_the_filter_sends_leave(lab: Lab) -> None:
    query = 'subscription { orders(where: { status: { eq: "paid" } }) { transition key { id } row { status } } }'
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", query)
        order = lab.shop.insert(status="open")
        for status in ("paid", "paid", "void", "open"):
            lab.shop.update(order, status=status, note=status)
        last = lab.shop.insert(status="paid")
        told = [(await socket.next("1"))["data"]["orders"] for _ in range(4)]
        assert [(event["transition"], event["key"]["id"]) for event in told] == [
            ("ENTER", order), ("STAY", order), ("LEAVE", order), ("ENTER", last),
        ]  # fmt: skip
        assert told[2]["row"] is None


async def test_only_the_operations_asked_for_arrive(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { orders(operations: [DELETE]) { operation key { id } } }")
        order = lab.shop.insert()
        lab.shop.update(order, status="paid")
        lab.shop.delete(order)
        assert (await socket.next("1"))["data"]["orders"] == {"operation": "DELETE", "key": {"id": order}}


async def test_a_rolled_back_row_is_never_sent(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        with lab.shop.database.connect(autocommit=False) as connection:
            connection.execute("insert into orders (id, tenant_id) values (777, %s)", [ACME])
            connection.rollback()
        order = lab.shop.insert()
        assert ids([await socket.next("1")]) == [order]


async def test_10000_rows_reach_100_sockets_once_and_in_commit_order(crowded: Lab) -> None:
    async with audience(crowded) as readers:
        go_on = threading.Event()
        go_on.set()
        await asyncio.gather(*start_writers(crowded.shop.database, go_on))
        await every_reader_has_every_row(readers, crowded.shop.database)


async def test_10000_rows_reach_100_open_sockets_although_postgres_is_killed(crowded: Lab) -> None:
    database = crowded.shop.database
    async with audience(crowded) as readers:
        go_on = threading.Event()
        writers = start_writers(database, go_on)
        halfway = partial(all_have, readers, ROWS_EACH // 2)
        await until_async(halfway, "half of the rows", patience=120)
        go_on.set()
        await asyncio.to_thread(database.cluster.kill)
        await asyncio.to_thread(database.cluster.start)
        await asyncio.gather(*writers)
        await every_reader_has_every_row(readers, database)


class Reader:
    """A socket that keeps only the keys that it received."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.seen: list[int] = []
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.socket.connection:
            message = json.loads(frame)
            if message["type"] == "ping":
                await self.socket.send({"type": "pong"})
            elif message["type"] == "next":
                self.seen.append(int(message["payload"]["data"]["orders"]["key"]["id"]))

    @property
    def closed(self) -> tuple[int, str | None] | None:
        """Code and reason, once the socket is closed."""
        code = self.socket.connection.close_code
        return None if code is None else (code, self.socket.connection.close_reason)

    def stop(self) -> None:
        """Stop reading."""
        self._task.cancel()


@asynccontextmanager
async def audience(lab: Lab) -> AsyncIterator[dict[str, list[Reader]]]:
    """Sockets of both tenants, subscribed, each with its reader."""
    async with AsyncExitStack() as stack:
        readers: dict[str, list[Reader]] = {}
        for name in TENANTS:
            sockets = [await stack.enter_async_context(signed_in(lab.url, name)) for _ in range(SOCKETS_EACH)]
            for socket in sockets:
                await socket.subscribe("1", "subscription { orders { key { id } } }")
            readers[name] = [Reader(socket) for socket in sockets]
        yield readers
        for reader in everybody(readers):
            reader.stop()


def everybody(readers: dict[str, list[Reader]]) -> list[Reader]:
    """All readers of all tenants."""
    return [reader for group in readers.values() for reader in group]


def all_have(readers: dict[str, list[Reader]], count: int) -> bool:
    """Whether every socket received at least this many rows; a closed socket never does."""
    closed = {reader.closed for reader in everybody(readers)} - {None}
    assert not closed, f"sockets were closed: {closed}"
    return all(len(reader.seen) >= count for reader in everybody(readers))


async def every_reader_has_every_row(readers: dict[str, list[Reader]], database: Database) -> None:
    """Wait until each socket received as many rows as its tenant has, then compare them one by one."""
    await until_async(partial(all_have, readers, ROWS_EACH), "every row at every socket", patience=180)
    for name, tenant in TENANTS.items():
        rows = committed(database, tenant)
        assert len(rows) == ROWS_EACH
        assert all(reader.seen == rows for reader in readers[name])


def start_writers(database: Database, go_on: threading.Event) -> "list[asyncio.Future[None]]":
    """One writer for each tenant; halfway they wait for ``go_on``."""
    loop = asyncio.get_running_loop()
    return [loop.run_in_executor(None, write, database, tenant, go_on) for tenant in TENANTS.values()]


def write(database: Database, tenant: str, go_on: threading.Event) -> None:
    """Commit this tenant's rows in transactions of different sizes; after a crash, repeat the interrupted one."""
    sizes = random.Random(tenant)  # noqa: S311 - the same sizes in each run
    first = 1 if tenant == ACME else 1_000_001
    end, middle = first + ROWS_EACH, first + ROWS_EACH // 2
    while (next_id := first + rows_of(database, tenant)) < end:
        with suppress(psycopg.OperationalError), database.connect() as connection:
            while next_id < end:
                if next_id >= middle:
                    assert go_on.wait(180)
                last = min(next_id + sizes.randint(1, TRANSACTION_ROWS_MAX), end) - 1
                connection.execute(
                    "insert into orders (id, tenant_id) select id, %s from generate_series(%s::bigint, %s) id",
                    [tenant, next_id, last],
                )
                next_id = last + 1


def rows_of(database: Database, tenant: str) -> int:
    """How many rows of this tenant are committed, asked until the server answers."""

    def ask() -> list[tuple[int]]:
        with suppress(psycopg.OperationalError):
            return database.execute("select count(*) from orders where tenant_id = %s", tenant)
        return []

    return until(ask, "the server to count", patience=60)[0][0]


def committed(database: Database, tenant: str) -> list[int]:
    """The tenant's rows in the order in which its only writer committed them."""
    return [order for (order,) in database.execute("select id from orders where tenant_id = %s order by id", tenant)]
