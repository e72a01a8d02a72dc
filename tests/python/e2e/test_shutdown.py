"""A server shuts down: its clients get a close code, and it is quick."""

import signal

import psycopg
import pytest

from rig.client import signed_in
from rig.lab import Lab
from rig.shop import ORDERS, ids
from rig.wait import until

pytestmark = pytest.mark.timeout(120)


async def test_rule_77_a_shutdown_closes_sockets_with_a_code_that_clients_retry_on(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        order = lab.shop.insert()
        assert ids([await socket.next("1")]) == [order]
        lab.server.process.send_signal(signal.SIGTERM)
        assert (await socket.closed())[0] in (1001, 1012)
    lab.server.stop()


async def test_a_stopped_server_leaves_no_session_in_postgres(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        lab.server.stop()
    until(lambda: sessions(lab) == 0, "the engine's sessions to end")


async def test_postgres_stops_at_once_although_somebody_listens(lab: Lab) -> None:
    """Unacknowledged keepalives make a fast shutdown of PostgreSQL hang."""
    cluster = lab.shop.database.cluster
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        lab.shop.insert()
        await socket.next("1")
        try:
            assert cluster.stop() < 10
        finally:
            cluster.start()


def sessions(lab: Lab) -> int:
    """Sessions in the test's database, and walsenders, except the one that asks."""
    query = "select count(*) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    with psycopg.connect(lab.shop.database.cluster.url("postgres"), autocommit=True) as connection:
        row = connection.execute(query, [lab.shop.database.name]).fetchone()
    assert row is not None
    return int(row[0])
