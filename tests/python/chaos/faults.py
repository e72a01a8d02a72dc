"""Faults, by name; which of them comes when, and how hard, follows from the seed.

Every fault ends within seconds and leaves the network whole; what it broke is for the others to mend.
"""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from chaos.administrators import ALTERATIONS, Alteration, alter, drop_slots
from chaos.clients import Client, Ledger
from chaos.clock import Clock
from chaos.processes import Application, server_processes, signal_all, sql
from chaos.world import POLICIES, World
from rig.postgres import Cluster
from rig.proxy import Proxy


@dataclass
class Stage:
    """Everything that can be hurt."""

    cluster: Cluster
    world: World
    application: Application
    clients: list[Client]
    front: Proxy
    """Between the clients and the application."""
    back: Proxy
    """Between the application and PostgreSQL."""
    clocks: dict[str, Clock]
    """Of PostgreSQL and of the application."""
    ledger: Ledger
    chance: random.Random
    server: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever stops, kills or starts PostgreSQL."""
    catalog: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by administrators: without event triggers a policy that changes is in force only when it is polled for."""


Fault = Callable[[Stage], Awaitable[None]]
FAULTS: dict[str, tuple[float, Fault]] = {}
"""By name, with its weight."""


SESSIONS = (
    "from pg_stat_activity where datname = current_database() and application_name <> 'chaos'"
    " and backend_type = 'client backend'"
)


def fault(name: str, weight: float = 1.0) -> Callable[[Fault], Fault]:
    """Marks one."""

    def register(function: Fault) -> Fault:
        FAULTS[name] = (weight, function)
        return function

    return register


def schedule(chance: random.Random, names: list[str] | None = None) -> Iterator[str]:
    """First each once in random order, then by weight for ever."""
    chosen = list(names or FAULTS)
    yield from chance.sample(chosen, len(chosen))
    while True:
        yield chance.choices(chosen, [FAULTS[name][0] for name in chosen])[0]


# --- PostgreSQL ---


@fault("postgres: SIGKILL, restart", 2)
async def _(stage: Stage) -> None:
    async with stage.server:
        await asyncio.to_thread(stage.cluster.kill)
        await asyncio.sleep(stage.chance.uniform(0, 1.5))
        await asyncio.to_thread(stage.cluster.start)


@fault("postgres: fast restart")
async def _(stage: Stage) -> None:
    async with stage.server:
        await asyncio.to_thread(stage.cluster.stop)
        await asyncio.to_thread(stage.cluster.start)


@fault("postgres: SIGSTOP, SIGCONT")
async def _(stage: Stage) -> None:
    async with stage.server, _stopped(server_processes(stage.cluster)):
        await asyncio.sleep(stage.chance.uniform(0.2, 3))


@fault("walsender: SIGSTOP, SIGCONT")
async def _(stage: Stage) -> None:
    async with _stopped(await _walsenders(stage)):
        await asyncio.sleep(stage.chance.uniform(0.5, 4))


@fault("walsender: SIGKILL")
async def _(stage: Stage) -> None:
    # The postmaster takes this for a crash and restarts everything.
    signal_all(await _walsenders(stage), signal.SIGKILL)


@fault("walsender: pg_terminate_backend", 2)
async def _(stage: Stage) -> None:
    await sql(stage.world, "select pg_terminate_backend(active_pid) from pg_replication_slots where active")


@fault("sessions of the application: pg_terminate_backend")
async def _(stage: Stage) -> None:
    await sql(stage.world, f"select pg_terminate_backend(pid) {SESSIONS}")


@fault("sessions of the application: SIGSTOP, SIGCONT")
async def _(stage: Stage) -> None:
    found = await sql(stage.world, f"select pid {SESSIONS}")
    async with _stopped([int(str(pid)) for (pid,) in found]):
        await asyncio.sleep(stage.chance.uniform(0.2, 4))


@fault("slot: dropped")
async def _(stage: Stage) -> None:
    await drop_slots(stage.world)


@fault("outbox: emptied")
async def _(stage: Stage) -> None:
    # Open writers are waited for, and get a place in the checker, before all is gone.
    emptied = (
        "set local lock_timeout = '2s'; lock table tasks, notes, files in access exclusive mode;"
        " select rowcast.close_window(); select rowcast.stop_outbox(); select rowcast.start_outbox()"
    )
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        await sql(stage.world, emptied)


# --- DDL ---


@fault("DDL: add and drop a column")
async def _(stage: Stage) -> None:
    table = stage.chance.choice(("tasks", "notes", "files"))
    for statement in (
        f"alter table {table} add column extra text default 'x'",
        f"alter table {table} drop column extra",
    ):
        await _ddl(stage, statement)
        await asyncio.sleep(stage.chance.uniform(0, 0.5))


@fault("DDL: another row policy")
async def _(stage: Stage) -> None:
    async with stage.catalog:
        known = await sql(stage.world, "select count(*) from chaos.history where op = 'POLICY'")
        version = int(str(known[0][0])) + 1
        stage.ledger.policies = version
        another = f"alter policy own on notes using ({POLICIES[version % 2]})"
        await _ddl(stage, f"insert into chaos.history (tab, op) values ('', 'POLICY'); {another}")


async def _ddl(stage: Stage, statement: str) -> None:
    # It waits for writers only so long; a server that is away may have done it or not, and that is fine.
    with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DuplicateColumn, psycopg.errors.UndefinedColumn):
        await sql(stage.world, statement)


# --- administrators ---


def _administrator(name: str, alteration: Alteration) -> None:
    @fault(name, 0.7)
    async def _(stage: Stage) -> None:
        async with stage.catalog:
            await alter(stage.world, stage.chance, alteration)


for _name, _alteration in ALTERATIONS.items():
    _administrator(_name, _alteration)


# --- the application ---


@fault("application: SIGKILL, restart", 2)
async def _(stage: Stage) -> None:
    stage.application.signal(signal.SIGKILL)


@fault("application: SIGTERM, restart")
async def _(stage: Stage) -> None:
    stage.application.signal(signal.SIGTERM)


@fault("application: SIGSTOP, SIGCONT")
async def _(stage: Stage) -> None:
    stage.application.signal(signal.SIGSTOP)
    await asyncio.sleep(stage.chance.uniform(0.2, 3))
    stage.application.signal(signal.SIGCONT)


# --- the wall clock of one of them ---


def _clock(name: str) -> None:
    @fault(f"{name}'s clock: steps", 0.7)
    async def _(stage: Stage) -> None:
        for _ in range(stage.chance.randint(1, 3)):
            size = 10 ** stage.chance.uniform(0, 5)
            stage.clocks[name].wrong_by(size * stage.chance.choice((-1, 1)))
            await asyncio.sleep(stage.chance.uniform(0.1, 3))
        if stage.chance.random() < 0.5:
            stage.clocks[name].wrong_by(0)


_clock("postgres")
_clock("application")


# --- clients ---


@fault("client: dies without a word", 2)
async def _(stage: Stage) -> None:
    stage.chance.choice(stage.clients).abort()


@fault("client: stops reading", 2)
async def _(stage: Stage) -> None:
    await stage.chance.choice(stage.clients).stall(stage.chance.uniform(1, 9))


# --- the network, on either side of the application ---


def _network(name: str, proxy: Callable[[Stage], Proxy]) -> None:
    @fault(f"{name}: all connections reset")
    async def _(stage: Stage) -> None:
        proxy(stage).cut()

    @fault(f"{name}: torn in the middle of a message")
    async def _(stage: Stage) -> None:
        for link in stage.chance.sample(list(proxy(stage).links), min(2, len(proxy(stage).links))):
            link.tear()

    @fault(f"{name}: half closed")
    async def _(stage: Stage) -> None:
        for link in stage.chance.sample(list(proxy(stage).links), min(2, len(proxy(stage).links))):
            link.half_close(stage.chance)

    @fault(f"{name}: delayed")
    async def _(stage: Stage) -> None:
        proxy(stage).delay = stage.chance.uniform(0.01, 0.2)
        await asyncio.sleep(stage.chance.uniform(0.5, 2))
        proxy(stage).heal()

    @fault(f"{name}: swallowed, then delivered or reset")
    async def _(stage: Stage) -> None:
        proxy(stage).swallow()
        await asyncio.sleep(stage.chance.uniform(0.5, 5))
        if stage.chance.random() < 0.5:
            proxy(stage).cut()
        proxy(stage).heal()


_network("clients' network", lambda stage: stage.front)
_network("database's network", lambda stage: stage.back)


async def inflict(stage: Stage, name: str, counts: Counter[str]) -> None:
    """One fault, counted."""
    counts[name] += 1
    await FAULTS[name][1](stage)


async def _walsenders(stage: Stage) -> list[int]:
    found = await sql(stage.world, "select active_pid from pg_replication_slots where active")
    return [int(str(pid)) for (pid,) in found]


@asynccontextmanager
async def _stopped(pids: list[int]) -> AsyncIterator[None]:
    signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(pids, signal.SIGCONT)
