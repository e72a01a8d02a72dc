"""Watching a table never prevents its owner from writing it, whatever columns it generates."""

import psycopg
import pytest

from rig.client import signed_in
from rig.lab import Lab, served
from rig.postgres import Database
from rig.shop import Shop

pytestmark = [pytest.mark.timeout(120), pytest.mark.both_majors]

HAS_VIRTUAL = 18
"""The first version with columns that are computed when they are read."""


def _has_virtual(database: Database) -> bool:
    return int(database.execute("show server_version_num")[0][0]) >= HAS_VIRTUAL * 10_000


async def test_a_table_with_a_stored_column_is_written_and_told_as_any_other(lab: Lab) -> None:
    database = lab.shop.database
    database.execute("alter table orders add column gross numeric generated always as (total * 2) stored")
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { orders { operation row { status } } }")
        order = lab.shop.insert(status="open")
        lab.shop.update(order, status="paid")
        lab.shop.delete(order)
        told = [(await socket.next("1"))["data"]["orders"] for _ in range(3)]
        assert [event["operation"] for event in told] == ["INSERT", "UPDATE", "DELETE"]
        assert told[1]["row"] == {"status": "paid"}


async def test_a_stored_column_is_in_the_row_where_the_server_sends_it(database: Database) -> None:
    shop = Shop(database).open()
    database.execute("alter table orders add column gross numeric generated always as (total * 2) stored")
    with served(shop) as lab:
        async with signed_in(lab.url) as socket:
            has_it = _has_virtual(database)
            await socket.subscribe("1", f"subscription {{ orders {{ row {{ id {'gross' if has_it else ''} }} }} }}")
            order = shop.insert()
            row = {"id": order, "gross": "25.00"} if has_it else {"id": order}
            assert (await socket.next("1"))["data"]["orders"]["row"] == row


def test_a_virtual_column_is_refused_where_it_would_forbid_updates(lab: Lab) -> None:
    database = lab.shop.database
    if not _has_virtual(database):
        pytest.skip("this version stores all columns that it generates")
    database.execute("create table goods (id int primary key, n int, twice int generated always as (n * 2) virtual)")
    with pytest.raises(psycopg.Error, match="virtual generated column") as refused:
        database.execute("select rowcast.watch('goods', public => true)")
    assert "replica_identity => 'keep'" in str(refused.value.diag.message_hint)
    database.execute("insert into goods (id, n) values (1, 1)")
    database.execute("update goods set n = 2")
    database.execute("select rowcast.watch('goods', public => true, replica_identity => 'keep')")
    database.execute("update goods set n = 3")
    database.execute("alter table goods replica identity full")
    told = database.execute("select hint from rowcast.status() where name = 'table public.goods'")
    assert "refuses UPDATE and DELETE" in told[0][0]
    database.execute("alter table goods replica identity default")
    database.execute("delete from goods")
