"""Snapshots and the live events that follow, over real sockets."""

import asyncio
from typing import Any

import pytest

from rig.client import ACME, GLOBEX, Socket, signed_in
from rig.lab import laboratory
from rig.postgres import Cluster, Database
from rig.stream import streaming

pytestmark = pytest.mark.timeout(400)

ROWS = 1_000_000
MEMORY = 64 << 20
"""Their keys alone take more."""

ORDERS = "subscription { orders(snapshot: true) { operation transition key { id } row { status } } }"
KEYS = "subscription { orders(snapshot: true) { operation key { id } } }"
BULK = "insert into orders (id, tenant_id, status) select n, %s, 'open' from generate_series(1, %s) n"


async def event(socket: Socket, operation: str = "1") -> dict[str, Any]:
    """The next frame; it is not kept."""
    message = await socket.receive_type("next", operation, 120)
    socket.frames.clear()
    told: dict[str, Any] = message["payload"]["data"]["orders"]
    return told


async def test_rows_come_first_then_the_end_then_what_changes(database: Database) -> None:
    with laboratory(database) as lab:
        first, other, second = lab.shop.insert(), lab.shop.insert(tenant=GLOBEX), lab.shop.insert(status="sent")
        async with signed_in(lab.url) as socket:
            await socket.send({"id": "1", "type": "subscribe", "payload": {"query": ORDERS}})
            for order, status in ((first, "open"), (second, "sent")):
                told = {"operation": "SNAPSHOT", "transition": "ENTER", "key": {"id": order}, "row": {"status": status}}
                assert await event(socket) == told
            assert (await event(socket))["operation"] == "SNAPSHOT_END"
            lab.shop.delete(other)
            lab.shop.delete(first)
            assert await event(socket) == {
                "operation": "DELETE",
                "transition": "LEAVE",
                "key": {"id": first},
                "row": None,
            }


async def test_an_event_source_that_is_lost_inside_a_snapshot_begins_again(database: Database) -> None:
    with streaming(database) as app:
        orders = [app.shop.insert() for _ in range(3)]
        async with app.stream(ORDERS) as stream:
            for _ in orders:
                await stream.next()
                assert not stream.last_id, "nobody can go on from inside"
            end = await stream.next()
            assert end["data"]["orders"]["operation"] == "SNAPSHOT_END"
            assert stream.last_id == end["extensions"]["rowcast"]["cursor"]
            last_id = stream.last_id
        orders.append(app.shop.insert())
        async with app.stream(ORDERS, last_event_id=last_id) as stream:
            back = await stream.next()
            assert back["data"]["orders"]["operation"] == "INSERT"
            assert back["data"]["orders"]["key"]["id"] == orders[-1]


async def test_a_million_rows_that_are_there_are_told_within_bounded_memory(newest_postgres: Cluster) -> None:
    # The stream has not reached these rows yet, and the replay window does not hold them.
    with (
        newest_postgres.database() as database,
        laboratory(database, "rig.slow_app:app", SLOW_QUEUE_BYTES=str(4 << 20)) as lab,
    ):
        await asyncio.to_thread(lab.shop.database.execute, BULK, ACME, ROWS)
        async with signed_in(lab.url) as socket:
            before = largest = lab.server.resident_bytes()
            await socket.send({"id": "1", "type": "subscribe", "payload": {"query": KEYS}})
            # As plain text: parsing all of it would take longer than delivering it.
            for due in range(1, ROWS + 1):
                frame = await socket.connection.recv()
                assert f'{{"operation":"SNAPSHOT","key":{{"id":"{due}"}}}}' in str(frame), frame
                if due % 10_000 == 0:
                    largest = max(largest, lab.server.resident_bytes())
            assert (await event(socket))["operation"] == "SNAPSHOT_END"
            print(f"{before >> 20} MiB before, {largest >> 20} at most")  # noqa: T201
            assert largest - before < MEMORY
