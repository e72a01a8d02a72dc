"""On PostgreSQL: rows as resolvers receive them, the JSON of what they return, and a start that is interrupted."""

import asyncio
import datetime as dt
import json
import threading
import time
from datetime import date, datetime, timezone
from decimal import Decimal
from uuid import UUID

import pytest

from rig.postgres import Database
from rig.wait import until
from rowcast import EventBusConfig, NotStarted, Principal, RowcastError, SubscriptionExecutor, SubscriptionManager

pytestmark = pytest.mark.timeout(120)

TABLE = """
create type mood as enum ('calm', 'wild');
create type spot as (x int, label text);
create table things (
    id bigint primary key, flag boolean, small smallint, whole integer, amount numeric, ratio double precision,
    single real, name text, code uuid, day date, clock time, local timestamp, at timestamptz, doc jsonb, raw bytea,
    list integer[], words text[], feeling mood, place spot, address inet
)
"""
COLUMNS = (
    "id, flag, small, whole, amount, ratio, single, name, code, day, clock, local, at, doc, raw, list, words, feeling, "
    "place, address"
)
INSERT = f"insert into things ({COLUMNS}) values"

USUAL = (
    """(9007199254740993, true, 7, -8, 12345678901234567890.010, 1.5, 0.25, 'a "b" é',
       '12345678-1234-5678-1234-567812345678', '2026-11-23', '16:01:02.5', '2026-11-23 16:01:02.5',
       '2026-11-23 16:01:02+00', '{"a": [1, null]}', '\\x00ff', '{1,null,3}', '{a,"b c"}', 'wild', '(1,"x y")',
       '10.0.0.1')""",
    {
        "id": 9007199254740993,
        "flag": True,
        "small": 7,
        "whole": -8,
        "amount": Decimal("12345678901234567890.010"),
        "ratio": 1.5,
        "single": 0.25,
        "name": 'a "b" é',
        "code": UUID("12345678-1234-5678-1234-567812345678"),
        "day": date(2026, 11, 23),
        "clock": dt.time(16, 1, 2, 500_000),
        "local": datetime(2026, 11, 23, 16, 1, 2, 500_000),  # noqa: DTZ001 - as the column is
        "at": datetime(2026, 11, 23, 16, 1, 2, tzinfo=timezone.utc),
        "doc": {"a": [1, None]},
        "raw": b"\x00\xff",
        "list": [1, None, 3],
        "words": ["a", "b c"],
        "feeling": "wild",
        "place": {"x": 1, "label": "x y"},
        "address": "10.0.0.1",
    },
)
BEYOND = (
    """(1, null, null, null, 'NaN', 'Infinity', null, null, null, 'infinity', '24:00:00', '0044-03-15 12:00:00.5 BC',
       '10000-01-01 00:00:00.5+00', 'null', '', '{}', null, null, null, null)""",
    {
        "id": 1,
        "ratio": float("inf"),
        "day": "infinity",
        "local": "0044-03-15T12:00:00.5 BC",
        "at": "10000-01-01T00:00:00.5+00:00",
        "doc": None,
        "raw": b"",
        "list": [],
    },
)


@pytest.fixture
def things(database: Database) -> Database:
    database.execute(TABLE)
    return database


async def told(things: Database, values: str) -> tuple[dict, dict, dict]:
    """The row that the resolver got; the row that its clients got; the row that the engine delivers by itself."""
    manager = SubscriptionManager(bus=EventBusConfig.postgresql(things.url, slot=things.name))
    seen = []

    @manager.subscription("things", public=True)
    async def resolved(event, variables) -> dict:
        seen.append(event.row)
        return event.row

    manager.subscription("things", public=True, name="plain")
    async with manager:
        engine = manager.executor
        selection = "{ id small whole amount single name code clock local at day doc raw list words feeling address }"
        engine.register("resolved", f"subscription {{ resolved {selection} }}", principal=Principal())
        engine.register("plain", f"subscription {{ plain {{ row {selection} }} }}", principal=Principal())
        await asyncio.to_thread(things.execute, f"{INSERT} {values}")
        resolved_body = json.loads(await asyncio.to_thread(engine.next_event, "resolved", 15.0))
        plain_body = json.loads(await asyncio.to_thread(engine.next_event, "plain", 15.0))
    assert "errors" not in resolved_body, resolved_body["errors"]
    return seen[0], resolved_body["data"]["resolved"], plain_body["data"]["plain"]["row"]


async def test_a_row_has_pythons_own_types_and_goes_out_as_it_came(things: Database) -> None:
    values, expected = USUAL
    seen, resolved, plain = await told(things, values)
    assert seen == expected
    assert {name: type(value) for name, value in seen.items()} == {name: type(expected[name]) for name in expected}
    # Python prints six digits of a second's fraction or none.
    plain |= {"clock": "16:01:02.500000", "local": "2026-11-23T16:01:02.500000"}
    assert resolved == plain


async def test_what_pythons_types_cannot_hold_is_text_and_goes_out_as_it_came(things: Database) -> None:
    values, expected = BEYOND
    seen, resolved, plain = await told(things, values)
    assert seen["amount"].is_nan()
    assert {name: seen[name] for name in expected} == expected
    clock = resolved.pop("clock"), plain.pop("clock")
    assert clock in (("24:00:00", "24:00:00"), ("00:00:00", "24:00:00"))  # newer versions of Python read 24:00 as 0:00
    assert resolved == plain


async def test_keys_changes_and_leaves_reach_the_resolver(things: Database) -> None:
    manager = SubscriptionManager(bus=EventBusConfig.postgresql(things.url, slot=things.name))

    @manager.subscription("things", public=True, leave=True)
    async def seen(event, variables) -> str:
        row = None if event.row is None else event.row["name"]
        return json.dumps([event.operation, event.transition, event.table, row, event.key, event.changed])

    async with manager:
        engine = manager.executor
        engine.register("1", "subscription { seen }", principal=Principal())
        things.execute("insert into things (id, name) values (1, 'a')")
        things.execute("update things set name = 'b' where id = 1")
        things.execute("delete from things where id = 1")
        bodies = [json.loads(await asyncio.to_thread(engine.next_event, "1", 15.0)) for _ in range(3)]
    assert [json.loads(body["data"]["seen"]) for body in bodies] == [
        ["INSERT", "ENTER", "public.things", "a", {"id": 1}, []],
        ["UPDATE", "STAY", "public.things", "b", {"id": 1}, ["name"]],
        ["DELETE", "LEAVE", "public.things", None, {"id": 1}, []],
    ]


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_stop_in_the_middle_of_a_start_leaves_nothing_that_serves(things: Database, after: float) -> None:
    engine = SubscriptionExecutor(EventBusConfig.postgresql(things.url, slot=things.name))
    outcome: list[RowcastError | None] = []

    def start() -> None:
        try:
            engine.start('[{"name": "things", "table": "things", "public": true}]')
        except RowcastError as error:
            outcome.append(error)
        else:
            outcome.append(None)

    starting = threading.Thread(target=start)
    starting.start()
    time.sleep(after)
    engine.stop()
    starting.join(20)
    assert len(outcome) == 1
    with pytest.raises(NotStarted):
        engine.schema()
    # PostgreSQL releases a slot once it notices that its reader is gone.
    active = "select count(*) from pg_replication_slots where active"
    until(lambda: things.execute(active) == [(0,)], "the slot to be let go")
