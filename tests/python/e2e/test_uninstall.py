"""`rowcast uninstall` and `rowcast unwatch`, as an operator calls them beside applications that run or have run."""

import asyncio
import json

import pytest

from rig.postgres import Database
from rowcast import SubscriptionManager
from rowcast.cli import main
from rowcast.settings import Capture

pytestmark = pytest.mark.timeout(120)

LEFT = """
    select 'schema' from pg_namespace where nspname = 'rowcast'
    union all select 'publication' from pg_publication
    union all select 'event trigger' from pg_event_trigger
    union all select 'trigger' from pg_trigger where not tgisinternal
    union all select 'slot ' || slot_name from pg_replication_slots where database = current_database()
    union all select 'identity' from pg_class where relname = 'orders' and relreplident <> 'd'"""


def manager(database: Database, capture: Capture) -> SubscriptionManager:
    """One that watches ``orders``."""
    made = SubscriptionManager(database.url, capture=capture)
    made.subscription("orders", public=True)
    return made


@pytest.mark.parametrize("capture", ["wal", "outbox"])
async def test_it_refuses_while_an_engine_runs_and_then_leaves_nothing(
    database: Database, capture: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    def rowcast(*arguments: str) -> int:
        return main([*arguments, "--database-url", database.url])

    database.execute("create table orders (id int primary key)")
    async with manager(database, capture):
        assert await asyncio.to_thread(rowcast, "uninstall") == 1
        said = capsys.readouterr().err
        assert "[UNINSTALL_BLOCKED]" in said
        assert ("streams from slot" if capture == "wal" else "reads the outbox") in said
        assert await asyncio.to_thread(rowcast, "uninstall", "--dry-run", "--json") == 0
        planned = json.loads(capsys.readouterr().out)
        assert len(planned["obstacles"]) == 1
    assert rowcast("uninstall", "--dry-run") == 0
    script = capsys.readouterr().out
    assert script.startswith("begin;\n")
    assert ("pg_drop_replication_slot" in script) == (capture == "wal")
    assert database.execute(LEFT) != []
    assert rowcast("uninstall") == 0
    assert capsys.readouterr().out == script
    assert database.execute(LEFT) == []
    assert rowcast("uninstall") == 0
    assert capsys.readouterr().out == "-- nothing to remove\n"
    async with manager(database, capture):
        database.execute("insert into orders values (1)")


def test_unwatch_of_a_table_that_nobody_watches_fails(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--database-url", database.url]
    database.execute("create table orders (id int primary key)")
    assert main(["migrate", *at]) == 0
    assert main(["watch", "orders", *at]) == 0
    assert main(["unwatch", "orders", *at]) == 0
    for table in ("orders", "nope"):
        capsys.readouterr()
        assert main(["unwatch", table, *at]) == 1
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err.endswith(
            f"{table} is not watched; `rowcast status` lists the tables that are [NOT_WATCHED]\n"
        )
