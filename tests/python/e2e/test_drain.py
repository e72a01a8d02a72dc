"""SIGTERM under each ASGI server, in whichever order it closes: frames are complete and in order; the process ends."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from rig.client import ACME, Socket, signed_in
from rig.lab import Lab
from rig.postgres import Cluster
from rig.raw import upgraded
from rig.server import Server
from rig.shop import Shop
from rig.wait import until, until_async

pytestmark = pytest.mark.timeout(240)

TOLD = "subscription { orders { key { id } row { note } } }"

BOUND = 20.0
"""Seconds from SIGTERM to the end of the process: the servers' own patience, and a slow machine's."""

COMPLAINTS = (
    "Traceback",
    "never retrieved",
    "never awaited",
    "Exception ignored",
    "was destroyed but it is pending",
    "panicked",
)


@dataclass(frozen=True)
class Kind:
    """How to start a server, and the close codes that its clients may get; 1006 is a close without a frame."""

    command: list[str]
    codes: frozenset[int]


SERVERS = {
    "uvicorn": Kind(["uvicorn", "--port", "PORT", "--timeout-graceful-shutdown", "5"], frozenset({1001, 1012})),
    "uvicorn websockets": Kind(
        ["uvicorn", "--port", "PORT", "--ws", "websockets", "--timeout-graceful-shutdown", "5"], frozenset({1001, 1012})
    ),
    "hypercorn": Kind(["hypercorn", "--bind", "127.0.0.1:PORT"], frozenset({1001, 1012, 1006})),
    "granian": Kind(
        ["granian", "--runtime-mode", "st", "--interface", "asgi", "--port", "PORT"], frozenset({1001, 1012, 1006})
    ),
}


def command(kind: Kind, port: int) -> list[str]:
    """The server's own command line."""
    return [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in kind.command), "rig.ending_app:app"]


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """One server after the other."""
    return SERVERS[request.param]


@pytest.fixture
def lab(newest_postgres: Cluster, kind: Kind) -> Iterator[Lab]:
    """The lab under that server."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    with newest_postgres.database() as database:
        shop = Shop(database).open()
        environment = {"ROWCAST_DATABASE_URL": database.url, "LAB_PORT": str(port)}
        server = Server(command(kind, port), environment)
        try:
            server.line("ready ")
            until(lambda: accepts(port), "the server to listen")
            yield Lab(server, shop)
        finally:
            server.stop()
            print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure


def accepts(port: int) -> bool:
    """Whether a process listens on the port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


async def ended(lab: Lab) -> float:
    """Seconds from SIGTERM until the process ends. Its output has no line that an operator must look into."""
    start = time.monotonic()
    lab.server.process.send_signal(signal.SIGTERM)
    await until_async(lambda: lab.server.process.poll() is not None, "the end of the server", BOUND)
    took = time.monotonic() - start
    lab.server.stop()
    assert "\nstopped\n" in f"\n{lab.server.output}", "the manager was not stopped"
    assert not [line for line in COMPLAINTS if line in lab.server.output]
    with psycopg.connect(lab.shop.database.cluster.url("postgres"), autocommit=True) as connection:
        query = "select count(*) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
        until(lambda: connection.execute(query, [lab.shop.database.name]).fetchone() == (0,), "its sessions to end")
    return took


async def read(client: Socket) -> None:
    """Everything until the close."""
    with suppress(ConnectionClosed):
        while True:
            await client.receive(60)


async def test_a_busy_server_that_is_told_to_stop_loses_nothing_before_what_it_told_last(lab: Lab, kind: Kind) -> None:
    orders: list[str] = []
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            orders.extend(await asyncio.to_thread(lab.shop.insert_many, 20, ACME, "x" * 500))

    async with signed_in(lab.url) as one, signed_in(lab.url) as two, signed_in(lab.url) as three:
        clients = (one, two, three)
        for client in clients:
            await client.subscribe("1", TOLD)
        readers = [asyncio.create_task(read(client)) for client in clients]
        writer = asyncio.create_task(write())
        await until_async(lambda: all(len(client.nexts("1")) > 200 for client in clients), "results")
        await ended(lab)
        stop.set()
        await asyncio.gather(writer, *readers)
        for client in clients:
            told = [payload["data"]["orders"]["key"]["id"] for payload in client.nexts("1")]
            assert told == orders[: len(told)], "the delivered orders have no hole"
            assert client.connection.close_code in kind.codes
            kinds = [message["type"] for message in client.of("1")]
            assert set(kinds) == {"next"}, "a complete or an error would keep stock clients from coming back"


async def test_idle_sockets_do_not_keep_a_server_from_stopping(lab: Lab, kind: Kind) -> None:
    async with signed_in(lab.url) as subscribed, signed_in(lab.url) as idle:
        await subscribed.subscribe("1", TOLD)
        readers = [asyncio.create_task(read(client)) for client in (subscribed, idle)]
        await ended(lab)
        await asyncio.gather(*readers)
        assert {client.connection.close_code for client in (subscribed, idle)} <= kind.codes


async def test_a_client_that_reads_nothing_does_not_keep_a_server_from_stopping(lab: Lab) -> None:
    async with upgraded(lab.url, receive_buffer=65_536) as peer:
        await peer.say(type="connection_init", payload={"token": "acme"})
        await peer.say(id="1", type="subscribe", payload={"query": TOLD})
        await until_async(lambda: lab.subscriptions() == 1, "the subscription to be counted")
        peer.stop_reading()
        for _ in range(6):
            await asyncio.to_thread(lab.shop.insert_many, 100, ACME, "x" * 10_000)
        await ended(lab)
