"""The shape of tables and their row policies, which a test supplies in place of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rowcast.errors import ConfigurationError
from rowcast.testing.text import text_of


@dataclass(frozen=True)
class Enumeration:
    """An enum type, made by `enum`."""

    name: str
    labels: tuple[str, ...]


def enum(name: str, *labels: str) -> Enumeration:
    """A column's type that is a ``create type name as enum (labels…)``.

    Raises:
        ConfigurationError: ``TABLE_INVALID``: labels are missing.
    """
    if not labels:
        raise ConfigurationError(f"enum {name!r} has no labels", code="TABLE_INVALID")
    return Enumeration(name, labels)


@dataclass(frozen=True)
class Policy:
    """A row policy for SELECT, decided by the engine's own compiler of policies.

    Args:
        using: The condition as PostgreSQL prints it: copy ``qual`` from ``select policyname, qual from pg_policies``,
            such as ``(tenant_id = current_setting('app.tenant_id'::text))``. What the compiler does not know in full
            refuses its subscribers with ``POLICY_NEEDS_DATABASE``.
        name: For the order in which several are asked.
        permissive: One permissive policy that says yes is enough; of the others each must.
        roles: Whom it is for; empty for everybody.
    """

    using: str
    name: str = "policy"
    permissive: bool = True
    roles: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """As the engine reads it."""
        roles = list(self.roles)
        return {"name": self.name, "permissive": self.permissive, "roles": roles, "using": self.using}


class Table:
    """A table as ``create table`` would make it.

    Args:
        name: ``orders`` or ``schema.orders``; without a schema ``public``.
        key: The primary key's column, or several.
        required: Columns that are NOT NULL, beside the key.
        replica_identity: ``"full"`` (what rowcast sets) or ``"default"``: old rows have the key alone.
        row_security: Whether row-level security is on; by default when there are policies. Without policies no row is
            visible, and the manager warns of that (`PoliciesMissing`).
        policies: Its policies for SELECT. A principal then needs a ``role``, and the manager must know it.
        grants: For a role the columns that it may select; roles that are not named may select all.
        column_types: Columns by name, should one be called like an argument of this class.
        columns: Each column's type by its name in SQL (``"bigint"``, ``"numeric(10,2)"``, ``"text[]"``), or an `enum`.

    Raises:
        ConfigurationError: ``TABLE_INVALID``: it has no columns, or the key is none of them.
    """

    def __init__(
        self,
        name: str,
        *,
        key: str | Sequence[str] = (),
        required: Sequence[str] = (),
        replica_identity: str = "full",
        row_security: bool | None = None,
        policies: Sequence[Policy] = (),
        grants: Mapping[str, Sequence[str]] | None = None,
        column_types: Mapping[str, str | Enumeration] | None = None,
        **columns: str | Enumeration,
    ) -> None:
        self.schema, _, self.name = name.rpartition(".")
        self.schema = self.schema or "public"
        self.columns: dict[str, str | Enumeration] = {**(column_types or {}), **columns}
        self.key = (key,) if isinstance(key, str) else tuple(key)
        self.required = tuple(required)
        self.replica_identity = replica_identity
        self.policies = tuple(policies)
        self.row_security = bool(policies) if row_security is None else row_security
        self.grants = dict(grants or {})
        self._check()

    @property
    def lacks_policies(self) -> bool:
        """Whether all its rows are hidden."""
        return self.row_security and not self.policies

    def row(self, what: str, values: Mapping[str, object]) -> dict[str, str | None]:
        """A whole row in PostgreSQL's text forms; a column that is left out is NULL.

        Args:
            what: ``"new"`` or ``"old"``, for the error.
            values: By column.

        Raises:
            ConfigurationError: ``COLUMN_UNKNOWN`` or ``ROW_INVALID``.
        """
        unknown = [name for name in values if name not in self.columns]
        if unknown:
            raise ConfigurationError(
                f"{what}: table {self.name} has no column {unknown[0]!r}; it has {', '.join(self.columns)}",
                code="COLUMN_UNKNOWN",
            )
        return {name: self._text(what, name, values.get(name)) for name in self.columns}

    def as_json(self) -> dict[str, Any]:
        """As the engine reads it."""
        return {
            "schema": self.schema,
            "name": self.name,
            "columns": [self._column(name, kind) for name, kind in self.columns.items()],
            "key": list(self.key),
            "key_only": self.replica_identity == "default",
            "row_security": self.row_security,
            "policies": [policy.as_json() for policy in self.policies],
            "grants": {role: list(columns) for role, columns in self.grants.items()},
        }

    def _text(self, what: str, name: str, value: object) -> str | None:
        kind = self.columns[name]
        return text_of(value, kind if isinstance(kind, str) else "text", f"{what}: column {name} of {self.name}")

    def _column(self, name: str, kind: str | Enumeration) -> dict[str, Any]:
        type_name, labels = (kind, ()) if isinstance(kind, str) else (kind.name, kind.labels)
        return {"name": name, "type": type_name, "labels": list(labels), "not_null": name in self.required}

    def _check(self) -> None:
        given: Mapping[str, object] = self.columns
        kinds = [name for name, kind in given.items() if not isinstance(kind, str | Enumeration)]
        named = [*self.key, *self.required, *(name for columns in self.grants.values() for name in columns)]
        missing = [name for name in named if name not in self.columns]
        problem = None
        if not self.columns:
            problem = 'it has no columns: Table("orders", id="bigint", total="numeric", key="id")'
        elif kinds:
            problem = (
                f"{kinds[0]}={self.columns[kinds[0]]!r} is taken for a column, whose type must be text such as "
                '"bigint" or an enum(…); public=, tenant= and scopes= belong to the subscription'
            )
        elif missing:
            problem = f"column {missing[0]!r} is named and is not among its columns"
        elif self.replica_identity not in ("full", "default"):
            problem = f'replica_identity must be "full" or "default", not {self.replica_identity!r}'
        if problem:
            raise ConfigurationError(f"table {self.name}: {problem}", code="TABLE_INVALID")

    def __repr__(self) -> str:
        return f"Table({self.schema}.{self.name})"
