"""The command ``rowcast``: arguments in, one call of the engine, an answer for people or (``--json``) for programs.

A line on stderr names the database, without the password.
Exit codes: 0 done, 1 it failed (a line with the error's code on stderr, never a traceback) or ``status`` found a
problem, 2 wrong arguments, 130 Ctrl-C. ``explain``: 0 admitted and delivered, 1 refused or not delivered, 2 it failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rowcast._engine import __version__
from rowcast.cli import commands
from rowcast.cli.answer import Answer
from rowcast.cli.explain import explain
from rowcast.errors import RowcastError

FAILED = 1
WRONG = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the process's exit code."""
    options = parser().parse_args(arguments)
    try:
        answer: Answer = options.run(options)
    except RowcastError as error:
        print(_failure(error, as_json=options.json), file=sys.stderr)
        return int(options.failed)
    except KeyboardInterrupt:
        return INTERRUPTED
    print(json.dumps(answer.data, ensure_ascii=False) if options.json else answer.text)
    return 0 if answer.ok else FAILED


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="rowcast", description="PostgreSQL row changes as live GraphQL subscriptions.")
    top.add_argument("--version", action="version", version=f"rowcast {__version__}")
    every = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    migrate = _command(every, "migrate", commands.migrate, "apply the migrations that the database lacks")
    migrate.add_argument("--dry-run", action="store_true", help="only list them")

    watch = _command(every, "watch", commands.watch, "publish a table's changes")
    watch.add_argument("table", help="orders or schema.orders")
    watch.add_argument("--tenant", metavar="COLUMN", help="the column that holds a row's tenant")
    watch.add_argument("--public", action="store_true", help="rows have no tenant: every client may subscribe")

    unwatch = _command(every, "unwatch", commands.unwatch, "stop publishing a table's changes")
    unwatch.add_argument("table")

    uninstall = _command(every, "uninstall", commands.uninstall, "remove everything that rowcast made in the database")
    uninstall.add_argument("--dry-run", action="store_true", help="only show the statements")
    uninstall.add_argument(
        "--slot", metavar="NAME", help="the pool of slots to drop: the manager's slot=, if it has one"
    )

    publish = _command(every, "publish", commands.publish, "publish a message to a topic")
    publish.add_argument("topic")
    publish.add_argument("payload", metavar="JSON", help="the message; - reads it from standard input")
    publish.add_argument("--tenant", help="tenant that may receive it; default: all subscribers")

    _command(every, "status", commands.status, "show slot, lag and watched tables")

    _explain_arguments(every)

    schema = _command(every, "schema", commands.schema, "print the GraphQL schema of an application", database=False)
    schema.description = _SCHEMA
    schema.add_argument(
        "manager", metavar="MODULE:MANAGER", help="where the SubscriptionManager is, e.g. app.main:manager"
    )
    return top


def _explain_arguments(every: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = _command(every, "explain", explain, "explain whether a principal receives a row, and why")
    command.set_defaults(failed=WRONG)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = _EXPLAIN
    command.add_argument("--table", required=True, help="orders or schema.orders; it must be watched")
    command.add_argument(
        "--as",
        dest="principal",
        metavar="JSON",
        required=True,
        help="attributes of the Principal; @file reads a file",
    )
    command.add_argument("--row", metavar="JSON", help="the row after the change, by column names; @file reads a file")
    command.add_argument("--old", metavar="JSON", help="the row before the change; @file reads a file")
    command.add_argument(
        "--operation",
        choices=("insert", "update", "delete"),
        help="default: insert with --row, delete with --old, update with both",
    )
    command.add_argument("--scopes", nargs="+", metavar="SCOPE", help="scopes that the field requires: its scopes=")
    command.add_argument("--field-service", metavar="NAME", help="the field's service=")
    command.add_argument("--service", metavar="NAME", help="the manager's service=")


_SCHEMA = """\
Print the GraphQL schema of an application: every field that its manager declares, as the engine's role sees the tables.
Declared tables that are not watched yet become watched."""

_EXPLAIN = """\
example:
  rowcast explain --table orders --as '{"role": "app_user", "settings": {"app.user": "ann"}}' \\
                  --old '{"id": 1, "owner": "ann"}' --row '{"id": 1, "owner": "bob"}'

A column that is left out is one that the stream does not carry, which is not NULL; write null for NULL.
Nothing is written and no slot is taken. The answer shows settings and row values.

exit codes: 0 admitted, and the row (if given) is delivered; 1 refused or not delivered; 2 wrong arguments or failure"""


def _command(
    every: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: commands.Command,
    help_text: str,
    *,
    database: bool = True,
) -> argparse.ArgumentParser:
    command = every.add_parser(name, help=help_text, description=f"{help_text.capitalize()}.")
    command.set_defaults(run=run, failed=FAILED)
    command.add_argument("--json", action="store_true", help="answer with JSON")
    if database:
        command.add_argument(
            "--database-url", metavar="URL", help="default: ROWCAST_DATABASE_URL, else the PG* environment variables"
        )
    return command


def _failure(error: RowcastError, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"error": {"code": error.code, "message": str(error)}}, ensure_ascii=False)
    return f"rowcast: {' '.join(str(error).split())} [{error.code}]"
