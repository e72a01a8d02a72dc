"""Administrators alter what rowcast captures with, and put it right again or leave that to the engine.

Until then changes may not be captured. So each alteration is on record, in its own transaction, and so is its end. A
subscription may miss changes in between only if it gets an error for it: see `checker`.
"""

import asyncio
import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from chaos.history import ALTERED, WHOLE
from chaos.processes import sql
from chaos.world import TABLES, World
from rig.server import CAPTURE

PATIENCE_S = 30.0
"""For the engine to mend and note what was altered. Changes that are missing afterwards are lost."""


@dataclass(frozen=True)
class Alteration:
    """Two statements; ``{table}`` is one table, ``{others}`` are the other two and ``{all}`` all three."""

    spoil: str
    mend: str
    of_all: bool = False
    """Whether it concerns all tables."""
    mended: bool = True
    """Whether the engine mends it by itself."""
    slot: bool = False
    """Whether slots have to be dropped for it, as the README says of `PUBLICATION_MISSING`."""


ALL_AGAIN = "alter publication rowcast set table {all}"
OPTIONS = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
CREATE = f"create publication rowcast for table {{all}} with ({OPTIONS})"

ALTERATIONS = {
    "publication: a table dropped": Alteration(
        "alter publication rowcast drop table {table}", "alter publication rowcast add table only {table}"
    ),
    "publication: set to one table less": Alteration(
        "alter publication rowcast set table {others}", ALL_AGAIN, of_all=True
    ),
    "publication: set to inserts": Alteration(
        "alter publication rowcast set (publish = 'insert')", f"alter publication rowcast set ({OPTIONS})", of_all=True
    ),
    "publication: set to a row filter": Alteration(
        "alter publication rowcast set table {table} where (id < 5), {others}", ALL_AGAIN, of_all=True
    ),
    "publication: dropped, created": Alteration(
        "drop publication rowcast", CREATE, of_all=True, mended=False, slot=True
    ),
    "publication: dropped and created at once": Alteration(f"drop publication rowcast; {CREATE}", "", of_all=True),
    "triggers: one disabled": Alteration(
        "alter table {table} disable trigger rowcast_update",
        "alter table {table} enable always trigger rowcast_update",
        mended=False,
    ),
    "triggers: one not always enabled": Alteration(
        "alter table {table} enable trigger rowcast_insert",
        "alter table {table} enable always trigger rowcast_insert",
        mended=False,
    ),
    "triggers: one dropped": Alteration(
        "drop trigger rowcast_delete on {table}", "select rowcast.install_outbox_triggers('{table}')", mended=False
    ),
    "triggers: dropped and created at once": Alteration(
        "select rowcast.remove_outbox_triggers('{table}'); select rowcast.install_outbox_triggers('{table}')", ""
    ),
}
"""By the name of the fault. An outbox has triggers, and what captures from the WAL a publication."""

CONTRADICTED = (
    psycopg.errors.DuplicateObject,
    psycopg.errors.UniqueViolation,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedTable,
)
"""The engine was quicker, or the server did it although it did not say so."""

NOTED = """
select not exists (select from rowcast.tables where problems <> '{}') and not exists (
    select from rowcast.coverage c join rowcast.watched w using (relation) where w.coverage is distinct from c.coverage)
"""


async def alter(world: World, chance: random.Random, alteration: Alteration) -> None:
    """One alteration, to the end of what it can have done."""
    table, told = chance.choice(TABLES), chance.random() < 0.6
    tables = TABLES if alteration.of_all else (table,)
    if not told:
        await sql(world, "select rowcast.remove_event_trigger()")
    try:
        await _do(world, f"{record(tables, ALTERED)}; {_filled(alteration.spoil, table)}")
        await asyncio.sleep(chance.uniform(0, 3) * (chance.random() < 0.7))
        if alteration.mend and not (alteration.mended and chance.random() < 0.4):
            await _do(world, _filled(alteration.mend, table))
        if alteration.slot:
            await drop_slots(world)
        await _until_whole(world)
        await sql(world, record(tables, WHOLE))
    finally:
        if not told:
            await sql(world, "select rowcast.install_event_trigger()", patience=60)


def record(tables: Iterable[str], what: str) -> str:
    """Notes this of the tables in the transaction at hand, and gives it a place in the outbox if there is one."""
    rows = ", ".join(f"('{table}', '{what}')" for table in tables)
    place = "; select rowcast.publish('chaos', 'null')" if CAPTURE == "outbox" else ""
    return f"insert into chaos.history (tab, op) values {rows}{place}"


async def drop_slots(world: World) -> None:
    """Those of rowcast, also while they are in use."""
    ours = "from pg_replication_slots where slot_name like 'rowcast%'"
    for _ in range(100):
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
            await sql(world, f"select pg_terminate_backend(active_pid) {ours} and active")
            if await sql(world, f"select pg_drop_replication_slot(slot_name) {ours}"):
                return


async def _do(world: World, statement: str) -> None:
    with suppress(*CONTRADICTED):
        await sql(world, statement)


async def _until_whole(world: World) -> None:
    """All is captured again, and every transaction that has begun before has ended."""
    with suppress(AssertionError):
        await _until(world, NOTED)
        (next_one,) = (await sql(world, "select pg_snapshot_xmax(pg_current_snapshot())"))[0]
        await _until(world, f"select pg_snapshot_xmin(pg_current_snapshot()) >= '{next_one}'::xid8")


async def _until(world: World, question: str) -> None:
    async def is_so() -> bool:
        return bool((await sql(world, question))[0][0])

    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not await is_so():
        assert asyncio.get_running_loop().time() < deadline, question
        await asyncio.sleep(0.1)


def _filled(statement: str, table: str) -> str:
    names = {"table": (table,), "others": [other for other in TABLES if other != table], "all": TABLES}
    return statement.format(**{name: ", ".join(tables) for name, tables in names.items()})
