"""`make demo`: its output is correct, and it leaves nothing behind."""

import signal
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from rig.client import ACME, raw_socket, signed_in
from rig.demo import SCRIPT, data_folder, demo
from rig.postgres import Cluster
from rig.server import Server
from rig.wait import until

pytestmark = pytest.mark.timeout(180)

ORDERS = "subscription { orders { row { id tenantId status total note sentAt } } }"
INSERT = "insert into orders (id, tenant_id, status, total, note, sent_at) values (%s, %s, 'open', 12.5, 'by hand', 1)"


async def test_what_it_prints_can_be_used_at_once() -> None:
    with demo(DEMO_WRITER="off") as server:
        async with signed_in(server.url("ws")) as socket:
            await socket.subscribe("1", ORDERS)
            with psycopg.connect(server.line("postgres "), autocommit=True) as connection:
                connection.execute(INSERT, [123456789, ACME])
            row = {"id": "123456789", "tenantId": ACME, "status": "open", "total": "12.50"}
            row |= {"note": "by hand", "sentAt": "1"}
            assert (await socket.next("1"))["data"] == {"orders": {"row": row}}


async def test_the_writer_changes_rows_of_both_tenants_and_keeps_the_table_small() -> None:
    with demo() as server, psycopg.connect(server.line("postgres "), autocommit=True) as connection:
        async with signed_in(server.url("ws")) as acme, signed_in(server.url("ws"), "globex") as globex:
            for socket in (acme, globex):
                await socket.subscribe("1", "subscription { orders { operation } }")
                seen: set[str] = set()
                while seen != {"INSERT", "UPDATE", "DELETE"}:
                    seen.add((await socket.next("1", 60))["data"]["orders"]["operation"])
        assert connection.execute("select count(*) < 200 from orders").fetchone() == (True,)


async def test_it_starts_again_on_the_data_that_it_left() -> None:
    with data_folder() as folder:
        for order in (1, 2):
            with demo(DEMO_WRITER="off", DEMO_FOLDER=folder) as server:
                async with signed_in(server.url("ws")) as socket:
                    await socket.subscribe("1", ORDERS)
                    with psycopg.connect(server.line("postgres "), autocommit=True) as connection:
                        connection.execute(INSERT, [order, ACME])
                        assert connection.execute("select count(*) from orders").fetchone() == (order,)
                    assert (await socket.next("1"))["data"]["orders"]["row"]["id"] == str(order)


async def test_an_unknown_token_is_refused() -> None:
    with demo(DEMO_WRITER="off") as server:
        async with raw_socket(server.url("ws")) as socket:
            await socket.send({"type": "connection_init", "payload": {"token": "initech"}})
            assert await socket.closed() == (4403, "Forbidden")


async def test_it_uses_the_database_that_it_is_given(newest_postgres: Cluster) -> None:
    with newest_postgres.database() as database:
        with demo(DEMO_WRITER="off", ROWCAST_DATABASE_URL=database.url) as server:
            assert server.line("postgres ") == database.url
            assert database.execute("select count(*) from orders") == [(0,)]
        assert newest_postgres.url("postgres"), "the server that was lent goes on"
        database.execute("select 1")


async def test_its_engine_is_no_superuser_and_owns_nothing() -> None:
    with demo(DEMO_WRITER="off") as server, psycopg.connect(server.line("postgres "), autocommit=True) as connection:
        rights = """select distinct a.usename, r.rolsuper, exists (select from pg_class c where c.relowner = r.oid)
            from pg_stat_activity a join pg_roles r on r.rolname = a.usename
            where a.pid <> pg_backend_pid() and a.backend_type in ('client backend', 'walsender')"""
        assert connection.execute(rights).fetchall() == [("rowcast_engine", False, False)]
        async with signed_in(server.url("ws")) as socket:
            connection.execute(INSERT, [1, ACME])
            await socket.subscribe("1", "subscription { orders(snapshot: true) { operation row { id } } }")
            assert (await socket.next("1"))["data"]["orders"] == {"operation": "SNAPSHOT", "row": {"id": "1"}}
        assert "ENGINE_IS_SUPERUSER" not in server.output


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "80 80"])
def test_a_port_that_is_none_is_one_line(port: str) -> None:
    server = Server([sys.executable, SCRIPT], {"PORT": port})
    assert server.process.wait(60) == 1
    server.stop()
    assert server.output.startswith(f"demo: PORT is {port!r}; it must be a number from 0")
    assert len(server.output.splitlines()) == 1


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
async def test_it_leaves_no_process_behind(end: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    with demo(TEST_MARK=mark) as server:
        async with signed_in(server.url("ws")) as socket:
            await socket.subscribe("1", ORDERS)
            assert "postgres" in programs(mark)
            assert (server.interrupt() if end is signal.SIGINT else server.stop()) == 0
        assert programs(mark) == []


async def test_ctrl_c_on_make_demo_leaves_no_process_behind() -> None:
    mark = uuid.uuid4().hex
    with data_folder() as folder:
        server = Server(["make", "--no-print-directory", "demo"], environment(folder, mark))
        try:
            server.line("ready ", 600)
            server.interrupt()
            until(lambda: programs(mark) == [], "every process of the demo to be gone", 15)
        finally:
            server.stop()


async def test_it_can_be_interrupted_before_it_is_ready() -> None:
    mark = uuid.uuid4().hex
    with data_folder() as folder:
        server = Server([sys.executable, SCRIPT], environment(folder, mark))
        try:
            until(lambda: "postgres" in programs(mark), "PostgreSQL to be started")
            assert server.interrupt() == 0
            assert programs(mark) == []
        finally:
            server.stop()


def environment(folder: str, mark: str) -> dict[str, str]:
    """Environment of a demo, with a mark that its processes inherit."""
    return {"PORT": "0", "DEMO_FOLDER": folder, "TEST_MARK": mark}


def programs(mark: str) -> list[str]:
    """Names of the running processes that inherited this mark in their environment, whoever their parent is now."""
    return [name for entry in Path("/proc").iterdir() if entry.name.isdigit() for name in _marked(entry, mark)]


def _marked(process: Path, mark: str) -> list[str]:
    with suppress(OSError):
        if mark.encode() in (process / "environ").read_bytes():
            return [(process / "comm").read_text().strip()]
    return []
