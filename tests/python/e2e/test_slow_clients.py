"""A client that stops reading: each field's setting says what happens, and its memory is given back."""

import asyncio
import base64
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rig.client import ACME, signed_in
from rig.lab import Lab, laboratory
from rig.postgres import Cluster
from rig.raw import RawPeer, upgraded
from rig.wait import until_async

pytestmark = pytest.mark.timeout(240)

LATEST = "subscription { orders { operation transition key { id } row { id note } } }"
EACH = "subscription { ordersEach { key { id } row { note } } }"
BARE = "subscription { orders { key { id } } }"

FILLER = "x" * 10_000
"""The kernel's buffers swallow some four megabytes before a client is seen to be slow."""


@pytest.fixture
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """A server that delivers the latest state of each row."""
    with newest_postgres.database() as database, laboratory(database, "rig.slow_app:app") as lab:
        yield lab


@asynccontextmanager
async def stalled(lab: Lab, query: str) -> AsyncIterator[RawPeer]:
    """A subscribed client that has stopped to read."""
    async with upgraded(lab.url, receive_buffer=65_536) as peer:
        subscribed = lab.subscriptions() + 1
        await peer.say(type="connection_init")
        await peer.say(id="1", type="subscribe", payload={"query": query})
        await until_async(lambda: lab.subscriptions() == subscribed, "the subscription to be counted")
        peer.stop_reading()
        yield peer


async def rounds(lab: Lab, orders: list[str], count: int, start: int = 0) -> None:
    """Update each order this many times."""
    for number in range(start, start + count):
        statement = "update orders set note = %s || %s where id = any(%s::bigint[])"
        await asyncio.to_thread(lab.shop.database.execute, statement, f"{number}:", FILLER, orders)


def rowcast(payload: dict[str, Any]) -> dict[str, Any]:
    """The rowcast extensions of an event."""
    told: dict[str, Any] = payload["extensions"]["rowcast"]
    return told


def place(payload: dict[str, Any]) -> bytes:
    """A cursor's bytes: cursors of one history sort in commit order."""
    return base64.urlsafe_b64decode(rowcast(payload)["cursor"] + "==")


def nexts(peer: RawPeer) -> list[dict[str, Any]]:
    """The results so far."""
    return [message["payload"] for message in peer.messages() if message["type"] == "next"]


async def test_a_client_that_stops_reading_is_told_the_latest_of_each_row_and_its_sibling_everything(lab: Lab) -> None:
    async with signed_in(lab.url) as sibling, stalled(lab, LATEST) as slow:
        await sibling.subscribe("1", BARE)
        orders = await asyncio.to_thread(lab.shop.insert_many, 10)
        await rounds(lab, orders, 120)
        await asyncio.to_thread(lab.shop.delete, orders[0])
        await rounds(lab, orders, 120, 120)
        end = await asyncio.to_thread(lab.shop.insert)
        count = 10 + 120 * 10 + 1 + 120 * 9 + 1
        every = [await sibling.next("1", 60) for _ in range(count)]
        assert [rowcast(told).get("coalesced") for told in every] == [None] * count

        slow.read_on()
        last = f'"key":{{"id":"{end}"}}'.encode()
        await until_async(lambda: last in slow.received[-2000:], "the end")
        told = nexts(slow)
        assert len(told) < count
        assert sum(rowcast(each).get("coalesced", 1) for each in told) == count, "each event is accounted for once"
        assert [place(each) for each in told] == sorted({place(each) for each in told}), "in order, each once"
        assert {place(each) for each in told} <= {place(each) for each in every}
        rows: dict[str, str] = {}
        for each in (payload["data"]["orders"] for payload in told):
            if each["transition"] == "LEAVE":
                rows.pop(each["key"]["id"], None)
            else:
                rows[each["key"]["id"]] = (each["row"]["note"] or "").partition(":")[0]
        assert rows == dict.fromkeys(orders[1:], "239") | {end: ""}
        assert [each["data"]["orders"]["transition"] for each in told].count("LEAVE") == 1
        metrics = lab.metrics()
        assert (metrics["slow_clients_total"], metrics["queue_bytes"]) == (0, 0)
        assert metrics["coalesced_total"] == count - len(told)
        assert slow.close_code() is None


async def test_a_field_that_tells_every_event_closes_the_same_client_with_its_cursor(lab: Lab) -> None:
    async with stalled(lab, EACH) as slow:
        orders = await asyncio.to_thread(lab.shop.insert_many, 10)
        await rounds(lab, orders, 150)
        await until_async(lambda: lab.metrics()["slow_clients_total"] == 1, "the client to be found slow")
        slow.read_on()
        assert await slow.hangs_up_within(30)
        assert slow.close_code() in (1013, None), "'try again later', or dropped when not even that could be sent"
        told = nexts(slow)
    assert [rowcast(each).get("coalesced") for each in told] == [None] * len(told)
    notes = [(each["data"]["ordersEach"]["row"]["note"] or "").partition(":")[0] for each in told]
    assert notes[10:] == [str(number // 10) for number in range(len(notes) - 10)], "the delivered notes have no hole"


async def test_more_rows_than_the_bound_holds_close_a_coalescing_client_too(lab: Lab) -> None:
    async with stalled(lab, LATEST):
        for _ in range(12):
            await asyncio.to_thread(lab.shop.insert_many, 100, ACME, FILLER)
        await until_async(lambda: lab.metrics()["slow_clients_total"] == 1, "the client to be found slow")
        await until_async(lambda: lab.metrics()["sessions"] == 0, "the session to be freed")


QUEUE = 64 << 20
SPARE = 16 << 20
"""Less than a third of what the queue held."""


async def test_what_waited_for_an_evicted_client_is_given_back(newest_postgres: Cluster) -> None:
    environment = {"SLOW_QUEUE_BYTES": str(QUEUE)}
    with newest_postgres.database() as database, laboratory(database, "rig.slow_app:app", **environment) as lab:
        await asyncio.to_thread(lab.shop.insert_many, 10)
        before = await resident(lab)
        largest = 0
        for _ in range(2):
            async with stalled(lab, EACH):
                largest = max(largest, await fill(lab))
                assert lab.metrics()["queue_bytes"] == 0
                await until_async(lambda: lab.metrics()["sessions"] == 0, "the session to be freed")
        await until_async(lambda: lab.server.sockets() <= 1, "the sockets to be given back")
        after = await resident(lab)
        print(f"resident: {before >> 20} MiB before, {largest >> 20} full, {after >> 20} after")  # noqa: T201
        assert largest - before > QUEUE - 2 * SPARE, "the queue was full, or this test shows nothing"
        assert after - before < SPARE


async def fill(lab: Lab) -> int:
    """Write until the client is evicted; return the process's memory when the queue was nearly full."""
    evicted, largest = lab.metrics()["slow_clients_total"] + 1, 0
    while lab.metrics()["slow_clients_total"] < evicted:
        await asyncio.to_thread(lab.shop.insert_many, 100, ACME, FILLER)
        queued = lab.metrics()["queue_bytes"]
        assert queued <= QUEUE
        if queued > QUEUE - SPARE:
            largest = max(largest, lab.server.resident_bytes())
    return largest


async def resident(lab: Lab) -> int:
    """Bytes that the server's process holds, after it has returned unused memory."""

    def ask() -> None:
        with urllib.request.urlopen(f"{lab.server.url()}/trim", timeout=10) as answer:  # noqa: S310 - our own server
            answer.read()

    await asyncio.to_thread(ask)
    return lab.server.resident_bytes()
