"""No byte of one tenant reaches another, and each tenant gets exactly its events, whatever happens.

Rounds of random subscriptions and random transactions; the expected events come from
`tenancy_model`, which knows nothing of rowcast. Every tenant's values, keys, credentials and messages carry a word of
its own: no frame of another tenant, no line of the log and no metric may contain it.

A round is a seed: ``ROWCAST_FUZZ_SEED=123 ROWCAST_FUZZ_SECONDS=0`` repeats one, ``ROWCAST_FUZZ_SECONDS=600`` goes
on for ten minutes on each version of PostgreSQL.
"""

import asyncio
import json
import os
import random
import secrets
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from tenancy_model import Subscriber, Tenant, World, filters

from rig.client import Socket, raw_socket
from rig.lab import Lab
from rig.postgres import Database
from rig.server import serve
from rig.shop import Shop
from rig.tenancy_app import TENANT_TYPES

SECONDS = float(os.environ.get("ROWCAST_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("ROWCAST_FUZZ_SEED", "0")) or secrets.randbelow(1 << 32)

pytestmark = pytest.mark.timeout(SECONDS + 180)


@dataclass
class Party:
    """One tenant's socket of one family of tables, with its subscriptions by operation id."""

    tenant: Tenant
    family: str
    socket: Socket
    subscribers: dict[str, Subscriber]
    news: list[Any]


async def test_no_tenant_is_told_a_byte_of_another_and_each_is_told_all_of_its_own(database: Database) -> None:
    counts: Counter[str] = Counter()
    with tenancy(database) as lab:
        deadline, seed = time.monotonic() + SECONDS, SEED
        while counts["rounds"] == 0 or time.monotonic() < deadline:
            print(f"ROWCAST_FUZZ_SEED={seed}")  # noqa: T201 - pytest shows it beside the failure
            await play(lab, seed, counts)
            seed += 1
        print(f"PostgreSQL {database.cluster.major}: {dict(counts)}")  # noqa: T201 - the figures of a long run, with -s


@contextmanager
def tenancy(database: Database) -> Iterator[Lab]:
    """The application on its tables."""
    for table, kind in TENANT_TYPES.items():
        database.execute(f"create table {table} (ref text primary key, tenant {kind}, kind text, n integer, body text)")
    server = serve("rig.tenancy_app:app", {"ROWCAST_DATABASE_URL": database.url})
    try:
        server.line("ready ")
        yield Lab(server, Shop(database))
    finally:
        server.stop()


async def play(lab: Lab, seed: int, counts: Counter[str]) -> None:
    """One round on empty tables."""
    chance = random.Random(seed)  # noqa: S311 - a seed is to be repeated
    database = lab.shop.database
    await emptied(lab)
    tenants = [tenant(chance, name) for name in ("ant", "bee", "cat")]
    world = World(chance, tenants, list(TENANT_TYPES))
    async with AsyncExitStack() as sockets:
        parties = [await join(lab, sockets, chance, each, family) for each in tenants for family in each.ids]
        with database.connect(autocommit=False) as connection:
            for _ in range(chance.randrange(20, 80)):
                counts["transactions"] += 1
                await asyncio.to_thread(commit, connection, world, parties, counts)
        database.execute("select rowcast.publish('fence', '1')")
        for party in parties:
            await settle(party)
            counts["deliveries"] += check(party, tenants)
    # The round's subscriptions have ended. The log and the metrics concern all tenants, so they name none.
    told = lab.server.output + json.dumps(lab.metrics())
    assert not [each.name for each in tenants if each.canary in told], "a value is in the log or in the metrics"
    counts["rounds"] += 1
    counts["subscriptions"] += sum(len(party.subscribers) for party in parties)


async def emptied(lab: Lab) -> None:
    """Empty the tables, and wait until the stream has passed that."""
    async with raw_socket(lab.url) as socket:
        await socket.send({"type": "connection_init", "payload": {"token": "1", "secret": "-"}})
        await socket.receive_type("connection_ack")
        await socket.subscribe("fence", "subscription { fence { payload } }")
        lab.shop.database.execute(f"truncate {', '.join(TENANT_TYPES)}")
        lab.shop.database.execute("select rowcast.publish('fence', '0')")
        await socket.next("fence")


def tenant(chance: random.Random, name: str) -> Tenant:
    """A tenant with a canary that no other text can contain by accident."""
    number = str(chance.randrange(1, 1 << 31))
    word = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    return Tenant(name, {"word": word, "number": number}, f"canary-{name}-{chance.getrandbits(64):016x}")


async def join(lab: Lab, sockets: AsyncExitStack, chance: random.Random, tenant: Tenant, family: str) -> Party:
    """A signed-in socket with its live random subscriptions."""
    socket = await sockets.enter_async_context(raw_socket(lab.url))
    token = {"token": tenant.ids[family], "secret": tenant.canary}
    await socket.send({"type": "connection_init", "payload": token})
    await socket.receive_type("connection_ack")
    numbers = ("by_big", "by_int")
    tables = [table for table in TENANT_TYPES if (table in numbers) == (family == "number")]
    party = Party(tenant, family, socket, {}, [])
    conditions = filters(chance)
    for number in range(chance.randrange(3, 9)):
        operations = chance.choice((None, None, ("INSERT", "UPDATE"), ("DELETE",), ("UPDATE", "TRUNCATE")))
        form = chance.choice(("", "", "_told", "_left"))
        subscriber = Subscriber(tenant, chance.choice(tables), form, next(conditions), operations)
        party.subscribers[str(number)] = subscriber
        await socket.subscribe(str(number), subscriber.query)
    await socket.subscribe("news", "subscription { news { payload } }")
    await socket.subscribe("fence", "subscription { fence { payload } }")
    wrong = f"subscription {{ by_uuid(where: {{ref: {{lt: 7}}}}) {{ key {{ ref }} }} }} # {tenant.canary}"
    await socket.subscribe("refused", wrong)
    return party


def commit(connection: "psycopg.Connection[Any]", world: World, parties: list[Party], counts: Counter[str]) -> None:
    """One random transaction; if it commits, each subscriber's expected events grow."""
    statements, changes, messages, commits = world.transaction()
    for statement, arguments in statements:
        connection.execute(statement.encode(), arguments or None)
    if not commits:
        connection.rollback()
        return
    connection.commit()
    counts["changes"] += len(changes)
    for party in parties:
        for subscriber in party.subscribers.values():
            for change in changes:
                subscriber.told(change)
        for owner, message in messages:
            if owner is party.tenant and message.startswith(party.family):
                party.news.append(json.loads(message.removeprefix(party.family)))


async def settle(party: Party) -> None:
    """Wait for the fence, after which only outstanding resolver results follow."""
    await party.socket.next("fence")
    for operation, subscriber in party.subscribers.items():
        while len(party.socket.nexts(operation)) < len(subscriber.expected):
            await party.socket.receive_type("next", operation)
    await party.socket.fence("end")


def check(party: Party, tenants: list[Tenant]) -> int:
    """Assert the expected events and no other tenant's word in any frame; the number of events."""
    heard = "\n".join(json.dumps(frame) for frame in party.socket.frames)
    for other in tenants:
        assert other is party.tenant or other.canary not in heard, f"{party.tenant.name} got a word of {other.name}"
    shown = party.news or any("ENTER" in json.dumps(subscriber.expected) for subscriber in party.subscribers.values())
    assert party.tenant.canary in heard or not shown, "the search for canaries finds none"
    assert "nobody-" not in heard, "a row without a tenant belongs to nobody"
    for operation, subscriber in party.subscribers.items():
        told = [result(payload) for payload in party.socket.nexts(operation)]
        assert told == subscriber.expected, f"{party.tenant.name}: {subscriber.query}"
    assert [payload["data"]["news"]["payload"] for payload in party.socket.nexts("news")] == party.news
    refused = [frame for frame in party.socket.of("refused") if frame["type"] == "error"]
    assert len(refused) == 1
    return sum(len(subscriber.expected) for subscriber in party.subscribers.values()) + len(party.news)


def result(payload: dict[str, Any]) -> Any:
    """The field's value in one result, or the code of its error."""
    errors = payload.get("errors")
    return errors[0]["extensions"]["code"] if errors else payload["data"]["it"]
