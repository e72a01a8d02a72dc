"""Peers that vanish or never read: the server frees their TCP connection."""

import asyncio
from collections.abc import Iterator

import pytest

from rig.cable import cable
from rig.client import signed_in
from rig.lab import Lab, laboratory
from rig.postgres import Cluster
from rig.raw import upgraded
from rig.shop import ORDERS, ids
from rig.wait import until_async

pytestmark = pytest.mark.timeout(120)

GONE_WITHIN = 9.0
"""Seconds: five of ours after the close frame, and less than the ten after which uvicorn closes by itself."""


@pytest.fixture
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """A server that pings each second."""
    with newest_postgres.database() as database, laboratory(database, LAB_PING_S="1") as lab:
        yield lab


async def test_a_peer_that_answers_neither_ping_nor_close_loses_its_connection(lab: Lab) -> None:
    async with upgraded(lab.url) as peer:
        await peer.say(type="connection_init", payload={"token": "acme"})
        await peer.say(id="1", type="subscribe", payload={"query": ORDERS})
        await peer.read_until_close(3008)
        assert await peer.hangs_up_within(GONE_WITHIN), "the socket of a dead peer is kept"
    await until_async(lambda: lab.metrics()["sessions"] == 0, "the session to be freed")


async def test_a_peer_that_reads_nothing_loses_its_connection_with_everything_that_waits_for_it(lab: Lab) -> None:
    """Its window is shut, so not even the close frame leaves, and the system would keep the socket for minutes."""
    async with upgraded(lab.url, receive_buffer=4096) as peer:
        await peer.say(type="connection_init", payload={"token": "acme"})
        await peer.say(id="1", type="subscribe", payload={"query": "subscription { orders { row { note } } }"})
        await until_async(lambda: lab.subscriptions() == 1, "the subscription to be counted")
        peer.reader.cancel()
        for _ in range(30):
            await asyncio.to_thread(lab.shop.insert_many, 100, note="x" * 10_000)
        await until_async(lambda: lab.metrics()["sessions"] == 0, "the session to be freed", 30)
        await until_async(lambda: lab.server.sockets() == 0, "the socket to be given back", 15)


async def test_a_cut_cable_is_noticed_although_there_is_nothing_to_send(lab: Lab) -> None:
    """A half-open socket: no FIN, no RST, no event. Only the ping detects it, and a sibling stays open."""
    async with signed_in(lab.url) as sibling, cable(lab.url) as (cut, url), signed_in(url) as lost:
        await sibling.subscribe("1", ORDERS)
        await lost.subscribe("1", ORDERS)
        own = asyncio.create_task(sibling.receive_type("next"))
        assert lab.metrics()["sessions"] == 2
        cut.cut()
        await until_async(lambda: lab.metrics()["sessions"] == 1, "the lost session to be freed", GONE_WITHIN)
        assert lab.subscriptions() == 1
        await until_async(lambda: lab.server.sockets() <= 2, "the lost socket to be given back", GONE_WITHIN)
        order = lab.shop.insert()
        assert ids([(await own)["payload"]]) == [order]
        assert lost.connection.close_code is None, "the client got no close frame"
