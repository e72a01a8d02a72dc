"""The demo, as `make demo` runs it, on free ports and with a data folder of its own."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rig.server import Server

SCRIPT = "examples/demo/run.py"


@contextmanager
def demo(**environment: str) -> Iterator[Server]:
    """A demo that is ready; ``environment`` sets its variables."""
    with data_folder() as folder:
        server = Server([sys.executable, SCRIPT], {"PORT": "0", "DEMO_FOLDER": folder} | environment)
        try:
            server.line("ready ")
            yield server
        finally:
            server.stop()
            print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure


@contextmanager
def data_folder() -> Iterator[str]:
    """A place for the demo's data, below a folder that PostgreSQL's user may also enter."""
    home = Path(tempfile.mkdtemp(prefix="rowcast-demo-"))
    try:
        home.chmod(0o755)
        yield str(home / "data")
    finally:
        shutil.rmtree(home, ignore_errors=True)
