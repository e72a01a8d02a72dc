"""The demo, as `make demo` runs it, on free ports."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rig.server import Server

SCRIPT = "examples/demo/run.py"


@contextmanager
def demo(**environment: str) -> Iterator[Server]:
    """A demo that is ready; ``environment`` sets its variables."""
    server = Server([sys.executable, SCRIPT], {"PORT": "0"} | environment)
    try:
        server.line("ready ")
        yield server
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure
