# ruff: noqa: INP001, S101, T201 - a script that prints
"""What capturing costs those who write: transactions a second of eight writers, without capture and with either kind.

    .venv/bin/python benches/write_cost.py [--seconds 5] [--passes 3] [--writers 8]

Each pass measures every way once, one after the other, so that what else the machine does meets all of them; the ratios
are to the plain table of the same pass, and medians are printed. An engine reads what is captured, in a process of its
own on the same cores. Needs ``pgbench`` (Debian: postgresql-client), and PostgreSQL as the tests do.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "python"))

from rig.postgres import Cluster, Database, bindir, running

TABLE = """
create table {name} (
    id bigserial primary key, tenant_id text not null, status text not null, total numeric not null, note text,
    created_at timestamptz not null default now(), a int, b int
);
insert into {name} (tenant_id, status, total, note, a, b)
select 'acme', 'open', 12.5, 'some words of a note', n, n from generate_series(1, 10000) n;
"""
INSERT = (
    "insert into {name} (tenant_id, status, total, note, a, b) values ('acme', 'open', 12.5, 'some words', 1, 2);\n"
)
UPDATE = "\\set id random(1, 10000)\nupdate {name} set status = 'paid', a = a + 1 where id = :id;\n"
ENGINE = """
import sys, time
from rowcast import EventBusConfig, SubscriptionExecutor
engine = SubscriptionExecutor(EventBusConfig.postgresql(sys.argv[1], capture=sys.argv[2]))
engine.start('[{"table": "captured", "public": true}]')
print("ready", flush=True)
sys.stdin.read()
print(engine.metrics()["events_total"])
engine.stop()
"""
WAYS = {"plain": None, "wal": "wal", "outbox": "outbox", "outbox that nobody reads": None}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--writers", type=int, default=8)
    options = parser.parse_args()
    print(f"{options.writers} writers, {options.seconds} s each, {options.passes} passes: tx/s, ratio to plain")
    for major in (15, 18):
        binaries = bindir(major)
        if binaries is None:
            print(f"PostgreSQL {major}: not installed")
            continue
        with running(major, binaries) as cluster:
            # As in the field: the disk is waited for, and nobody prepares transactions.
            cluster.configure(fsync="on", max_prepared_transactions="0", shared_buffers="256MB")
            cluster.stop()
            cluster.start()
            for work, script in (("insert", INSERT), ("update", UPDATE)):
                for commit in ("on", "off"):
                    measure(
                        cluster, f"PostgreSQL {major}, {work}, synchronous_commit {commit}", script, commit, options
                    )


def measure(cluster: Cluster, title: str, script: str, commit: str, options: argparse.Namespace) -> None:
    """One row of the table."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.passes):
        for way, capture in WAYS.items():
            with cluster.database() as database:
                database.execute(f"alter database {database.name} set synchronous_commit = {commit}")
                rates[way].append(rate(database, way, capture, script, options))
    plain = rates["plain"]
    cells = []
    for way, measured in rates.items():
        ratio = statistics.median(one / base for one, base in zip(measured, plain, strict=True))
        cells.append(f"{way} {statistics.median(measured):,.0f} ({ratio:.2f})")
    print(f"{title}: {', '.join(cells)}", flush=True)


def rate(database: Database, way: str, capture: str | None, script: str, options: argparse.Namespace) -> float:
    """Transactions a second in one way."""
    name = "plain" if way == "plain" else "captured"
    database.execute(TABLE.format(name=name))
    if capture is None and way != "plain":
        with reading(database, "outbox"):
            pass
    if capture is None:
        return pgbench(database, script.format(name=name), options)
    with reading(database, capture):
        return pgbench(database, script.format(name=name), options)


@contextmanager
def reading(database: Database, capture: str) -> Iterator[None]:
    """An engine that reads."""
    command = [sys.executable, "-c", ENGINE, database.url, capture]
    engine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert engine.stdout is not None
    assert engine.stdout.readline() == "ready\n"
    try:
        yield
    finally:
        engine.communicate(timeout=60)


def pgbench(database: Database, script: str, options: argparse.Namespace) -> float:
    """Its ``tps``, connections left out."""
    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"{database.name}.sql"  # noqa: S108 - no secret is in it
    file.write_text(script)
    command = ["pgbench", "-n", "-M", "prepared", "-c", str(options.writers), "-j", "2", "-T", str(options.seconds)]
    try:
        output = subprocess.run(
            [*command, "-f", str(file), database.url], check=True, capture_output=True, text=True
        ).stdout
    finally:
        file.unlink()
    found = re.search(r"tps = ([\d.]+)", output)
    assert found, output
    return float(found.group(1))


if __name__ == "__main__":
    main()
