"""The processes that are hurt: PostgreSQL, and the application, which somebody starts again whenever it has ended."""

import asyncio
import contextlib
import json
import os
import signal
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psycopg

from chaos.world import World
from rig.postgres import Cluster
from rig.proxy import BUFFER, Proxy
from rig.server import Server, serve


class Application:
    """uvicorn with `chaos.app`, behind a proxy, connected to PostgreSQL through another."""

    def __init__(
        self, world: World, database: Proxy, front: Proxy, counts: Counter[str], environment: dict[str, str]
    ) -> None:
        self.server: Server | None = None
        self.outputs: list[str] = []
        self._environment = environment | {
            "ROWCAST_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{database.port}/{world.database.name}",
            "CHAOS_ROLE": world.role,
            "SERVE_SEND_BUFFER": str(BUFFER),
        }
        self._front = front
        self._counts = counts
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and keep it started."""
        await self._launch()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """The end."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        if self.server is not None:
            self.signal(signal.SIGCONT)
            self.outputs.append(self.server.output)
            await asyncio.to_thread(self.server.stop)

    def signal(self, number: signal.Signals) -> None:
        """To the process and whatever it has started."""
        if self.server is not None and self.server.process.poll() is None:
            os.killpg(self.server.process.pid, number)

    def said(self) -> str:
        """What the application at hand has printed."""
        return self.server.output if self.server is not None else ""

    def metrics(self) -> dict[str, int]:
        """The engine's counters; nothing while it does not answer."""
        with suppress(Exception):
            assert self.server is not None
            with urllib.request.urlopen(f"{self.server.url()}/metrics", timeout=3) as answer:  # noqa: S310 - our own server
                counters: dict[str, int] = json.load(answer)
                return counters
        return {}

    async def _launch(self) -> None:
        while True:
            server = self.server = await asyncio.to_thread(serve, "chaos.app:app", self._environment)
            try:
                host, _, port = (await asyncio.to_thread(server.url, "")).removeprefix("://").rpartition(":")
            except AssertionError:
                self._counts["application did not start"] += 1
                self.outputs.append(server.output)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.3)
            else:
                self._front.target = (host, int(port))
                return

    async def _keep(self) -> None:
        """Whoever runs an application restarts it when it has ended, and when it says that it follows no database."""
        silent = 0
        while True:
            await asyncio.sleep(0.25)
            assert self.server is not None
            if self.server.process.poll() is not None:
                self.outputs.append(self.server.output)
                self._counts["application restarted"] += 1
                await self._launch()
                silent = 0
            metrics = await asyncio.to_thread(self.metrics)
            failed = "the replication stream has failed" in self.server.output
            silent = silent + 1 if failed and metrics.get("capture_streaming") == 0 else 0
            if silent >= 4:
                self._counts["application restarted by hand after its stream failed"] += 1
                self.signal(signal.SIGKILL)
                silent = 0


def server_processes(cluster: Cluster) -> list[int]:
    """The postmaster and its children."""
    postmaster = cluster.postmaster()
    children = [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
    return [postmaster, *children]


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """To all that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


async def sql(world: World, statement: str, *, patience: float = 30.0) -> list[tuple[object, ...]]:
    """One statement of the suite's own, as often as it takes while the server is away."""
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await asyncio.to_thread(_once, world, statement)
        except (psycopg.OperationalError, psycopg.errors.InternalError_):
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)


def _once(world: World, statement: str) -> list[tuple[object, ...]]:
    options = "-c lock_timeout=3s -c statement_timeout=10s -c application_name=chaos"
    with contextlib.closing(world.database.connect(connect_timeout=3, options=options)) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
