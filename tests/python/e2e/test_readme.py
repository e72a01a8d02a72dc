"""The README's quickstart and its section on security, done as they are written.

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

BLOCK = re.compile(r"<!-- (?P<example>\w+): (?P<use>[^>]+?) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)


def shown_after(database: Database, steps: dict[str, str], watcher: Server) -> bool:
    """Whether the watcher shows what the README promises once its SQL has been run."""
    database.execute(steps["sql later"])
    with suppress(AssertionError):
        until(lambda: steps["output"] in watcher.output, "the promised lines", 3)
        return True
    return False


def blocks(example: str) -> dict[str, str]:
    """An example's blocks by use."""
    found = BLOCK.finditer((ROOT / "README.md").read_text())
    return {block["use"]: block["text"] for block in found if block["example"] == example}


def does_what_it_says(database: Database, folder: Path, example: str, app: str, client: str) -> None:
    """Take every step of an example."""
    steps = blocks(example)
    database.execute(steps["sql"])
    for use, text in steps.items():
        if use.startswith("file "):
            (folder / use.removeprefix("file ")).write_text(text)
    server = Server([sys.executable, "-m", "rig.serve", app], {"ROWCAST_DATABASE_URL": database.url}, folder)
    watcher = None
    try:
        watcher = Server([sys.executable, str(folder / client), f"{server.url('ws')}/graphql"])
        watcher.line("watching")
        # A stock client does not tell when its subscription has been taken up; a reader would see the first try.
        until(lambda: shown_after(database, steps, watcher), "the promised lines")
        assert "not for" not in watcher.output
    finally:
        if watcher is not None:
            watcher.stop()
        server.stop()
        # What pytest captures, it shows beside the failure.
        print(server.output, "" if watcher is None else watcher.output)  # noqa: T201


def test_the_quickstart_does_what_it_says(database: Database, tmp_path: Path) -> None:
    does_what_it_says(database, tmp_path, "quickstart", "app:app", "watch.py")


def test_the_section_on_security_does_what_it_says(database: Database, tmp_path: Path) -> None:
    database.execute("drop role if exists reader")
    try:
        does_what_it_says(database, tmp_path, "security", "notes:app", "watch_notes.py")
    finally:
        database.execute("drop owned by reader; drop role reader")
