"""All declarations of a manager as one value: the argument of the engine's ``start`` and the resolvers it calls.

Unique names are checked here, since declarations come from several modules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rowcast.declare.annotations import EnumType, ObjectType, Returns
from rowcast.declare.declaration import Declaration
from rowcast.declare.naming import Naming
from rowcast.errors import ConfigurationError
from rowcast.resolvers import Task
from rowcast.settings import Settings


@dataclass(frozen=True)
class Fields:
    """Subscription fields in declaration order; a resolver's index is its place in ``tasks``."""

    structures: tuple[dict[str, Any], ...]
    tasks: tuple[Task, ...]

    @staticmethod
    def of(declarations: Sequence[Declaration], settings: Settings) -> Fields:
        """Check names and number the resolvers.

        Raises:
            ConfigurationError: ``NAME_TAKEN``.
        """
        _check_fields(declarations, settings.naming)
        _check_types(declarations, settings.naming)
        structures: list[dict[str, Any]] = []
        tasks: list[Task] = []
        for each in declarations:
            structures.append(each.as_json(settings.naming, None if each.resolver is None else len(tasks)))
            if each.resolver is not None:
                tasks.append(Task(each.resolver, each.timeout or settings.resolver_timeout_s))
        return Fields(tuple(structures), tuple(tasks))

    def as_json(self) -> str:
        """The JSON array that ``SubscriptionExecutor.start`` reads."""
        return json.dumps(self.structures)


def _check_fields(declarations: Iterable[Declaration], naming: Naming) -> None:
    taken: dict[str, Declaration] = {}
    for each in declarations:
        name = each.field(naming)
        other = taken.setdefault(name, each)
        if other is not each:
            raise ConfigurationError(
                f"two subscriptions are called {name}: on {_subject(other)} and on {_subject(each)}; give one a name=",
                code="NAME_TAKEN",
            )


def _check_types(declarations: Iterable[Declaration], naming: Naming) -> None:
    """Resolvers may share a class; two different classes may not share a name."""
    taken: dict[str, ObjectType | EnumType] = {}
    for each in declarations:
        returns = None if each.resolver is None else each.resolver.returns(naming)
        for found in _named_types(returns):
            if taken.setdefault(found.name, found) != found:
                raise ConfigurationError(
                    f"two different types are called {found.name}, one of them on {_subject(each)}; rename a class",
                    code="NAME_TAKEN",
                )


def _named_types(returns: Returns | None) -> tuple[ObjectType | EnumType, ...]:
    return () if returns is None else (*returns.objects, *returns.enums)


def _subject(declaration: Declaration) -> str:
    return f"table {declaration.table}" if declaration.table is not None else f"topic {declaration.topic}"
