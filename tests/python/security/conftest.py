"""One server for all hostile clients of a module: the last client must find it as healthy as the first."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from rig.client import Socket, signed_in
from rig.lab import Lab, laboratory
from rig.postgres import Cluster
from rig.shop import ORDERS, ids
from rig.wait import until_async

SERVED_WITHIN = 5.0
"""Seconds for another client's event while the attack keeps the machine busy. Idle, it takes milliseconds."""

MEMORY = 64 << 20
"""Bytes that one attack may leave behind in the process: what allocators keep, not what attackers send."""


@pytest.fixture(scope="module")
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """A server of this module's own."""
    with newest_postgres.database() as database, laboratory(database) as lab:
        yield lab


@pytest.fixture
def undisturbed(lab: Lab) -> Callable[[], AbstractAsyncContextManager[None]]:
    """``async with undisturbed():`` costs a well-behaved client no event, and the server no memory."""

    @asynccontextmanager
    async def watched() -> AsyncIterator[None]:
        before = lab.server.resident_bytes()
        async with signed_in(lab.url) as bystander:
            await bystander.subscribe("1", ORDERS)
            listening = asyncio.create_task(listen(bystander))
            yield
            assert not listening.done(), f"a well-behaved client was closed: {bystander.connection.close_code}"
            order = await asyncio.to_thread(lab.shop.insert)
            await until_async(lambda: order in ids(bystander.nexts("1")), "the bystander's event", SERVED_WITHIN)
            listening.cancel()
        assert lab.server.resident_bytes() < before + MEMORY, "the attack has left something behind"

    return watched


async def listen(socket: Socket) -> None:
    """Keep received frames and answer pings, as clients do."""
    while True:
        await socket.receive(3600)
