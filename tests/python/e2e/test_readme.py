"""The README's quickstart, done as it is written.

A fenced block is used when a comment in front of it says for what: ``<!-- quickstart: file app.py -->`` names a file,
``sql`` and ``sql later`` what the reader types into psql, ``output`` what the reader is promised to see.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from rig.postgres import Database
from rig.server import ROOT, Server
from rig.wait import until

pytestmark = pytest.mark.timeout(180)

BLOCK = re.compile(r"<!-- quickstart: (?P<use>[^>]+?) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)


def shown_after(database: Database, steps: dict[str, str], watcher: Server) -> bool:
    """Whether the watcher shows what the README promises once its SQL has been run."""
    database.execute(steps["sql later"])
    with suppress(AssertionError):
        until(lambda: steps["output"] in watcher.output, "the promised lines", 3)
        return True
    return False


def blocks() -> dict[str, str]:
    """The quickstart's blocks by use."""
    return {found["use"]: found["text"] for found in BLOCK.finditer((ROOT / "README.md").read_text())}


def test_the_quickstart_does_what_it_says(database: Database, tmp_path: Path) -> None:
    steps = blocks()
    database.execute(steps["sql"])
    (tmp_path / "app.py").write_text(steps["file app.py"])
    (tmp_path / "watch.py").write_text(steps["file watch.py"])
    server = Server([sys.executable, "-m", "rig.serve", "app:app"], {"ROWCAST_DATABASE_URL": database.url}, tmp_path)
    watcher = None
    try:
        address = f"{server.url('ws')}/graphql"
        watcher = Server([sys.executable, str(tmp_path / "watch.py"), address])
        watcher.line("watching")
        # A stock client does not tell when its subscription has been taken up; a reader would see the first try.
        until(lambda: shown_after(database, steps, watcher), "the promised lines")
    finally:
        if watcher is not None:
            watcher.stop()
        server.stop()
        # What pytest captures, it shows beside the failure.
        print(server.output, "" if watcher is None else watcher.output)  # noqa: T201
