# ruff: noqa: INP001, T201 - a script that prints
"""Commit to client, through everything: PostgreSQL, the engine, uvicorn and real sockets on loopback.

    .venv/bin/python benches/delivery.py [--sockets 100] [--rows 10000] [--rate 1000] [--seconds 5]

Starts the demo without its writer, subscribes ``--sockets`` clients (half of them each tenant), and prints two things:
the time from just before an INSERT's commit until a client of its tenant has parsed the frame, at ``--rate``
transactions a second; and how many frames a second arrive when ``--rows`` rows are committed in one go. Writer, server
and clients share the machine, and the clients are Python: read the figures as a lower bound.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[1]
TENANTS = {"acme": "1" * 8 + "-1111-1111-1111-" + "1" * 12, "globex": "2" * 8 + "-2222-2222-2222-" + "2" * 12}
QUERY = "subscription { orders { row { id tenantId status total note sentAt } } }"


class Client:
    """A socket that counts the events it received, and when."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.count = 0
        self.latencies: list[float] = []
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self.socket:
            now = time.time_ns()
            message = json.loads(frame)
            if message["type"] == "ping":
                await self.socket.send('{"type":"pong"}')
            elif message["type"] == "next":
                self.count += 1
                sent_at = int(message["payload"]["data"]["orders"]["row"]["sentAt"])
                if sent_at:
                    self.latencies.append((now - sent_at) / 1e6)


async def client(url: str, token: str) -> Client:
    """A subscribed client; the pong says that the subscription is in force."""
    socket = await connect(url, subprotocols=["graphql-transport-ws"], compression=None, max_queue=None)
    for message in (
        {"type": "connection_init", "payload": {"token": token}},
        {"id": "1", "type": "subscribe", "payload": {"query": QUERY}},
        {"type": "ping"},
    ):
        await socket.send(json.dumps(message))
    while json.loads(await socket.recv())["type"] != "pong":
        pass
    return Client(socket)


async def paced(clients: list[Client], database: str, rate: int, seconds: int) -> None:
    """Single-row transactions at an even rate."""
    rows = rate * seconds
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        start = time.perf_counter()
        for row in range(rows):
            await asyncio.sleep(max(0.0, start + row / rate - time.perf_counter()))
            await connection.execute(
                "insert into orders values (%s, %s, 'open', 12.50, 'a note', %s)",
                [row, TENANTS["acme" if row % 2 else "globex"], time.time_ns()],
            )
    await arrived(clients, rows // 2)
    print(f"paced: {rows} transactions at {rate}/s to {len(clients)} sockets, half of them each")
    told = sorted(value for each in clients for value in each.latencies)
    p50, p99 = statistics.median(told), told[int(len(told) * 0.99)]
    print(f"  before commit -> parsed by a client: p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {told[-1]:.2f} ms")


async def burst(clients: list[Client], database: str, rows: int) -> None:
    """One transaction of many rows."""
    before = clients[0].count
    start = time.perf_counter()
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(
            "insert into orders select 1000000 + n, case when n %% 2 = 1 then %s::uuid else %s::uuid end, 'open',"
            " 12.50, 'a note', 0 from generate_series(1, %s) n",
            [*TENANTS.values(), rows],
        )
    await arrived(clients, before + rows // 2)
    took = time.perf_counter() - start
    frames = len(clients) * rows // 2
    print(f"burst: {rows} rows in one transaction, {frames} frames in {took:.2f} s: {frames / took:,.0f} frames/s")


async def arrived(clients: list[Client], count: int) -> None:
    """Wait until every client has received ``count`` rows."""
    while any(each.count < count for each in clients):
        for each in clients:
            if each.task.done():
                each.task.result()
                raise ConnectionError(f"a client was closed: {each.socket.close_code} {each.socket.close_reason}")
        await asyncio.sleep(0.01)


async def run(address: str, database: str, options: argparse.Namespace) -> None:
    """Both measurements over the same sockets."""
    url = address.replace("http", "ws") + "/graphql"
    tokens = list(TENANTS)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("truncate orders")
    clients = [await client(url, tokens[number % 2]) for number in range(options.sockets)]
    await paced(clients, database, options.rate, options.seconds)
    await burst(clients, database, options.rows)
    await asyncio.gather(*(each.socket.close() for each in clients))


def main() -> int:
    """Start the demo, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    environment = {**os.environ, "PORT": "0", "DEMO_WRITER": "off"}
    command = [sys.executable, str(ROOT / "examples/demo/run.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        try:
            found = dict(line.split(maxsplit=1) for line in (demo.stdout.readline(), demo.stdout.readline()))
            asyncio.run(run(found["ready"].strip(), found["postgres"].strip(), options))
        finally:
            demo.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
