"""The quickstart and the example of row policies, done as README and docs write them.

A comment in front of a fenced block says what the block is for: ``<!-- quickstart: file app.py -->`` names a file,
``sql`` and ``sql later`` are input for psql, ``output`` is what the reader sees. From ``shell`` and ``shell later`` the
test takes the URLs and the ``rowcast`` command, with its own server and database in them.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rig.postgres import Database
from rig.server import CAPTURE, ROOT, Server
from rig.wait import until
from rowcast.cli import main

pytestmark = pytest.mark.timeout(180)

PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
SQL = re.compile(r"^```sql\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"<!-- (?P<example>\w+): (?P<use>[^>]+?) -->\n```\w*\n(?P<text>.*?)```", re.DOTALL)


def shown_after(database: Database, steps: dict[str, str], watcher: Server) -> bool:
    """Whether the watcher shows the promised output once the example's SQL has been run."""
    database.execute(steps["sql later"])
    with suppress(AssertionError):
        until(lambda: steps["output"] in watcher.output, "the promised lines", 3)
        return True
    return False


def blocks(example: str) -> dict[str, str]:
    """An example's blocks by use, from the one page that has them."""
    found = [
        (page, block) for page in PAGES for block in BLOCK.finditer(page.read_text()) if block["example"] == example
    ]
    assert len({page for page, _ in found}) == 1
    return {block["use"]: block["text"] for _, block in found}


def exported(shell: str) -> str:
    """The URL that a shell block sets."""
    (url,) = re.findall(r"^export \w+_URL=(\S+)$", shell, re.MULTILINE)
    return str(url)


def migrate(shell: str, database: Database) -> None:
    """Run the block's ``rowcast`` command as it is written, on the test's database."""
    commands = [line for line in shell.splitlines() if line.startswith("rowcast ")]
    assert commands == ['rowcast migrate --database-url "$ADMIN_URL"']
    assert main(["migrate", "--database-url", database.url]) == 0


def does_what_it_says(
    database: Database, folder: Path, example: str, app: str, client: str, url: str | None = None
) -> str:
    """Take every step of an example, the engine connecting with ``url``; what the server has printed."""
    steps = blocks(example)
    database.execute(steps["sql"])
    if CAPTURE == "outbox" and url is not None:
        database.execute("select rowcast.start_outbox()")  # an engine without rights on the table cannot watch it
    for use, text in steps.items():
        if use.startswith("file "):
            (folder / use.removeprefix("file ")).write_text(text)
    server = Server([sys.executable, "-m", "rig.serve", app], {"ROWCAST_DATABASE_URL": url or database.url}, folder)
    watcher = None
    try:
        watcher = Server([sys.executable, str(folder / client), f"{server.url('ws')}/graphql"])
        watcher.line("watching")
        # A stock client does not report when its subscription is live; a reader would see the first try.
        until(lambda: shown_after(database, steps, watcher), "the promised lines")
        assert "not for" not in watcher.output
    finally:
        if watcher is not None:
            watcher.stop()
        server.stop()
        # What pytest captures, it shows beside the failure.
        print(server.output, "" if watcher is None else watcher.output)  # noqa: T201
    return server.output


def test_the_quickstart_does_what_it_says_and_its_engine_is_no_superuser(database: Database, tmp_path: Path) -> None:
    steps = blocks("quickstart")
    engine = urlsplit(exported(steps["shell later"]))
    here = f"{engine.username}:{engine.password}@{urlsplit(database.url).netloc.rpartition('@')[2]}"
    url = urlsplit(database.url)._replace(netloc=here).geturl()
    database.execute(f"drop role if exists {engine.username}")
    migrate(steps["shell"], database)
    try:
        output = does_what_it_says(database, tmp_path, "quickstart", "app:app", "watch.py", url)
        assert "ENGINE_IS_SUPERUSER" not in output
    finally:
        database.execute(f"drop owned by {engine.username}; drop role {engine.username}")


def test_every_marked_block_belongs_to_an_example_that_is_run() -> None:
    found = {block["example"] for page in PAGES for block in BLOCK.finditer(page.read_text())}
    assert found == {"quickstart", "security"}


def test_every_example_in_sql_can_be_parsed(database: Database) -> None:
    for page in PAGES:
        for text in SQL.findall(page.read_text()):
            statements = re.sub(r"^(begin|commit);$", "", text, flags=re.MULTILINE)
            # PL/pgSQL parses the statements of a body when the function is made, and runs nothing.
            database.execute(
                f"create or replace procedure pg_temp.example() language plpgsql as $$begin {statements} end$$"
            )


def test_the_quickstarts_urls_fit_the_server_that_docker_compose_starts() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    (password,) = re.findall(r"POSTGRES_PASSWORD: (\S+)", compose)
    (address,) = re.findall(r'ports: \["(127\.0\.0\.1:\d+):5432"\]', compose)
    steps = blocks("quickstart")
    assert exported(steps["shell"]) == f"postgresql://postgres:{password}@{address}/postgres"
    assert exported(steps["shell"]) in compose
    (role, secret) = re.findall(r"create role (\w+) login replication password '(\w+)'", steps["sql"])[0]
    assert exported(steps["shell later"]) == f"postgresql://{role}:{secret}@{address}/postgres"


def test_the_example_of_row_policies_does_what_it_says(database: Database, tmp_path: Path) -> None:
    database.execute("drop role if exists reader")
    try:
        does_what_it_says(database, tmp_path, "security", "notes:app", "watch_notes.py")
    finally:
        database.execute("drop owned by reader; drop role reader")
