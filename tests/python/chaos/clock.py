"""Wall clocks that can be stepped, one for PostgreSQL and one for the application; the machine's own stays right."""

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The wall clock of the processes that are started with its `environment`; theirs alone."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rowcast-clock-"))
        # PostgreSQL runs as another user when root runs the tests.
        self._folder.chmod(0o755)
        self._offset = self._folder / "offset"
        self.wrong_by(0)
        self.environment = self._built()

    @property
    def can_be_wrong(self) -> bool:
        """Whether there is a C compiler, and a system that lets us."""
        return bool(self.environment)

    def wrong_by(self, seconds: float) -> None:
        """A step, seen at once."""
        with self._offset.open("r+b" if self._offset.exists() else "wb") as file:
            file.write(struct.pack("=q", int(seconds * 1e9)))

    def close(self) -> None:
        """Delete the files; processes that have the clock keep it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _built(self) -> dict[str, str]:
        library = self._folder / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            return {}
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return {}
        return {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._offset)}
