"""Every mount carries the same conversation, and several managers run in one process independently."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rig.client import ACME, GLOBEX, raw_socket, signed_in
from rig.lab import Lab
from rig.postgres import Cluster
from rig.server import Server
from rig.shop import ORDERS, Shop, ids

pytestmark = pytest.mark.timeout(120)

MOUNTS = {
    "fastapi": ["-m", "rig.serve", "rig.lab_app:app"],
    "starlette": ["-m", "rig.serve", "rig.mounts:starlette"],
    "asgi": ["-m", "rig.serve", "rig.mounts:asgi"],
    "custom server": ["-m", "rig.mounts"],
}


@pytest.fixture(scope="module", params=MOUNTS.values(), ids=MOUNTS.keys())
def lab(request: pytest.FixtureRequest, newest_postgres: Cluster) -> Iterator[Lab]:
    """The lab on each mount in turn."""
    with newest_postgres.database() as database:
        shop = Shop(database).open()
        with process(request.param, ROWCAST_DATABASE_URL=database.url) as server:
            yield Lab(server, shop)


async def test_each_mount_tells_each_tenant_its_own_rows(lab: Lab) -> None:
    async with signed_in(lab.url) as acme, signed_in(lab.url, "globex") as globex:
        await acme.subscribe("1", ORDERS)
        await globex.subscribe("1", ORDERS)
        hers, his = lab.shop.insert_many(200, ACME), lab.shop.insert_many(200, GLOBEX)
        assert ids([await acme.next("1") for _ in hers]) == hers
        assert ids([await globex.next("1") for _ in his]) == his


async def test_each_mount_keeps_to_the_subprotocol(lab: Lab) -> None:
    async with raw_socket(lab.url, ("graphql-ws", "graphql-transport-ws")) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"
    async with raw_socket(lab.url, None) as socket:
        assert (await socket.closed())[0] == 4406


@pytest.mark.parametrize(("token", "code"), [("mallory", 4403), ("raise", 4500), ("expires:0.5", 4403)])
async def test_each_mount_closes_with_the_codes_that_clients_know(lab: Lab, token: str, code: int) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send({"type": "connection_init", "payload": {"token": token}})
        assert (await socket.closed())[0] == code


@pytest.mark.parametrize("frame", [b"{}", "[]"], ids=["binary", "no message"])
async def test_each_mount_closes_4400_on_what_is_no_message(lab: Lab, frame: bytes | str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send(frame)
        assert (await socket.closed())[0] == 4400


async def test_each_mount_carries_large_messages_whole(lab: Lab) -> None:
    note = "ä🎉" * 40_000
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { orders { row { note } } }")
        lab.shop.insert(note=note)
        assert (await socket.next("1"))["data"] == {"orders": {"row": {"note": note}}}


async def test_managers_of_one_process_do_not_meet(newest_postgres: Cluster) -> None:
    with newest_postgres.database() as one, newest_postgres.database() as two:
        first, other = Shop(one).open(), Shop(two).open()
        with process(["-m", "rig.serve", "rig.two_managers:app"], FIRST_URL=one.url, OTHER_URL=two.url) as server:
            address = server.url("ws")
            async with (
                signed_in(f"{address}/first") as of_first,
                signed_in(f"{address}/second") as of_second,
                signed_in(f"{address}/other") as of_other,
            ):
                for socket in (of_first, of_second, of_other):
                    await socket.subscribe("1", "subscription { orders { operation key { id } } }")
                mine, theirs = first.insert_many(50), other.insert_many(20)
                assert ids([await of_first.next("1") for _ in mine]) == mine
                assert ids([await of_second.next("1") for _ in mine]) == mine
                assert ids([await of_other.next("1") for _ in theirs]) == theirs


@contextmanager
def process(arguments: list[str], **environment: str) -> Iterator[Server]:
    """A Python process that is ready."""
    server = Server([sys.executable, *arguments], environment)
    try:
        server.line("ready ")
        yield server
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure
