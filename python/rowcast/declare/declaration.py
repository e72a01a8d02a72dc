"""Declarations: which table or topic is a subscription field, and which function, if any, makes its values.

`subscription` marks a function and changes nothing else: no registry, no global state; the function stays callable as
it was. A `SubscriptionManager` collects marked functions, modules of them, and bare marks (a field without a
resolver). Whatever is wrong with a declaration is said where it is written, and how to fix it.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from rowcast.declare.naming import Naming, field_name, is_graphql_name, table_field_name
from rowcast.declare.signature import Resolver
from rowcast.errors import ConfigurationError
from rowcast.settings import SlowClient

ReplicaIdentity = Literal["full", "keep"]
Operation = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__rowcast_subscriptions__"
_OPERATIONS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True)
class Declaration:
    """One subscription field.

    Attributes:
        table: ``orders`` or ``schema.orders``, as PostgreSQL resolves it; ``None`` for a topic.
        topic: The topic of published messages; ``None`` for a table.
        tenant: The column that holds the row's tenant.
        public: Every client may subscribe; the table has no tenant column.
        name: The field's name; by default the function's, or else the table's or topic's. Each of them becomes
            camelCase unless the manager has ``naming="database"``.
        leave: Whether the resolver is also called for rows that leave the subscriber's view.
        timeout: Seconds that one call of the resolver may take; ``None`` means the manager's ``resolver_timeout_s``.
        replica_identity: ``"full"`` lets the engine set REPLICA IDENTITY FULL, ``"keep"`` leaves the table's own:
            unless that is FULL, a subscriber with a tenant, a row policy or a filter gets no DELETE and no LEAVE.
        scopes: Names that the principal's ``scopes`` must all contain; else ``SCOPE_REQUIRED``.
        operations: Operations that clients may subscribe to (``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE``), and the
            default of a client that names none; others get ``OPERATION_FORBIDDEN``. ``None`` allows all.
        service: The service that the field belongs to; any other refuses it with ``SERVICE_FOREIGN``.
        resolver: The function that makes the field's values; ``None`` for the event envelope.
        transactions: Deliver the changes of each commit together, as a list between ``begin`` and ``end``.
        slow_client: ``"coalesce"`` or ``"disconnect"`` for clients that read too slowly; ``None`` means the manager's
            ``slow_client``.
    """

    table: str | None = None
    topic: str | None = None
    tenant: str | None = None
    public: bool = False
    name: str | None = None
    leave: bool = False
    timeout: float | None = None
    replica_identity: ReplicaIdentity = "full"
    scopes: Sequence[str] = ()
    operations: Sequence[Operation] | None = None
    service: str | None = None
    resolver: Resolver | None = None
    slow_client: SlowClient | None = None
    transactions: bool = False

    def __post_init__(self) -> None:
        for name in ("scopes", "operations"):
            names: object = getattr(self, name)
            if isinstance(names, list):
                object.__setattr__(self, name, tuple(names))
        problem = self._problem()
        if problem:
            raise ConfigurationError(f"subscription: {problem}", code="DECLARATION_INVALID")

    def field(self, naming: Naming = "camel") -> str:
        """The name of the GraphQL field."""
        if self.name is not None:
            return field_name(self.name, naming)
        if self.resolver is not None:
            return field_name(self.resolver.name, naming)
        return table_field_name(self.table, naming) if self.table is not None else field_name(self.topic or "", naming)

    def as_json(self, naming: Naming, resolver_index: int | None) -> dict[str, Any]:
        """The structure that ``SubscriptionExecutor.start`` reads, see ``_engine.pyi``."""
        return {
            "name": self.field(naming),
            "table": self.table,
            "topic": self.topic,
            "tenant": self.tenant,
            "public": self.public,
            "replica_identity": self.replica_identity,
            "scopes": self.scopes,
            "operations": self.operations,
            "service": self.service,
            "resolver": self._resolver_json(naming, resolver_index),
            "slow_client": self.slow_client,
            "transactions": self.transactions,
        }

    def _resolver_json(self, naming: Naming, index: int | None) -> dict[str, Any] | None:
        if self.resolver is None:
            return None
        returns = self.resolver.returns(naming)
        shape = None if returns is None else returns.as_json()
        return {"index": index, "returns": shape, "leave": self.leave}

    def _problem(self) -> str | None:
        table: object = self.table
        if callable(table):
            return 'name the table: @subscription("orders"), not @subscription'
        if (self.table is None) == (self.topic is None):
            return 'name either a table or a topic: subscription("orders") or subscription(topic="alerts")'
        return self._wrong_text() or self._wrong_option() or self._wrong_transactions() or self._wrong_scope()

    def _wrong_text(self) -> str | None:
        for what in ("table", "topic", "tenant", "name", "service"):
            text: object = getattr(self, what)
            if text is not None and (not isinstance(text, str) or not text or "\0" in text):
                return f"{what} must be non-empty text, not {text!r}"
        if self.name is not None and not is_graphql_name(self.name):
            return f"name={self.name!r} is not a GraphQL name: use letters, digits and `_`, no leading digit or `__`"
        return None

    def _wrong_option(self) -> str | None:
        if self.tenant is not None and self.table is None:
            return "tenant names a column, so it needs a table; a message's tenant is given to publish()"
        if self.tenant is not None and self.public:
            return "tenant= hides rows of other tenants and public=True shows all rows: choose one"
        if self.replica_identity not in ("full", "keep"):
            return f'replica_identity must be "full" or "keep", not {self.replica_identity!r}'
        if self.slow_client not in (None, "disconnect", "coalesce"):
            return f'slow_client must be "disconnect" or "coalesce", not {self.slow_client!r}'
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            return f"timeout must be a positive number of seconds, not {self.timeout!r}"
        return None

    def _wrong_transactions(self) -> str | None:
        if self.transactions and self.table is None:
            return "transactions are changes of rows, so they need a table"
        if self.transactions and self.slow_client == "coalesce":
            return 'transactions=True delivers every change and slow_client="coalesce" skips some: choose one'
        return None

    def _wrong_scope(self) -> str | None:
        if not isinstance(self.scopes, tuple) or not all(isinstance(each, str) and each for each in self.scopes):
            return f'scopes must be a list of names such as ["orders:read"], not {self.scopes!r}'
        if self.operations is None:
            return None
        if not isinstance(self.operations, tuple) or not self.operations:
            return f'operations must be a list such as ["INSERT", "UPDATE"], not {self.operations!r}'
        unknown = [each for each in self.operations if each not in _OPERATIONS]
        if unknown:
            return f"operations may have {', '.join(_OPERATIONS)}, not {unknown[0]!r}"
        return None if self.table is not None else "operations are changes of rows, so they need a table"


class Subscription:
    """A declaration that waits for its function: use it as a decorator, or give it to a manager as it is."""

    def __init__(self, declaration: Declaration, taken: Callable[[Declaration], None] | None = None) -> None:
        self.declaration = declaration
        self._taken = taken

    def __call__(self, function: Function) -> Function:
        """Declare ``function`` as the resolver; it is returned unchanged."""
        completed = replace(self.declaration, resolver=Resolver.of(function))
        if self._taken is not None:
            self._taken(completed)
        else:
            _mark(function, completed)
        return function

    def __repr__(self) -> str:
        return f"Subscription({self.declaration.table or self.declaration.topic!r})"


def subscription(
    table: str | None = None,
    *,
    topic: str | None = None,
    tenant: str | None = None,
    public: bool = False,
    name: str | None = None,
    leave: bool = False,
    timeout: float | None = None,
    replica_identity: ReplicaIdentity = "full",
    scopes: Sequence[str] = (),
    operations: Sequence[Operation] | None = None,
    service: str | None = None,
    slow_client: SlowClient | None = None,
    transactions: bool = False,
) -> Subscription:
    """Declare a subscription field on a table or a topic; the arguments are those of `Declaration`.

    The decorated function is ``async def resolver(event, variables)`` (or ``def``: it then runs in a thread). It
    returns the field's value, or ``None`` to skip the event. Pass it to ``SubscriptionManager(subscriptions=[…])`` or
    ``include()``.

    Raises:
        ConfigurationError: ``DECLARATION_INVALID``, ``RESOLVER_INVALID`` or ``ANNOTATION_UNSUPPORTED``, while
        decorating.
    """
    return Subscription(
        Declaration(
            table,
            topic,
            tenant,
            public,
            name,
            leave,
            timeout,
            replica_identity,
            scopes,
            operations,
            service,
            slow_client=slow_client,
            transactions=transactions,
        )
    )


def declarations_in(source: object) -> list[Declaration]:
    """The declarations of a marked function, a module, a bare mark, or an iterable of these.

    Raises:
        ConfigurationError: ``DECLARATION_INVALID`` when there are none.
    """
    found = list(_found_in(source))
    if not found:
        raise ConfigurationError(
            f"{_shown(source)} declares no subscription; decorate a function with @subscription(…) first",
            code="DECLARATION_INVALID",
        )
    return found


def _found_in(source: object) -> Iterator[Declaration]:
    if isinstance(source, Subscription):
        yield source.declaration
    elif isinstance(source, types.ModuleType):
        yield from _found_in_module(source)
    elif callable(source):
        yield from getattr(source, _MARK, ())
    elif isinstance(source, Iterable) and not isinstance(source, str):
        for each in source:
            yield from declarations_in(each)


def _found_in_module(module: types.ModuleType) -> Iterator[Declaration]:
    """Functions that the module defines or imports, and bare marks that it names; each once."""
    seen: set[int] = set()
    for value in vars(module).values():
        marked = isinstance(value, Subscription) or (callable(value) and hasattr(value, _MARK))
        if marked and id(value) not in seen:
            seen.add(id(value))
            yield from _found_in(value)


def _mark(function: Callable[..., Any], declaration: Declaration) -> None:
    marks = (*getattr(function, _MARK, ()), declaration)
    try:
        setattr(function, _MARK, marks)
    except AttributeError:
        raise ConfigurationError(
            f"{_shown(function)} cannot be marked; decorate a plain function", code="DECLARATION_INVALID"
        ) from None


def _shown(source: object) -> str:
    return getattr(source, "__qualname__", None) or getattr(source, "__name__", None) or repr(source)
