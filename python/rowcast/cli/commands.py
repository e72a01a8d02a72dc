"""The commands. ``schema`` needs the application; the others need only the database."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections.abc import Callable
from typing import Any

from rowcast._engine import SubscriptionExecutor
from rowcast.cli.answer import Answer
from rowcast.cli.database import database_of
from rowcast.errors import ConfigurationError, PublishError
from rowcast.manager import SubscriptionManager

Command = Callable[[argparse.Namespace], Answer]


def migrate(options: argparse.Namespace) -> Answer:
    """Apply or list pending migrations."""
    names = _engine(options).migrate(dry_run=options.dry_run)
    verb = "would apply" if options.dry_run else "applied"
    text = "\n".join(f"{verb} {name}" for name in names) or "nothing to apply"
    return Answer(text, {"pending" if options.dry_run else "applied": names})


def watch(options: argparse.Namespace) -> Answer:
    """Publish a table's changes."""
    _engine(options).watch(options.table, options.tenant, options.public)
    return Answer(f"watching {options.table}", {"watched": options.table})


def unwatch(options: argparse.Namespace) -> Answer:
    """Stop publishing a table's changes."""
    if not _engine(options).unwatch(options.table):
        raise ConfigurationError(
            f"{options.table} is not watched; `rowcast status` lists the tables that are", code="NOT_WATCHED"
        )
    return Answer(f"no longer watching {options.table}", {"unwatched": options.table})


def uninstall(options: argparse.Namespace) -> Answer:
    """Remove what rowcast made, or show the statements that would."""
    found: dict[str, list[str]] = json.loads(_engine(options).uninstall(dry_run=options.dry_run))
    lines = [f"-- first: {obstacle}" for obstacle in found["obstacles"]]
    lines += _script(found["statements"], found["slots"]) or ["-- nothing to remove"]
    lines += [f"-- stays: {left}" for left in found["leaves"]]
    return Answer("\n".join(lines), found)


def _script(statements: list[str], slots: list[str]) -> list[str]:
    transaction = ["begin", *statements, "commit"] if statements else []
    return [f"{statement};" for statement in (*transaction, *slots)]


def publish(options: argparse.Namespace) -> Answer:
    """Publish a message."""
    text = sys.stdin.read() if options.payload == "-" else options.payload
    try:
        json.loads(text)
    except ValueError as error:
        raise PublishError(
            f"the payload is not valid JSON ({error}); text needs quotes: '\"text\"'", code="PAYLOAD_NOT_JSON"
        ) from error
    _engine(options).publish(options.topic, text, options.tenant)
    return Answer(f"published to {options.topic}", {"published": options.topic})


def status(options: argparse.Namespace) -> Answer:
    """Show the checks of `rowcast.status()`; a failed check makes the exit code 1."""
    found: dict[str, Any] = json.loads(_engine(options).status())
    checks: list[dict[str, Any]] = found.get("checks", [])
    return Answer("\n".join(map(_check, checks)), found, ok=all(check["ok"] for check in checks))


def _check(check: dict[str, Any]) -> str:
    mark = "ok " if check["ok"] else "BAD"
    hint = f"\n    {check['hint']}" if check.get("hint") else ""
    return f"{mark} {check['name']:<28} {check['value']}{hint}"


def schema(options: argparse.Namespace) -> Answer:
    """Print the schema that the application's manager serves, whether it runs or not."""
    sdl = asyncio.run(_manager(options.manager).schema())
    return Answer(sdl.rstrip("\n"), {"schema": sdl})


def _engine(options: argparse.Namespace) -> SubscriptionExecutor:
    """An engine that is not started."""
    return SubscriptionExecutor(database_of(options))


def _manager(path: str) -> SubscriptionManager:
    """The object at ``module:attribute``, imported as from the working directory."""
    module_name, separator, attribute = path.partition(":")
    if not separator or not attribute:
        raise ConfigurationError(f"{path!r} is not of the form module:manager", code="MANAGER_NOT_FOUND")
    sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{path} cannot be imported: {error}", code="MANAGER_NOT_FOUND") from error
    if not isinstance(found, SubscriptionManager):
        raise ConfigurationError(
            f"{path} is a {type(found).__name__}, not a SubscriptionManager", code="MANAGER_NOT_FOUND"
        )
    return found
