"""`transactions=True` over a real socket, and a commit that is larger than the server's limits."""

import asyncio
from typing import Any

import pytest

from rig.client import ACME, Socket, signed_in
from rig.lab import laboratory
from rig.postgres import Cluster

pytestmark = pytest.mark.timeout(400)

ROWS = 1_000_000
MEMORY = 96 << 20
"""A tenth of what its changes take in the server's log of them."""

CHANGES = "subscription { orderTransactions { begin changes { key { id } } end cursor } }"
BULK = "insert into orders (id, tenant_id, status) select n, %s, 'open' from generate_series(1, %s) n"


async def test_a_million_rows_in_one_commit_are_told_in_parts_within_bounded_memory(postgres: Cluster) -> None:
    with postgres.database() as database, laboratory(database, "rig.slow_app:app") as lab:
        async with signed_in(lab.url) as socket:
            await socket.subscribe("1", CHANGES)
            before = largest = lab.server.resident_bytes()
            writing = asyncio.to_thread(lab.shop.database.execute, BULK, ACME, ROWS)
            task = asyncio.ensure_future(writing)
            told, parts = 0, 0
            while True:
                part = await next_part(socket, "1")
                keys = [int(change["key"]["id"]) for change in part["changes"]]
                assert keys == list(range(told + 1, told + len(keys) + 1)), f"part {parts}"
                assert part["begin"] == (told == 0)
                told, parts = told + len(keys), parts + 1
                largest = max(largest, lab.server.resident_bytes())
                if part["end"]:
                    break
            await task
            print(f"{parts} parts, {before >> 20} MiB before, {largest >> 20} at most")  # noqa: T201
            assert told == ROWS
            assert largest - before < MEMORY
            await socket.subscribe("2", CHANGES)
            lab.shop.database.execute("delete from orders where id in (1, 2)")
            last = await next_part(socket, "2")
            assert (last["begin"], len(last["changes"]), last["end"]) == (True, 2, True)


async def next_part(socket: Socket, operation: str) -> dict[str, Any]:
    """The next frame; it is not kept."""
    message = await socket.receive_type("next", operation, 120)
    socket.frames.clear()
    part: dict[str, Any] = message["payload"]["data"]["orderTransactions"]
    return part
