"""The command line: what it accepts and how it fails."""

import json

import pytest

from rowcast.cli import _failure, main, parser
from rowcast.cli.commands import _check
from rowcast.errors import MigrationError


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["migrate", "--dry-run", "--database-url", "postgresql://x"],
        ["watch", "public.orders", "--tenant", "tenant_id"],
        ["watch", "orders", "--public", "--json"],
        ["unwatch", "orders"],
        ["uninstall", "--dry-run", "--slot", "shop", "--json"],
        ["publish", "alerts", "{}", "--tenant", "acme"],
        ["status", "--json"],
        ["explain", "--table", "orders", "--as", "{}"],
        [
            "explain",
            "--table",
            "orders",
            "--as",
            "@who",
            "--row",
            "{}",
            "--old",
            "{}",
            "--operation",
            "update",
            "--json",
        ],
        ["explain", "--table", "orders", "--as", "{}", "--scopes", "read", "live", "--service", "shop"],
        ["schema", "app:manager"],
    ],
)
def test_every_documented_command_is_accepted(arguments):
    assert callable(parser().parse_args(arguments).run)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["watch"],
        ["publish", "topic"],
        ["schema", "a:b", "--database-url", "x"],
        ["explain", "--table", "orders"],
        ["explain", "--table", "orders", "--as", "{}", "--operation", "truncate"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_failure_is_one_line_with_its_code():
    error = MigrationError("step 3\n failed", code="MIGRATION_FAILED", hint="look at the log")
    assert _failure(error, as_json=False) == "rowcast: step 3 failed (look at the log) [MIGRATION_FAILED]"
    told = json.loads(_failure(error, as_json=True))
    assert told == {"error": {"code": "MIGRATION_FAILED", "message": "step 3\n failed (look at the log)"}}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("app", "module:manager"),
        ("app:", "module:manager"),
        ("no_such_module:manager", "cannot be imported"),
        ("json:nothing", "cannot be imported"),
        ("json:dumps", "not a SubscriptionManager"),
    ],
)
def test_a_manager_that_cannot_be_found_is_one_line_on_stderr(path, words, capsys):
    assert main(["schema", path]) == 1
    output = capsys.readouterr()
    assert words in output.err
    assert "[MANAGER_NOT_FOUND]" in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


def test_a_payload_that_is_no_json_is_refused_before_anything_is_connected(capsys):
    assert main(["publish", "alerts", "hello", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "PAYLOAD_NOT_JSON"


def test_a_check_that_failed_is_marked_and_says_what_to_do():
    check = {"name": "wal_level", "value": "replica", "ok": False, "hint": "Restart with logical."}
    assert _check(check).split() == ["BAD", "wal_level", "replica", "Restart", "with", "logical."]
    assert "\n" not in _check({"name": "primary", "value": "yes", "ok": True, "hint": None})


@pytest.mark.parametrize(
    ("principal", "code"),
    [
        ("{", "PRINCIPAL_NOT_JSON"),
        ("[]", "PRINCIPAL_NOT_JSON"),
        ('{"tenant": "acme"}', "PRINCIPAL_INVALID"),
        ('{"settings": {"role": "postgres"}}', "PRINCIPAL_INVALID"),
        ("@no-such-file", "FILE_UNREADABLE"),
    ],
)
def test_a_principal_that_is_none_is_refused_before_anything_is_connected(principal, code, capsys):
    assert main(["explain", "--table", "orders", "--as", principal]) == 2
    output = capsys.readouterr()
    assert output.err.endswith(f"[{code}]\n")
    assert len(output.err.splitlines()) == 1


def test_a_line_on_stderr_names_the_database_and_never_the_password(capsys, monkeypatch):
    monkeypatch.setenv("ROWCAST_DATABASE_URL", "postgresql://ann:secret@127.0.0.1:1/shop")
    assert main(["status", "--json"]) == 1
    told, *_ = capsys.readouterr().err.splitlines()
    assert told == "rowcast: database ann@127.0.0.1:1/shop (from ROWCAST_DATABASE_URL)"
    assert main(["status", "--database-url", "host=127.0.0.1 port=1 user=bob password=secret dbname=shop"]) == 1
    told, *rest = capsys.readouterr().err.splitlines()
    assert told == "rowcast: database bob@127.0.0.1:1/shop (from --database-url)"
    assert "secret" not in "".join(rest)
    monkeypatch.delenv("ROWCAST_DATABASE_URL")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    assert main(["status"]) == 1
    assert "127.0.0.1:1/" in (told := capsys.readouterr().err.splitlines()[0])
    assert told.endswith("(from PG* variables and defaults)")


def test_no_connection_is_no_answer(capsys):
    url = "postgresql://postgres@127.0.0.1:1/nothing"
    assert main(["explain", "--table", "orders", "--as", "{}", "--database-url", url]) == 2
    assert "[SERVER_UNREACHABLE]" in capsys.readouterr().err
