# ruff: noqa: INP001, T201 - a script that prints
"""What one slow client costs the others: their latency with it and without it, in turns over the same sockets.

    .venv/bin/python benches/slow_client.py [--sockets 1000] [--rate 2] [--seconds 10] [--turns 3]

``--sockets`` clients receive every change. The slow one reads nothing, has fifty operations, so that its queue
is full within seconds, and comes back each time that it is cut off. Writer, server and clients share the machine: the
ratio counts.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from delivery import QUERY, TENANTS, Client, arrived, client
from websockets.asyncio.client import connect

ROOT = Path(__file__).resolve().parents[1]
OPERATIONS = 50
NOTE = "x" * 2000


class SlowClient:
    """It never reads, and always comes back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.lives = 0
        self._task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        while True:
            with suppress(OSError):
                socket = await connect(self._url, subprotocols=["graphql-transport-ws"], compression=None, max_queue=1)
                self.lives += 1
                await socket.send(json.dumps({"type": "connection_init", "payload": {"token": "acme"}}))
                await socket.recv()
                for operation in range(OPERATIONS):
                    subscribe = {"id": str(operation), "type": "subscribe", "payload": {"query": QUERY}}
                    await socket.send(json.dumps(subscribe))
                await socket.wait_closed()

    async def stop(self) -> None:
        """It is gone for good."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def turn(clients: list[Client], database: str, rate: int, seconds: int) -> list[float]:
    """Latencies, in ms, of single-row transactions at an even rate."""
    before = [each.count for each in clients]
    for each in clients:
        each.latencies.clear()
    rows = rate * seconds
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        start = time.perf_counter()
        for row in range(rows):
            await asyncio.sleep(max(0.0, start + row / rate - time.perf_counter()))
            await connection.execute(
                "insert into orders values ((select coalesce(max(id), 0) + 1 from orders), %s, 'open', 12.50, %s, %s)",
                [TENANTS["acme"], NOTE, time.time_ns()],
            )
    await arrived(clients, before[0] + rows)
    if [each.count - count for each, count in zip(clients, before, strict=True)] != [rows] * len(clients):
        raise RuntimeError("a client did not receive every change exactly once")
    return sorted(value for each in clients for value in each.latencies)


def told(what: str, latencies: list[float]) -> None:
    """One line."""
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    print(f"  {what:<22} p50 {p50:6.2f} ms   p99 {p99:7.2f} ms   max {latencies[-1]:7.2f} ms", flush=True)


async def run(address: str, database: str, options: argparse.Namespace) -> None:
    """Without and with, in turns."""
    url = address.replace("http", "ws") + "/graphql"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("truncate orders")
    clients = [await client(url, "acme") for _ in range(options.sockets)]
    print(f"{options.sockets} sockets, each told {options.rate} changes/s; commit -> parsed by the client")
    without: list[float] = []
    beside: list[float] = []
    for _ in range(options.turns):
        latencies = await turn(clients, database, options.rate, options.seconds)
        without += latencies
        told("without a slow client", latencies)
        slow = SlowClient(url)
        latencies = await turn(clients, database, options.rate, options.seconds)
        beside += latencies
        told("with one", latencies)
        print(f"    it was cut off {slow.lives - 1} times")
        await slow.stop()
    told("all turns without", sorted(without))
    told("all turns with", sorted(beside))


def main() -> int:
    """Start the demo, measure, stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
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
