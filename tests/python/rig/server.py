"""A Python server in its own process, started on a free port and watched through its output.

The process announces itself with a line ``ready URL``; its output is kept for the failure message.
"""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from rig.wait import until

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""

CAPTURE = os.environ.get("ROWCAST_TEST_CAPTURE")


class Server:
    """One running process and what it has printed."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None, cwd: Path = ROOT) -> None:
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment() | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "".join(self._lines)

    def line(self, prefix: str, patience: float = 120.0) -> str:
        """What follows ``prefix`` on the first line that starts with it."""
        return until(lambda: self._find(prefix), f"a line `{prefix}…`", patience)[0]

    def url(self, scheme: str = "http") -> str:
        """The announced address, without a trailing slash."""
        return scheme + self.line("ready http").rstrip("/")

    def sockets(self) -> int:
        """TCP connections to its address that a process holds, out of /proc: `n: local remote state … inode …`."""
        port = f":{int(self.url().rpartition(':')[2]):04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[1].endswith(port) and row[3] != "0A" and row[9] != "0" for row in rows)

    def resident_bytes(self) -> int:
        """Memory that the process uses now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def interrupt(self) -> int:
        """What Ctrl-C does: SIGINT to the whole process group; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(60)

    def stop(self) -> int:
        """SIGTERM to the process, SIGKILL to its group if that does not help; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._reader.join(10)
        return self.process.returncode

    def _find(self, prefix: str) -> list[str]:
        found = [line.removeprefix(prefix).strip() for line in list(self._lines) if line.startswith(prefix)]
        ended = self.process.poll()
        assert found or ended is None, f"the server ended with {ended}:\n{self.output}"
        return found

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.append(line)


def serve(app: str, environment: dict[str, str] | None = None) -> Server:
    """An ASGI application (``module:name``, found beside this package) on uvicorn."""
    return Server([sys.executable, "-m", "rig.serve", app], environment)


def _environment() -> dict[str, str]:
    """Our environment without variables that name a database, and with the tests' modules importable.

    ``ROWCAST_TEST_CAPTURE=outbox`` runs the same tests with the other capture. Output stays buffered: an
    unbuffered `print` writes a text and its line end apart, and another worker's line gets in between.
    """
    foreign = ("ROWCAST_", "PG", "DEMO_", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    if CAPTURE is not None:
        kept["ROWCAST_CAPTURE"] = CAPTURE
    return kept | {"PYTHONPATH": str(ROOT / "tests" / "python")}
