"""Every example does what its first lines say: it runs, a subscriber sees an event, and it stops cleanly."""

import asyncio
import json
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from rig.postgres import Cluster, Database, free_port
from rig.server import Server
from rig.wait import until

pytestmark = pytest.mark.timeout(180)

EXAMPLES = Path(__file__).parents[3] / "examples"
Start = Callable[..., Server]


@pytest.fixture
def database(newest_postgres: Cluster) -> Iterator[Database]:
    with newest_postgres.database() as database:
        yield database


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that PostgreSQL's user may enter, as on a developer's machine."""
    folder = Path(tempfile.mkdtemp(prefix="rowcast-example-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """``start(*command, database_url)``: an example in a process of its own and an empty folder."""
    servers = []

    def start(*command: str, url: str | None = None) -> Server:
        environment = {} if url is None else {"ROWCAST_DATABASE_URL": url}
        servers.append(Server([sys.executable, *command], environment, cwd=folder))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure


def on_uvicorn(module: str, port: int, *options: str) -> list[str]:
    return ["-m", "uvicorn", f"{module}:app", "--app-dir", str(EXAMPLES), "--port", str(port), *options]


def serving(server: Server, port: int) -> None:
    def answers() -> bool:
        assert server.process.poll() is None, server.output
        try:
            return httpx.get(f"http://127.0.0.1:{port}/graphql?query={{__typename}}").status_code in (200, 403)
        except httpx.TransportError:
            return False

    until(answers, "the example to answer", patience=120)


@asynccontextmanager
async def subscribed(url: str, query: str, **payload: str) -> AsyncIterator[ClientConnection]:
    """A socket with one live subscription."""
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert await receive(socket) == {"type": "connection_ack"}
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
        await socket.send(json.dumps({"type": "ping"}))
        while (await receive(socket))["type"] != "pong":
            pass
        yield socket


async def receive(socket: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 15))
    return frame


async def told_goodbye(socket: ClientConnection) -> bool:
    try:
        while True:
            await receive(socket)
    except ConnectionClosed:
        return socket.close_code in (1001, 1012)


def embedded_is_stopped(folder: Path) -> bool:
    return (folder / ".rowcast" / "url").exists() and not (folder / ".rowcast" / "postgres" / "postmaster.pid").exists()


def is_clean(server: Server, code: int) -> bool:
    return code in (0, -signal.SIGTERM, -signal.SIGINT) and "Traceback" not in server.output


@pytest.mark.parametrize("where", ["given", "embedded"])
async def test_fastapi_app_tells_a_tenant_of_its_new_orders(
    start: Start, database: Database, folder: Path, where: str
) -> None:
    port = free_port()
    command = on_uvicorn("fastapi_app", port, "--ws", "websockets-sansio", "--ws-per-message-deflate", "False")
    server = start(*command, url=database.url if where == "given" else None)
    serving(server, port)
    url = f"ws://127.0.0.1:{port}/graphql"
    async with (
        subscribed(url, "subscription { orders { id note total } }", token="acme") as acme,
        subscribed(url, "subscription { orders { note } }", token="globex") as globex,
    ):
        for tenant, note in (("acme", "hello"), ("globex", "theirs")):
            placed = f"http://127.0.0.1:{port}/orders?tenant={tenant}&note={note}"
            assert (await asyncio.to_thread(httpx.post, placed, timeout=30)).status_code == 200
        assert (await receive(acme))["payload"]["data"] == {"orders": {"id": "1", "note": "HELLO", "total": "0.00"}}
        assert (await receive(globex))["payload"]["data"] == {"orders": {"note": "THEIRS"}}
        server.process.send_signal(signal.SIGTERM)
        assert await told_goodbye(acme)
        assert await told_goodbye(globex)
    assert is_clean(server, server.stop())
    if where == "given":
        assert database.execute("select count(*) from pg_replication_slots where active") == [(0,)]
    else:
        assert embedded_is_stopped(folder)


async def test_fastapi_app_refuses_a_token_that_it_does_not_know(start: Start, database: Database) -> None:
    port = free_port()
    server = start(*on_uvicorn("fastapi_app", port), url=database.url)
    serving(server, port)
    url = f"ws://127.0.0.1:{port}/graphql"
    async with connect(url, subprotocols=[Subprotocol("graphql-transport-ws")], proxy=None) as socket:
        await socket.send(json.dumps({"type": "connection_init", "payload": {"token": "nobody"}}))
        with pytest.raises(ConnectionClosed):
            await receive(socket)
        assert (socket.close_code, socket.close_reason) == (4403, "Forbidden")
    assert is_clean(server, server.stop())


async def test_starlette_app_tells_everybody_of_an_alert(start: Start) -> None:
    port = free_port()
    server = start(*on_uvicorn("starlette_app", port))
    serving(server, port)
    url = f"ws://127.0.0.1:{port}/graphql"
    async with subscribed(url, "subscription { alerts { payload cursor } }") as socket:
        answer = await asyncio.to_thread(httpx.post, f"http://127.0.0.1:{port}/alerts", json={"text": "hello"})
        assert answer.json() == {"published": True}
        assert (await receive(socket))["payload"]["data"]["alerts"]["payload"] == {"text": "hello"}
        server.process.send_signal(signal.SIGTERM)
        assert await told_goodbye(socket)
    assert is_clean(server, server.stop())


async def test_custom_server_ticks_until_ctrl_c(start: Start) -> None:
    server = start(str(EXAMPLES / "custom_server.py"), str(free_port()))
    url = server.line("subscribe at ")
    async with subscribed(url, "subscription { ticks { payload cursor } }") as socket:
        first, second = [(await receive(socket))["payload"]["data"]["ticks"]["payload"]["number"] for _ in range(2)]
        assert second == first + 1
        server.process.send_signal(signal.SIGINT)
        assert await told_goodbye(socket)
    assert server.process.wait(30) == 0
    assert is_clean(server, server.stop())


@pytest.mark.parametrize("where", ["given", "embedded"])
def test_sql_publish_shows_what_was_committed_and_ends(
    start: Start, database: Database, folder: Path, where: str
) -> None:
    server = start(str(EXAMPLES / "sql_publish.py"), url=database.url if where == "given" else None)
    assert server.process.wait(120) == 0
    server.stop()
    assert "{'data': {'alerts': {'text': 'hello'}}" in server.output
    assert "never seen" not in server.output
    assert "Traceback" not in server.output
    if where == "given":
        assert database.execute("select count(*) from pg_replication_slots where active") == [(0,)]
    else:
        assert embedded_is_stopped(folder)


ADVICE = re.compile("no database_url was given|the engine connects as a superuser")
"""Begins the warnings that an example started like this must have."""

ROW_POLICIES = """\
ann ENTER 1 {'title': 'plan'}
ann STAY 1 {'title': 'great plan'}
ann LEAVE 1 None
bob ENTER 2 {'title': 'budget'}
bob ENTER 1 {'title': 'great plan'}
ann ENTER 3 {'title': 'news'}
bob ENTER 3 {'title': 'news'}
"""


@pytest.mark.parametrize("where", ["given", "embedded"])
def test_row_policies_shows_each_user_what_the_policy_does(
    start: Start, database: Database, folder: Path, where: str
) -> None:
    for _ in range(2):
        server = start(str(EXAMPLES / "row_policies.py"), url=database.url if where == "given" else None)
        assert server.process.wait(120) == 0
        server.stop()
        assert [line for line in server.output.splitlines() if not ADVICE.match(line)] == ROW_POLICIES.splitlines()
    if where == "given":
        assert database.execute("select count(*) from pg_replication_slots where active") == [(0,)]
        database.execute("drop owned by reader; drop role reader")
    else:
        assert embedded_is_stopped(folder)
