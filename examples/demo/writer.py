"""The writing application: it uses SQL and does not know rowcast.

A few times a second it inserts, changes or deletes an order of one tenant. Its ids count up from `FIRST_ID`. It leaves
orders with other ids alone, because they were written with psql.
"""

import asyncio
import logging
import random
import time
from typing import Any

import psycopg
from psycopg.sql import SQL

FIRST_ID = 7_000_000_001
ROWS_MIN, ROWS_MAX = 12, 40
PAUSE_S = 0.2
WRITES_BEFORE_SERVING = 5
RECONNECT_S = 1.0

TABLE = """
create table if not exists orders (
    id bigint primary key,
    tenant_id uuid,
    status text,
    total numeric(12, 2),
    note text,
    sent_at bigint
)
"""
INSERT = SQL("""
insert into orders (id, tenant_id, status, total, note, sent_at)
select coalesce(max(id), %(first)s - 1) + 1, %(tenant)s, 'open', %(total)s, %(note)s, %(now)s
from orders where id >= %(first)s
""")
UPDATE = SQL("""
update orders set status = %(status)s, sent_at = %(now)s
where id = (select id from orders where tenant_id = %(tenant)s and id >= %(first)s order by random() limit 1)
""")
DELETE = SQL("""
delete from orders
where id = (select id from orders where tenant_id = %(tenant)s and id >= %(first)s order by id limit 1)
""")
COUNT = "select count(*) from orders where tenant_id = %(tenant)s and id >= %(first)s"

STATUSES = ["packed", "shipped", "paid", "on hold"]
NOTES = ["two boxes", "gift wrap", "call before delivery", "leave at the door", "fragile", "by bicycle"]

_log = logging.getLogger("demo")


async def keep_writing(url: str, tenants: list[str]) -> None:
    """Change rows until cancelled, and reconnect if the database is unavailable."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                while True:
                    await write_once(connection, random.choice(tenants))  # noqa: S311 - no secret
                    await asyncio.sleep(PAUSE_S)
        except psycopg.OperationalError as error:
            _log.warning("the writer lost its database connection and retries: %s", error)
            await asyncio.sleep(RECONNECT_S)


async def write_before_serving(url: str, tenants: list[str]) -> None:
    """Change a few rows of each tenant before the server starts: pages that were open before must get these as well."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for tenant in tenants * WRITES_BEFORE_SERVING:
            await write_once(connection, tenant)


async def write_once(connection: psycopg.AsyncConnection[Any], tenant: str) -> None:
    """One committed change of one tenant."""
    values = {
        "first": FIRST_ID,
        "tenant": tenant,
        "total": random.randint(100, 99_999) / 100,  # noqa: S311 - no secret
        "note": random.choice(NOTES),  # noqa: S311 - no secret
        "status": random.choice(STATUSES),  # noqa: S311 - no secret
        "now": time.time_ns() // 1_000,
    }
    row = await (await connection.execute(COUNT, values)).fetchone()
    await connection.execute(choose(0 if row is None else row[0]), values)


def choose(rows: int) -> SQL:
    """What to do with so many rows in the table: it stays between its bounds."""
    if rows < ROWS_MIN:
        return INSERT
    if rows >= ROWS_MAX:
        return DELETE
    return random.choice([INSERT, UPDATE, UPDATE, UPDATE, DELETE])  # noqa: S311 - no secret
