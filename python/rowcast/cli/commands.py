"""What each command does; each needs the database alone, but ``schema``, which needs the application."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from rowcast._engine import EventBusConfig, SubscriptionExecutor
from rowcast.cli.answer import Answer
from rowcast.errors import ConfigurationError, PublishError
from rowcast.manager import SubscriptionManager
from rowcast.source import VARIABLE

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
    _engine(options).unwatch(options.table)
    return Answer(f"no longer watching {options.table}", {"unwatched": options.table})


def publish(options: argparse.Namespace) -> Answer:
    """Publish a message."""
    text = sys.stdin.read() if options.payload == "-" else options.payload
    try:
        json.loads(text)
    except ValueError as error:
        raise PublishError(
            f"the payload is no JSON ({error}); text needs quotes: '\"text\"'", code="PAYLOAD_NOT_JSON"
        ) from error
    _engine(options).publish(options.topic, text, options.tenant)
    return Answer(f"published to {options.topic}", {"published": options.topic})


def status(options: argparse.Namespace) -> Answer:
    """Show slot, lag and watched tables."""
    found: dict[str, Any] = json.loads(_engine(options).status())
    return Answer("\n".join(_lines(found)), found)


def schema(options: argparse.Namespace) -> Answer:
    """Print the schema that the application's manager serves, whether it runs or not."""
    sdl = asyncio.run(_manager(options.manager).schema())
    return Answer(sdl.rstrip("\n"), {"schema": sdl})


def _engine(options: argparse.Namespace) -> SubscriptionExecutor:
    """An engine that is not started; unset parts of the URL come from ``PG*``."""
    return SubscriptionExecutor(EventBusConfig.postgresql(options.database_url or os.environ.get(VARIABLE)))


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
            f"{path} is a {type(found).__name__}, no SubscriptionManager", code="MANAGER_NOT_FOUND"
        )
    return found


def _lines(found: Any, prefix: str = "") -> list[str]:
    """Nested values as ``path  value`` lines."""
    if isinstance(found, dict):
        return [line for name, value in found.items() for line in _lines(value, f"{prefix}.{name}" if prefix else name)]
    if isinstance(found, list) and found and isinstance(found[0], dict | list):
        return [line for index, value in enumerate(found) for line in _lines(value, f"{prefix}[{index}]")]
    shown = ", ".join(map(str, found)) if isinstance(found, list) else found
    return [f"{prefix:<32} {shown}"]
