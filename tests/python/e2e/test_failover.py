"""A primary dies and its standby is promoted: a client that resumes misses nothing, or its cursor is refused.

The application reaches the database through one address, as behind a load balancer, which leads to the new primary
afterwards. Each test has both servers for itself.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from rig.client import AUTHENTICATE_AGAIN, Socket, signed_in
from rig.lab import Lab, laboratory, served
from rig.postgres import Cluster, Database, running
from rig.proxy import Proxy
from rig.server import CAPTURE
from rig.shop import ORDERS, Shop, ids
from rig.wait import until, until_async

pytestmark = [pytest.mark.timeout(240), pytest.mark.both_majors]

FAILOVER_SLOTS = 17
"""PostgreSQL copies logical slots to standbys since this version."""


@dataclass
class Pair:
    """A primary, its standby, and the address that leads to one of them."""

    primary: Cluster
    standby: Cluster
    address: Proxy
    shop: Shop

    @property
    def copies_slots(self) -> bool:
        """Whether the standby can have rowcast's slot."""
        return self.primary.major >= FAILOVER_SLOTS and CAPTURE != "outbox"

    @property
    def bridges(self) -> bool:
        """Whether the standby has what rowcast needs: the slot, or an outbox, which is a table."""
        return self.copies_slots or CAPTURE == "outbox"

    async def slot_copied(self) -> None:
        """Wait until the standby has rowcast's slot. It is copied once the primary's slot has advanced a little."""
        at = Database(self.standby, self.shop.database.name)
        ready = "select count(*) from pg_replication_slots where slot_name ~ '^rowcast_db' and synced and not temporary"

        def look() -> bool:
            self.shop.database.execute("select pg_log_standby_snapshot()")
            return at.execute(ready) == [(1,)]

        await until_async(look, "the slot on the standby", 90)

    async def caught_up(self) -> None:
        """Wait until the standby has all that was written."""
        (position,) = self.shop.database.execute("select pg_current_wal_lsn()::text")[0]
        at = Database(self.standby, self.shop.database.name)
        reached = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        await until_async(lambda: at.execute(reached) == [(True,)], "the standby to catch up")

    async def cut_standby_off(self) -> None:
        """Stop replication: the standby does not get later writes."""
        self.standby.configure(primary_conninfo="host=127.0.0.1 port=1")
        attached = "select count(*) from pg_stat_replication where application_name = 'walreceiver'"
        await until_async(lambda: self.shop.database.execute(attached) == [(0,)], "the standby to be alone")

    async def fail_over(self) -> Shop:
        """Kill the primary, wait until the application connects to the standby, then promote it; the shop on it."""
        self.standby.configure(log_connections="on")
        await asyncio.to_thread(self.primary.kill)
        self.address.target = ("127.0.0.1", self.standby.port)
        self.address.cut()
        came = "connection authorized: user=postgres database=shop" if CAPTURE == "outbox" else "replication connection"
        await until_async(lambda: came in self.standby.log(), "the application to come to the standby")
        await asyncio.to_thread(self.standby.promote)
        return Shop(Database(self.standby, self.shop.database.name), self.shop._ids)


@pytest.fixture
def clusters(postgres: Cluster) -> Iterator[tuple[Cluster, Cluster]]:
    """A primary and its standby for this test, for each version in turn."""
    major, binaries = postgres.major, postgres.binaries
    with running(major, binaries) as primary, running(major, binaries, primary) as standby:
        if major >= FAILOVER_SLOTS:
            standby.configure(sync_replication_slots="on", hot_standby_feedback="on")
        follows = "select 1 from pg_stat_replication"
        until(lambda: Database(primary, "postgres").execute(follows), "the standby to follow its primary")
        yield primary, standby


@asynccontextmanager
async def serving(clusters: tuple[Cluster, Cluster]) -> AsyncIterator[tuple[Lab, Pair]]:
    """The lab, which knows only the one address."""
    primary, standby = clusters
    address = Proxy(("127.0.0.1", primary.port))
    # The database goes with its server: the primary that would drop it is dead.
    Database(primary, "postgres").execute("create database shop")
    database = Database(primary, "shop")
    url = f"postgresql://postgres@127.0.0.1:{address.port}/shop"
    opened = laboratory(database, ROWCAST_DATABASE_URL=url)
    lab = await asyncio.to_thread(opened.__enter__)
    pair = Pair(primary, standby, address, lab.shop)
    try:
        if pair.copies_slots:
            await pair.slot_copied()
        yield lab, pair
    finally:
        await asyncio.to_thread(opened.__exit__, None, None, None)
        await address.close()


async def subscribe(socket: Socket, after: str | None = None, operation: str = "1") -> None:
    """Everything of the tenant, from now on or after a cursor."""
    resume = {"extensions": {"rowcast": {"after": after}}} if after else {}
    await socket.subscribe(operation, ORDERS, **resume)


async def heard(socket: Socket, count: int, operation: str = "1") -> tuple[list[str], str]:
    """The next so many keys, and the last cursor."""
    told = [await socket.next(operation, 60) for _ in range(count)]
    return ids(told), told[-1]["extensions"]["rowcast"]["cursor"]


async def refusal(socket: Socket, after: str, operation: str) -> object:
    """The code with which a cursor is refused."""
    payload = {"query": ORDERS, "extensions": {"rowcast": {"after": after}}}
    await socket.send({"id": operation, "type": "subscribe", "payload": payload})
    return code(await socket.error(operation))


def code(errors: list[dict[str, object]]) -> object:
    """The code of the first."""
    extensions = errors[0]["extensions"]
    assert isinstance(extensions, dict)
    return extensions["code"]


async def test_a_failover_is_bridged_where_the_standby_has_the_slot_and_is_told_as_a_gap_where_it_cannot(
    clusters: tuple[Cluster, Cluster],
) -> None:
    async with serving(clusters) as (lab, pair), signed_in(lab.url) as socket:
        if pair.copies_slots:
            # The stream is not ahead of the standby, so delivered events are never undone.
            pair.primary.configure(synchronized_standby_slots="standby")
        await subscribe(socket)
        orders = [lab.shop.insert() for _ in range(5)]
        keys, cursor = await heard(socket, 5)
        assert keys == orders
        missed = lab.shop.insert()
        assert (await heard(socket, 1))[0] == [missed]
        await pair.caught_up()
        shop = await pair.fail_over()
        if not pair.bridges:
            message = await socket.receive_type("error", "1", 60)
            assert code(message["payload"]) == "GAP"
            assert await socket.closed() == AUTHENTICATE_AGAIN
            async with signed_in(lab.url) as back:
                assert await refusal(back, cursor, "2") == "CURSOR_EXPIRED"
                await subscribe(back, operation="3")
                after = shop.insert()
                assert (await heard(back, 1, "3"))[0] == [after]
            return
        after = shop.insert()
        assert (await heard(socket, 1))[0] == [after], "the same subscription goes on"
        assert lab.metrics()["gaps_total"] == 0
        await subscribe(socket, cursor, "2")
        assert (await heard(socket, 2, "2"))[0] == [missed, after], "a cursor of the old primary"
        await asyncio.to_thread(lab.server.stop)
        offline = shop.insert()
        with served(shop) as again:
            async with signed_in(again.url) as back:
                await subscribe(back, cursor)
                assert (await heard(back, 3))[0] == [missed, after, offline], "after a restart as well"


async def test_a_cursor_of_what_only_the_lost_primary_had_is_ahead_and_one_from_before_is_good(
    clusters: tuple[Cluster, Cluster],
) -> None:
    async with serving(clusters) as (lab, pair), signed_in(lab.url) as socket:
        await subscribe(socket)
        orders = [lab.shop.insert() for _ in range(2)]
        keys, _ = await heard(socket, 2)
        first = socket.nexts("1")[0]["extensions"]["rowcast"]["cursor"]
        assert keys == orders
        await pair.caught_up()
        await pair.cut_standby_off()
        undone = lab.shop.insert()
        keys, ahead = await heard(socket, 1)
        assert keys == [undone]
        shop = await pair.fail_over()
        message = await socket.receive_type("error", "1", 60)
        assert code(message["payload"]) == "GAP", "it delivered a change that no longer exists"
        assert message["payload"][0]["extensions"]["rowcast"]["cursor"] == ahead
        assert await socket.closed() == AUTHENTICATE_AGAIN
        async with signed_in(lab.url) as back:
            after = shop.insert()
            assert await refusal(back, ahead, "2") == "CURSOR_AHEAD"
            if pair.bridges:
                await subscribe(back, first, "3")
                assert (await heard(back, 2, "3"))[0] == [orders[1], after]
            else:
                assert await refusal(back, first, "3") == "CURSOR_EXPIRED"
            await subscribe(back, operation="4")
            last = shop.insert()
            # The subscription may begin before the stream has reached the previous write.
            assert (await heard(back, 1, "4"))[0] in ([after], [last])
