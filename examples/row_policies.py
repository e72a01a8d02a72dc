"""Row policies decide which subscribers receive a row, as they decide which roles may select it.

Run:        python row_policies.py   (pip install 'rowcast[embedded]' psycopg; or set ROWCAST_DATABASE_URL)

Two users of one database role share a table. The policy reads a setting, and rowcast gives it the value that the
principal has. In an application `authenticate` returns that principal.

Prints what each user receives: their own documents; the document that changes hands, as LEAVE with its key for the one
user and as ENTER for the other; and what the policy admits after it was changed, without subscribing again.
"""

from __future__ import annotations

import asyncio
import json

import psycopg

from rowcast import Principal, SubscriptionExecutor, SubscriptionManager

SETUP = """
do $$ begin create role reader; exception when duplicate_object then null; end $$;
drop table if exists documents;
create table documents (id integer primary key, owner text not null, title text not null, draft boolean not null);
alter table documents enable row level security;
create policy own on documents for select to reader using (owner = current_setting('app.user', true));
grant select on documents to reader;
"""
WRITES = [
    "insert into documents values (1, 'ann', 'plan', false), (2, 'bob', 'budget', false)",
    "update documents set title = 'great plan' where id = 1",
    "update documents set owner = 'bob' where id = 1",
]
CHANGE = [
    "alter policy own on documents using (not draft)",
    "insert into documents values (3, 'eve', 'news', false), (4, 'eve', 'rumours', true)",
]
DOCUMENTS = "subscription { documents { transition key { id } row { title } } }"

manager = SubscriptionManager()
manager.subscription("documents")


async def main() -> None:
    """Subscribe as two users, write as the table's owner."""
    async with manager.database() as url:
        await asyncio.to_thread(execute, url, SETUP)
        async with manager:
            for user in ("ann", "bob"):
                principal = Principal(user_id=user, role="reader", settings={"app.user": user})
                manager.executor.register(user, DOCUMENTS, principal=principal)
            await asyncio.to_thread(execute, url, *WRITES)
            await show(ann=3, bob=2)
            await asyncio.to_thread(execute, url, *CHANGE)
            await show(ann=1, bob=1)


async def show(**events: int) -> None:
    """Print so many events of each user."""
    for user, count in events.items():
        for _ in range(count):
            print(user, await asyncio.to_thread(next_of, manager.executor, user))


def next_of(engine: SubscriptionExecutor, user: str) -> str:
    """The next event, in a line."""
    response = engine.next_event(user, 10.0)
    event = json.loads(response or b"null")["data"]["documents"]
    return f"{event['transition']} {event['key']['id']} {event['row']}"


def execute(url: str, *statements: str) -> None:
    """Each a transaction of its own; nothing here knows of subscriptions."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


if __name__ == "__main__":
    asyncio.run(main())
