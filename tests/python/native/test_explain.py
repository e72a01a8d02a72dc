"""``rowcast explain`` on real PostgreSQL: its text, its JSON and its exit codes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rig.client import ACME, GLOBEX
from rig.postgres import Database
from rig.shop import Shop
from rowcast import EventBusConfig, SubscriptionExecutor
from rowcast.cli import main

Run = Callable[..., tuple[int, str, str]]

ROW = {"id": 1, "tenant_id": ACME, "status": "open", "total": "12.50", "note": None}
POLICY = "create policy own on orders using (status = current_setting('app.status'))"


@pytest.fixture
def run(database: Database, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("--row", …)``: exit code, output and errors of an explanation of `orders`."""

    def run(principal: object, *arguments: str, table: str = "orders") -> tuple[int, str, str]:
        who = principal if isinstance(principal, str) else json.dumps(principal)
        code = main(["explain", "--table", table, "--as", who, "--database-url", database.url, *arguments])
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def watched(database: Database) -> Database:
    """A shop whose orders are watched by tenant."""
    Shop(database).open()
    engine = SubscriptionExecutor(EventBusConfig.postgresql(database.url))
    engine.migrate()
    engine.watch("orders", "tenant_id")
    return database


@pytest.fixture
def role(watched: Database) -> Iterator[str]:
    """A role that may read the orders, under a policy of a setting. A role belongs to the cluster, so it is dropped."""
    name = f"app_{watched.name}"
    watched.execute(f"create role {name}")
    watched.execute(f"grant select on orders to {name}")
    watched.execute("alter table orders enable row level security")
    watched.execute(POLICY)
    yield name
    watched.execute(f"drop owned by {name}")
    watched.execute(f"drop role {name}")


def test_a_row_of_the_own_tenant_is_told_and_one_of_another_is_not(run: Run, watched: Database) -> None:
    code, text, _ = run({"tenant_id": ACME}, "--row", json.dumps(ROW))
    assert code == 0
    assert "ENTER: delivers the row: id, tenant_id, status, total, note" in text
    assert f"rows where tenant_id = '{ACME}'" in text
    code, text, _ = run({"tenant_id": GLOBEX}, "--row", json.dumps(ROW))
    assert code == 1
    assert "not delivered: module tenant does not show the new row" in text


def test_a_principal_that_is_refused_is_told_by_which_module_and_with_which_code(run: Run, watched: Database) -> None:
    code, text, _ = run({})
    assert code == 1
    assert "a subscription is REFUSED" in text
    (line,) = [line for line in text.splitlines() if line.lstrip().startswith("NO")]
    assert line.split()[1] == "tenant"
    assert line.endswith("[TENANT_REQUIRED]")


def test_a_policy_is_told_with_the_principals_own_values(run: Run, role: str) -> None:
    who = {"tenant_id": ACME, "role": role, "settings": {"app.status": "paid"}}
    code, text, _ = run(who, "--old", json.dumps(ROW | {"status": "paid"}), "--row", json.dumps(ROW))
    assert code == 0
    assert "status = 'paid'" in text
    assert "LEAVE: delivers the key only: id" in text
    code, text, _ = run(who, "--json", "--row", json.dumps(ROW))
    assert code == 1
    told = json.loads(text)
    assert [module["module"] for module in told["modules"]] == [
        "principal",
        "federation",
        "scope",
        "tenant",
        "row_policy",
        "columns",
    ]
    assert told["row"]["new"]["refused_by"] == "row_policy"
    assert told["row_policy"]["policies"][0]["predicate"] == "status = 'paid'"


def test_scopes_and_services_are_those_that_the_application_declares(run: Run, watched: Database) -> None:
    declared = ["--scopes", "orders:read", "live", "--service", "shop", "--field-service", "shop"]
    assert run({"tenant_id": ACME, "scopes": ["live", "orders:read"]}, *declared)[0] == 0
    code, text, _ = run({"tenant_id": ACME, "scopes": ["live"], "services": ["billing"]}, *declared)
    assert code == 1
    assert "[SCOPE_REQUIRED]" in text
    assert "[SERVICE_FORBIDDEN]" in text


def test_principal_and_rows_may_be_in_files(run: Run, watched: Database, tmp_path: Path) -> None:
    (tmp_path / "who.json").write_text(json.dumps({"tenant_id": ACME}))
    (tmp_path / "row.json").write_text(json.dumps(ROW))
    assert run(f"@{tmp_path}/who.json", "--row", f"@{tmp_path}/row.json")[0] == 0


def test_digits_reach_postgresql_as_they_were_written(run: Run, watched: Database) -> None:
    row = json.dumps(ROW | {"total": "TOTAL"}).replace('"TOTAL"', "1234567890.10")
    _, text, _ = run({"tenant_id": ACME}, "--json", "--row", row)
    assert json.loads(text)["row"]["told"]["payload"]["data"]["orders"]["row"]["total"] == "1234567890.10"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--row", "{"], "ROW_NOT_JSON"),
        (["--row", '{"colour": 1}'], "COLUMN_UNKNOWN"),
        (["--row", '{"id": "one"}'], "ROW_INVALID"),
        (["--row", "{}", "--operation", "delete"], "OPERATION_MISMATCH"),
        (["--operation", "insert"], "ROW_MISSING"),
    ],
)
def test_what_cannot_be_explained_exits_with_2_and_a_code(
    run: Run, watched: Database, arguments: list[str], expected: str
) -> None:
    code, output, error = run({"tenant_id": ACME}, *arguments)
    assert (code, output) == (2, "")
    assert error.endswith(f"[{expected}]\n")
    assert run({"tenant_id": ACME}, table="nothing")[2].endswith("[UNKNOWN_TABLE]\n")


def test_it_takes_no_slot_and_needs_nothing_that_runs(run: Run, watched: Database) -> None:
    assert run({"tenant_id": ACME}, "--row", json.dumps(ROW))[0] == 0
    assert watched.execute("select count(*) from pg_replication_slots where database = %s", watched.name) == [(0,)]
    assert watched.execute("select count(*) from orders") == [(0,)]


def test_no_password_is_told(watched: Database, capsys: pytest.CaptureFixture[str]) -> None:
    url = watched.url.replace("postgres@", "postgres:hunter2@")
    for table in ("orders", "nothing"):
        main(["explain", "--table", table, "--as", '{"tenant_id": "x"}', "--database-url", url])
    output = capsys.readouterr()
    assert "hunter2" not in output.out + output.err
