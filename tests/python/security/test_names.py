"""Names and values are never spliced into SQL: the table that an injection would drop still exists at the end.

Names of tables, schemas, tenant columns, topics, publications and databases, tenants and values, all as an attacker who
may choose them would, on each version of PostgreSQL.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from rig.postgres import Database
from rowcast import EventBusConfig, Principal, PrincipalError, RowcastError, SubscriptionExecutor

pytestmark = pytest.mark.timeout(120)

HOSTILE = [
    "'; drop table canary; --",
    '"; drop table canary; --',
    '"."; drop table canary; --',
    "\\'; drop table canary; --",
    "$1",
    "$$; drop table canary; $$",
    "%s %I %L %",
    "-- x",
    "/* x",
    "a.b.c",
    "Ünïcödé ☃ '\"",
    "select",
    " ",
    "x" * 63,
    "\t\n;",
    "{}",
]


@pytest.fixture
def guarded(database: Database) -> Iterator[Database]:
    """A database with a table that must survive."""
    database.execute("create table canary (id int)")
    yield database
    assert database.execute("select count(*) from canary") == [(0,)]


def quoted(*names: str) -> str:
    """A qualified name as SQL writes it."""
    return sql.Identifier(*names).as_string(None)


def serving(database: Database, fields: list[dict[str, object]], **bus: str) -> SubscriptionExecutor:
    """An engine that serves these fields."""
    engine = SubscriptionExecutor(EventBusConfig.postgresql(database.url, **bus))
    engine.start(json.dumps([{"resolver": None, "public": False, **field} for field in fields]))
    return engine


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_name_is_a_name(guarded: Database, name: str) -> None:
    """Of schema, table, tenant column and another column at once."""
    guarded.execute(f"create schema {quoted(name)}")
    table = quoted(name, name)
    other = "y" + name[1:]
    columns = f"id int primary key, {quoted(name)} text, {quoted(other)} text"
    guarded.execute(f"create table {table} ({columns})")
    field = {"name": "it", "table": table, "tenant": name}
    engine = await asyncio.to_thread(serving, guarded, [field])
    try:
        query = "subscription { it { row { __typename id } key { id } changed } }"
        engine.register("1", query, principal=Principal(tenant_id=name))
        engine.register("2", query, principal=Principal(tenant_id="another"))
        with guarded.connect() as connection:
            escaped = table.replace("%", "%%")
            connection.execute(f"insert into {escaped} values (1, %s, %s)".encode(), (name, name))  # noqa: S608
            connection.execute(f"update {table} set {quoted(other)} = 'z'".encode())  # noqa: S608
        told = [json.loads(await asyncio.to_thread(engine.next_event, "1", 10.0) or b"{}") for _ in range(2)]
        assert [event["data"]["it"]["row"]["id"] for event in told] == [1, 1]
        assert engine.next_event("2") is None
    finally:
        engine.stop(5.0)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_topic_tenant_payload_and_value_is_one(guarded: Database, name: str) -> None:
    guarded.execute("create table t (id int primary key, owner text, note text)")
    fields = [{"name": "it", "topic": name}, {"name": "t", "table": "t", "tenant": "owner"}]
    engine = await asyncio.to_thread(serving, guarded, fields)
    try:
        principal = Principal(tenant_id=name, role=None, settings={"app.it": name}, claims={name: name})
        engine.register("1", "subscription { it { payload } }", principal=principal)
        query = "subscription($w: TWhere) { t(where: $w) { row { note } } }"
        wanted = {"note": {"in": [name, "other"]}}
        engine.register("2", query, variables=json.dumps({"w": wanted}), principal=principal)
        await asyncio.to_thread(engine.publish, name, json.dumps({name: name}), name)
        guarded.execute("insert into t values (1, %s, %s)", name, name)
        told = json.loads(await asyncio.to_thread(engine.next_event, "1", 10.0) or b"{}")
        assert told["data"]["it"]["payload"] == {name: name}
        told = json.loads(await asyncio.to_thread(engine.next_event, "2", 10.0) or b"{}")
        assert told["data"]["t"]["row"]["note"] == name
    finally:
        engine.stop(5.0)


@pytest.mark.parametrize("name", [name for name in HOSTILE if "." not in name or "drop" in name])
def test_a_hostile_name_of_a_setting_is_refused(name: str) -> None:
    with pytest.raises(PrincipalError):
        Principal(settings={name: "value"})


async def test_a_table_that_is_not_there_is_refused_with_a_code(guarded: Database) -> None:
    for name in HOSTILE:
        for table in (name, quoted(name)):
            with pytest.raises(RowcastError) as caught:
                await asyncio.to_thread(serving, guarded, [{"name": "it", "table": table, "public": True}])
            assert caught.value.code


async def test_a_hostile_publication_or_slot_is_one_or_is_refused(guarded: Database) -> None:
    for name in HOSTILE:
        for bus in ({"publication": name}, {"slot": name}):
            with suppress(RowcastError):
                engine = await asyncio.to_thread(serving, guarded, [{"name": "it", "topic": "t"}], **bus)
                engine.stop(5.0)


def test_sql_functions_take_hostile_names_as_names(guarded: Database) -> None:
    """The functions that an application may call: none fails with a syntax error of its argument."""
    SubscriptionExecutor(EventBusConfig.postgresql(guarded.url)).migrate()
    statements = [
        "select rowcast.watch(quote_ident(%s)::regclass)",
        "select rowcast.watch('canary', tenant_column => %s::name)",
        "select rowcast.unwatch(%s::text)",
        "select rowcast.publish(%s, '1')",
        "select rowcast.publish('t', '1', %s)",
        "select rowcast.grant_engine(quote_ident(%s)::regrole)",
        "select rowcast.grant_publisher(quote_ident(%s)::regrole)",
    ]
    for statement in statements:
        for name in HOSTILE:
            assert sqlstate(guarded, statement, name) != "42601", f"{statement} reads {name!r} as SQL"


def sqlstate(database: Database, statement: str, name: str) -> str | None:
    """The statement's error, if it fails."""
    try:
        database.execute(statement, name)
    except psycopg.Error as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize("length", [64, 1_000, 100_000])
def test_names_that_are_too_long_are_cut_or_refused(guarded: Database, length: int) -> None:
    name = "x" * length
    for field in ({"table": quoted(name), "public": True}, {"table": "canary", "tenant": name}):
        with pytest.raises(RowcastError):
            serving(guarded, [{"name": "it", **field}])
