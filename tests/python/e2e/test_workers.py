"""``uvicorn --workers 4`` on PostgreSQL alone: each worker serves its own sockets; a cursor is valid at all of them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest

from rig.client import ACME, Socket, signed_in
from rig.postgres import Cluster, Database, free_port, running
from rig.server import CAPTURE, Server, serve
from rig.shop import Shop
from rig.wait import until, until_async

pytestmark = pytest.mark.timeout(240)

WORKERS = 4

DELIVERED = "subscription { ordersDelivered { id pid } }"

ACTIVE = "select count(*) from pg_replication_slots where active and database = current_database()"


@dataclass(frozen=True)
class Workers:
    """One uvicorn with its workers, and the shop whose changes they deliver."""

    server: Server
    port: int
    shop: Shop

    def started(self) -> list[int]:
        """The processes that have reported that they serve, oldest first."""
        lines = self.server.output.splitlines()
        return [int(line.removeprefix("serving ")) for line in lines if line.startswith("serving ")]

    def has_its_slots(self) -> bool:
        """The pool has one for each worker and no other; with an outbox there is none."""
        named = "select slot_name::text from pg_replication_slots where database = current_database() order by 1"
        oid = self.shop.database.execute("select oid::text from pg_database where datname = current_database()")[0][0]
        due = [] if CAPTURE == "outbox" else [f"rowcast_db{oid}{member}" for member in ("", "_2", "_3", "_4")]
        return [name for (name,) in self.shop.database.execute(named)] == due

    def streaming(self) -> int:
        """How many of the workers read what is captured."""
        if CAPTURE == "outbox":
            return min(len(self.started()), WORKERS)
        return int(self.shop.database.execute(ACTIVE)[0][0])

    @asynccontextmanager
    async def sockets(self, per_worker: dict[int, Socket], after: str | None = None) -> AsyncIterator[None]:
        """A subscribed socket at each worker: connect until every worker has answered."""
        async with AsyncExitStack() as stack:
            expected = min(WORKERS, self.streaming())
            while len(per_worker) < expected:
                socket = await stack.enter_async_context(signed_in(f"ws://127.0.0.1:{self.port}"))
                resume = {"extensions": {"rowcast": {"after": after}}} if after else {}
                await socket.subscribe("1", DELIVERED, **resume)
                if not after:
                    await asyncio.to_thread(self.shop.insert)
                per_worker.setdefault(said(await socket.next("1", 60))[1], socket)
            yield


def said(payload: dict[str, dict[str, dict[str, object]]]) -> tuple[str, int]:
    """A result's key and the process that delivered it."""
    delivered = payload["data"]["ordersDelivered"]
    return str(delivered["id"]), int(str(delivered["pid"]))


def cursor_of(payload: dict[str, dict[str, dict[str, str]]]) -> str:
    """Its cursor."""
    return payload["extensions"]["rowcast"]["cursor"]


async def told(socket: Socket, order: str) -> dict[str, dict[str, dict[str, str]]]:
    """The result of this order, and whether every result before it came once and in order."""
    before = [int(said(payload)[0]) for payload in socket.nexts("1")]
    while not before or before[-1] < int(order):
        await socket.receive_type("next", "1")
        before = [int(said(payload)[0]) for payload in socket.nexts("1")]
    assert before == list(range(before[0], int(order) + 1)), "each once, in order"
    return socket.nexts("1")[-1]


@contextmanager
def workers(database: Database, shop: Shop | None = None, count: int = WORKERS) -> Iterator[Workers]:
    """Uvicorn as an operator starts it."""
    shop = shop or Shop(database).open()
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--workers", str(count), "--port", str(port), "rig.worker_app:app"]
    command += ["--ws", "websockets-sansio", "--log-level", "warning", "--timeout-graceful-shutdown", "5"]
    server = Server(command, {"ROWCAST_DATABASE_URL": database.url})
    try:
        found = Workers(server, port, shop)
        until(lambda: len(found.started()) >= count, f"{count} workers to serve", 120)
        yield found
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure


@pytest.fixture
def served(database: Database) -> Iterator[Workers]:
    """Four workers on a shop of this test's own."""
    with workers(database) as served:
        yield served


@pytest.mark.both_majors
async def test_every_worker_tells_its_own_sockets_and_a_cursor_is_good_at_all_of_them_also_after_a_restart(
    served: Workers,
) -> None:
    assert served.has_its_slots()
    if served.shop.database.cluster.major >= 17 and CAPTURE != "outbox":
        kept = "select bool_and(failover) from pg_replication_slots where database = current_database()"
        assert served.shop.database.execute(kept) == [(True,)], "standbys keep them all"
    at: dict[int, Socket] = {}
    async with served.sockets(at):
        orders = [served.shop.insert() for _ in range(20)]
        last = {pid: await told(socket, orders[-1]) for pid, socket in at.items()}
        assert {said(payload)[1] for payload in last.values()} == set(at), "each by the worker that holds the socket"
        assert len({cursor_of(payload) for payload in last.values()}) == 1, "and in the same place"
        cursor = cursor_of(at[next(iter(at))].nexts("1")[-6])
        resumed: dict[int, Socket] = {}
        async with served.sockets(resumed, cursor):
            assert set(resumed) == set(at)
            for socket in resumed.values():
                await told(socket, orders[-1])
                assert [said(payload)[0] for payload in socket.nexts("1")] == orders[-5:]
    await asyncio.to_thread(served.server.stop)
    offline = served.shop.insert()
    with workers(served.shop.database, served.shop) as again:
        assert again.has_its_slots()
        after: dict[int, Socket] = {}
        async with again.sockets(after, cursor):
            assert not set(after) & set(at)
            for socket in after.values():
                await told(socket, offline)
                assert [said(payload)[0] for payload in socket.nexts("1")] == [*orders[-5:], offline]


async def test_the_slot_of_a_killed_worker_is_claimed_by_the_next_and_nothing_is_missed(served: Workers) -> None:
    at: dict[int, Socket] = {}
    async with served.sockets(at):
        order = served.shop.insert()
        victim, socket = next(iter(at.items()))
        cursor = cursor_of(await told(socket, order))
        os.kill(victim, signal.SIGKILL)
        missed = served.shop.insert()
        await until_async(lambda: len(served.started()) > WORKERS, "a new worker", 60)
        new = served.started()[-1]
        assert served.streaming() == WORKERS
        assert served.has_its_slots(), "none is left behind"
        for pid, other in at.items():
            if pid != victim:
                await told(other, missed)
        resumed: dict[int, Socket] = {}
        async with served.sockets(resumed, cursor):
            assert new in resumed
            for each in resumed.values():
                await told(each, missed)
                assert [said(payload)[0] for payload in each.nexts("1")] == [missed]


async def test_a_revoke_closes_the_sockets_of_every_worker_and_a_rollback_closes_none(served: Workers) -> None:
    database = served.shop.database
    url = f"ws://127.0.0.1:{served.port}"
    async with AsyncExitStack() as stack:
        gone = [await stack.enter_async_context(signed_in(url)) for _ in range(12)]
        at: dict[int, Socket] = {}
        await stack.enter_async_context(served.sockets(at))
        kept = await stack.enter_async_context(signed_in(url, "globex"))
        for socket in gone:
            await socket.subscribe("1", DELIVERED)
        with database.connect(autocommit=False) as connection:
            connection.execute("select rowcast.revoke(tenant_id => %s)", (ACME,))
            connection.rollback()
        order = await asyncio.to_thread(served.shop.insert)
        for socket in gone:
            await told(socket, order)
        with database.connect(autocommit=False) as connection:
            connection.execute("select rowcast.revoke(tenant_id => %s)", (ACME,))
            connection.commit()
        last = await asyncio.to_thread(served.shop.insert)
        for socket in [*gone, *at.values()]:
            assert await socket.closed() == (4403, "Forbidden: credentials revoked")
            assert last not in [said(payload)[0] for payload in socket.nexts("1")]
        await kept.fence("the other tenant goes on")


@pytest.mark.skipif(CAPTURE == "outbox", reason="an outbox has no slots that could run out")
async def test_a_process_without_a_slot_says_what_to_do_and_the_others_go_on(postgres: Cluster) -> None:
    with running(postgres.major, postgres.binaries) as cluster:
        cluster.configure(max_replication_slots="2")
        cluster.stop()
        cluster.start()
        with cluster.database() as database, workers(database, count=2) as served:
            one_more = serve("rig.worker_app:app", {"ROWCAST_DATABASE_URL": database.url})
            await until_async(lambda: one_more.process.poll() is not None, "one more to give up")
            one_more.stop()
            assert one_more.process.returncode == 3
            assert "SLOTS_EXHAUSTED" in one_more.output
            assert "raise max_replication_slots" in one_more.output
            at: dict[int, Socket] = {}
            async with served.sockets(at):
                order = served.shop.insert()
                for socket in at.values():
                    await told(socket, order)
            assert len(at) == 2
