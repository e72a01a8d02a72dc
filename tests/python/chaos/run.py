"""One run: open the world, write, listen, hurt, make peace, and compare what was heard with what happened.

    python -m chaos.run                       # a random seed, CHAOS_SECONDS (60) of faults, PostgreSQL CHAOS_PG (15)
    CHAOS_SEED=7 CHAOS_ONLY=slot python -m chaos.run    # one seed; only faults whose name matches this

The schedule of faults and every writer's intentions follow from the seed; what the machine makes of them does not.
"""

import asyncio
import contextlib
import itertools
import os
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import faults
from chaos.checker import WRONGS, Transcript, Verdict, check
from chaos.clients import Client, Ledger
from chaos.clock import Clock
from chaos.history import History, View, read
from chaos.listeners import Listener
from chaos.processes import Application, sql
from chaos.world import TABLES, TENANTS, World
from chaos.writers import Writer, settle_prepared
from rig.postgres import Cluster, bindir, running
from rig.proxy import BUFFER, Proxy
from rig.server import CAPTURE
from rig.wait import until_async

SETTLE_S = 90.0
"""Seconds that everything has to become whole again, once nothing is hurt any more."""


@dataclass
class Plan:
    """The parameters of a run."""

    seed: int
    seconds: float = 60.0
    clients: int = 6
    writers: int = 3
    rate: float = 25.0
    """Transactions a second of each writer."""
    pause: float = 1.0
    """Seconds between two faults, on average."""
    only: list[str] | None = None
    together: float = 0.25
    """How often two faults come at once."""

    def window(self) -> dict[str, str]:
        """How much the application keeps for those who come back: much or little."""
        chance = random.Random(f"{self.seed}/window")
        return {
            "CHAOS_WINDOW_BYTES": str(chance.choice((1 << 16, 1 << 20, 1 << 24))),
            "CHAOS_WINDOW_S": str(chance.choice((5, 300, 300))),
        }


@dataclass
class Report:
    """What came of it."""

    plan: Plan
    history: History
    transcripts: list[Transcript]
    verdict: Verdict
    faults: Counter[str]
    ledger: Ledger
    writes: Counter[str]
    seconds: float
    unsettled: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """No client lost, repeated or saw anything, and every process is well."""
        return self.verdict.clean and not self.unsettled

    def __str__(self) -> str:
        counts = self.verdict.counts
        figures = {
            "seed": self.plan.seed,
            "seconds": round(self.seconds),
            "window": " B, ".join(self.plan.window().values()) + " s",
            "faults injected": sum(self.faults.values()),
            "row changes committed": len(self.history.changes),
            "events checked": counts["checked"],
            "segments resumed": counts["resumed"],
            "segments begun afresh": counts["fresh"],
            "events given up openly": counts["given up"],
            "events missed before a GAP": counts["missed"],
        } | {wrong: counts[wrong] for wrong in WRONGS}
        lines = [f"  {name:32} {value}" for name, value in figures.items()]
        for title, counter in (("faults", self.faults), ("ends", self.ledger.counts), ("writes", self.writes)):
            lines += [f"{title}:", *(f"  {count:6} {name}" for name, count in sorted(counter.items()))]
        lines += [f"never well again: {name}" for name in self.unsettled]
        lines += [f"{wrong}" for wrong in self.verdict.wrongs[:40]]
        return "\n".join(["chaos:", *lines])


async def run(cluster: Cluster, plan: Plan) -> Report:
    """A whole run on a running cluster, in a database of its own."""
    with cluster.database() as database, contextlib.ExitStack() as stack:
        clocks = {"postgres": Clock(), "application": Clock()}
        for clock in clocks.values():
            stack.callback(clock.close)
        stack.callback(_give_clock, cluster, {})
        await asyncio.to_thread(_give_clock, cluster, clocks["postgres"].environment)
        world = World(database, f"chaos_{uuid4().hex[:12]}").open()
        stack.callback(world.close)
        front, back = Proxy(buffer=BUFFER), Proxy(("127.0.0.1", cluster.port))
        ledger = Ledger()
        environment = plan.window() | clocks["application"].environment
        application = Application(world, back, front, ledger.counts, environment)
        try:
            await application.start()
            if CAPTURE == "outbox":
                await asyncio.to_thread(world.note_windows)
            report = await Run(plan, cluster, world, application, front, back, clocks, ledger).run()
        except BaseException:
            print(f"seed {plan.seed}, so far: {dict(ledger.counts)}\n{application.said()[-4000:]}")
            raise
        finally:
            await application.stop()
            await front.close()
            await back.close()
        report.outputs = application.outputs
        return report


def _give_clock(cluster: Cluster, environment: dict[str, str]) -> None:
    cluster.stop()
    cluster.environment = environment
    cluster.start()


class Run:
    """The course of one."""

    def __init__(
        self,
        plan: Plan,
        cluster: Cluster,
        world: World,
        application: Application,
        front: Proxy,
        back: Proxy,
        clocks: dict[str, Clock],
        ledger: Ledger,
    ) -> None:
        self._plan = plan
        self._world = world
        self._front = front
        self._ledger = ledger
        self._faults: Counter[str] = Counter()
        self._clients = [self._client(number) for number in range(plan.clients)]
        self._writers = [Writer(world.database, plan.seed, number, plan.rate) for number in range(1, plan.writers + 1)]
        chance = random.Random(f"{plan.seed}/faults")
        self._stage = faults.Stage(cluster, world, application, self._clients, front, back, clocks, ledger, chance)

    async def run(self) -> Report:
        """Everything, in order."""
        began = time.monotonic()
        listening = [asyncio.create_task(client.run(self._url)) for client in self._clients]
        for writer in self._writers:
            writer.start()
        try:
            await until_async(self._all_heard_something, "everybody to hear of something", 30)
            await self._hurt()
            unsettled = await self._make_peace()
            for task in listening:
                assert not task.done(), task.exception()
        finally:
            for writer in self._writers:
                writer.stop()
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        return await asyncio.to_thread(self._report, time.monotonic() - began, unsettled)

    async def _hurt(self) -> None:
        deadline = time.monotonic() + self._plan.seconds
        names = faults.schedule(self._stage.chance, self._possible())
        while time.monotonic() < deadline:
            count = 1 + (self._stage.chance.random() < self._plan.together)
            chosen = {next(names) for _ in range(count)}
            await asyncio.gather(*(faults.inflict(self._stage, name, self._faults) for name in sorted(chosen)))
            await asyncio.sleep(self._stage.chance.uniform(0, 2) * self._plan.pause)

    def _possible(self) -> list[str]:
        """Without a C compiler clocks cannot be stepped, and what is not there cannot be hurt."""
        absent = ("walsender", "slot", "publication") if CAPTURE == "outbox" else ("outbox", "triggers")
        names = [name for name in self._plan.only or faults.FAULTS if not name.startswith(absent)]
        steps = all(clock.can_be_wrong for clock in self._stage.clocks.values())
        return [name for name in names if steps or "clock" not in name]

    async def _make_peace(self) -> list[str]:
        """Wait until every process is well, and send each client a last event; the clients that did not get it."""
        for writer in self._writers:
            writer.stop()
        for writer in self._writers:
            await asyncio.to_thread(writer.join, 60)
        await asyncio.to_thread(settle_prepared, self._world.database)
        deadline = time.monotonic() + SETTLE_S
        for number in itertools.count():
            last = await self._last_word(number)
            with contextlib.suppress(AssertionError):
                # A client that begins afresh behind the last word waits for another one.
                await until_async(partial(self._settled, last), "the last word", 5)
                return []
            if time.monotonic() > deadline:
                return self._unsettled(last)
        raise AssertionError

    async def _last_word(self, number: int) -> str:
        """A row for everybody in each table, and what it says."""
        body = f"last word {number}"
        for table in TABLES:
            rows = ", ".join(
                f"({number * len(TENANTS) + place}, '{owner}', 'open', nextval('chaos.rev'), '{body}')"
                for place, owner in enumerate(TENANTS)
            )
            await sql(self._world, f"insert into {table} values {rows} on conflict do nothing")
        return body

    def _settled(self, last: str) -> bool:
        return not self._unsettled(last)

    def _unsettled(self, last: str) -> list[str]:
        operations = (operation for client in self._clients for operation in client.operations)
        return [operation.id for operation in operations if operation.body != last]

    def _report(self, seconds: float, unsettled: list[str]) -> Report:
        history = read(self._world.database)
        transcripts = [operation.transcript for client in self._clients for operation in client.operations]
        writes = sum((writer.done for writer in self._writers), Counter[str]())
        verdict = check(history, transcripts)
        return Report(self._plan, history, transcripts, verdict, self._faults, self._ledger, writes, seconds, unsettled)

    def _client(self, number: int) -> Client:
        owner = TENANTS[number % len(TENANTS)]
        states = None if number < len(TENANTS) else ("open", "done", "secret")
        views = [View(owner, table, states) for table in TABLES]
        chance = random.Random(f"{self._plan.seed}/client/{number}")
        # A third has event streams, some of each kind of view.
        kind = Listener if number % 4 >= 2 else Client
        return kind(f"{owner}-{number}", views, chance, self._ledger, self._position)

    def _all_heard_something(self) -> bool:
        return all(operation.transcript.events for client in self._clients for operation in client.operations)

    def _url(self) -> str:
        return f"ws://127.0.0.1:{self._front.port}"

    async def _position(self) -> int:
        found = await sql(self._world, "select pg_current_wal_insert_lsn() - '0/0'", patience=60)
        return int(str(found[0][0]))


def main() -> int:
    """By hand; 1 when something was wrong."""
    environment = os.environ
    seed = int(environment.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 31))
    pattern = environment.get("CHAOS_ONLY", "")
    plan = Plan(
        seed,
        float(environment.get("CHAOS_SECONDS", "60")),
        int(environment.get("CHAOS_CLIENTS", "6")),
        int(environment.get("CHAOS_WRITERS", "3")),
        float(environment.get("CHAOS_RATE", "25")),
        float(environment.get("CHAOS_PAUSE", "1")),
        [name for name in faults.FAULTS if re.search(pattern, name)],
        float(environment.get("CHAOS_TOGETHER", "0.25")),
    )
    major = int(environment.get("CHAOS_PG", "15"))
    binaries = bindir(major)
    if binaries is None:
        print(f"PostgreSQL {major} is not installed (PG_BINDIR_{major} may name its folder)")
        return 2
    print(f"chaos: CHAOS_SEED={seed}, PostgreSQL {major}, {plan.seconds:.0f} s", flush=True)
    with running(major, binaries) as cluster:
        report = asyncio.run(run(cluster, plan))
    print(report)
    if folder := environment.get("CHAOS_LOGS"):
        for number, output in enumerate(report.outputs):
            (Path(folder) / f"{plan.seed}-application-{number}.log").write_text(output)
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
