"""A manager whose database is the test.

It is a `SubscriptionManager` in everything but its source: fields, settings, resolvers, hooks and mounts are used as
they are. Changes come from `MemoryManager.emit`, time from `MemoryManager.clock`.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from rowcast._engine import EventBusConfig
from rowcast.errors import ConfigurationError, Forbidden
from rowcast.manager import STOP_WAIT_S, SubscriptionManager, json_text
from rowcast.principal import Principal
from rowcast.settings import Settings
from rowcast.source import Source
from rowcast.testing.client import WAIT_S, Client
from rowcast.testing.clock import Clock
from rowcast.testing.errors import ConnectionClosed, PoliciesMissing, Unsettled
from rowcast.testing.tables import Table
from rowcast.transport.connection import Connection, Headers, Payload, parse_cookies
from rowcast.transport.hook import Authenticate, checked, principal_of

if TYPE_CHECKING:
    from typing_extensions import Self

Operation = Literal["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
Row = Mapping[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SPINS = 100
_GLANCE_S = 0.001


@dataclass(frozen=True)
class Change:
    """One change of a table, for `MemoryManager.commit`; made by `insert`, `update`, `delete` and `truncate`."""

    table: str
    operation: Operation
    old: Row | None = None
    new: Row | None = None


def insert(table: str, new: Row) -> Change:
    """A new row; columns that are left out are NULL."""
    return Change(table, "INSERT", new=new)


def update(table: str, *, old: Row, new: Row) -> Change:
    """A changed row; what ``old`` leaves out was as in ``new``."""
    return Change(table, "UPDATE", old, new)


def delete(table: str, old: Row) -> Change:
    """A row that is gone; columns that are left out were NULL."""
    return Change(table, "DELETE", old)


def truncate(table: str) -> Change:
    """A table that was emptied."""
    return Change(table, "TRUNCATE")


@dataclass(frozen=True)
class Emitted:
    """What was committed.

    Attributes:
        operation: ``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE`` or ``MESSAGE``.
        cursor: As its results carry it, for ``subscribe(after=…)``.
        committed_at: In UTC.
    """

    operation: str
    cursor: str
    committed_at: datetime


class MemoryManager(SubscriptionManager):
    """A manager without a database.

    Args:
        tables: Every table that a subscription is declared on.
        roles: Database roles that principals may have, beside those that tables' grants and policies name.
        clock: The time; by default one that stands where the machine's is now.
        subscriptions: As for `SubscriptionManager`.
        settings: The other arguments of `SubscriptionManager`, but ``database_url`` and ``bus``.

    Raises:
        ConfigurationError: A setting, a declaration or a table is wrong.
    """

    def __init__(
        self,
        *,
        tables: Iterable[Table] = (),
        roles: Iterable[str] = (),
        clock: Clock | None = None,
        subscriptions: Iterable[object] = (),
        **settings: Any,
    ) -> None:
        super().__init__(bus=EventBusConfig.memory(), subscriptions=subscriptions, **settings)
        self.clock = clock or Clock()
        self.tables = tuple(tables)
        self.roles = _roles(roles, self.tables)
        self._source = _Rehearsal(self._rehearsal)
        self._clients: list[Client] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def of(
        cls,
        manager: SubscriptionManager,
        *,
        tables: Iterable[Table] = (),
        roles: Iterable[str] = (),
        clock: Clock | None = None,
        **settings: Any,
    ) -> Self:
        """A twin of an application's manager: its declarations as they are now, and its settings.

        Args:
            manager: It is not started and not changed.
            tables: See `MemoryManager`, like the other two.
            roles: See ``tables``.
            clock: See ``tables``.
            settings: In place of the application's.
        """
        given = {each.name: getattr(manager.settings, each.name) for each in fields(Settings)}
        twin = cls(tables=tables, roles=roles, clock=clock, **{**given, **settings})
        twin._declarations = list(manager.declarations)
        return twin

    # What happens

    def emit(
        self,
        table: str,
        operation: Operation,
        *,
        old: Row | None = None,
        new: Row | None = None,
        committed_at: datetime | None = None,
    ) -> Emitted:
        """Commit one change. When this returns it was matched, gated and delivered, or handed to its resolver.

        Args:
            table: As it was declared.
            operation: What happened; INSERT has ``new``, DELETE has ``old``, UPDATE has both.
            old: The row before, Python values by column names. Of an UPDATE what is left out was as in ``new``; with
                ``replica_identity="default"`` the engine sees the key alone.
            new: The row after; columns that are left out are NULL.
            committed_at: An aware ``datetime``; by default what the clock shows.

        Raises:
            ConfigurationError: ``TABLE_UNKNOWN``, ``COLUMN_UNKNOWN``, ``ROW_INVALID`` or ``OPERATION_MISMATCH``.
            NotStarted: The manager is not running.
        """
        return self.commit(Change(table, operation, old, new), committed_at=committed_at)[0]

    def commit(self, *changes: Change, committed_at: datetime | None = None) -> list[Emitted]:
        """Commit several changes in one transaction; arguments and errors as for `emit`."""
        return self._commit([self._written(change) for change in changes], committed_at)

    def message(
        self, topic: str, payload: object, *, tenant: str | None = None, committed_at: datetime | None = None
    ) -> Emitted:
        """Commit a message, as `publish` does, and return its cursor.

        Args:
            topic: The topic of a ``subscription(topic=…)`` field.
            payload: JSON values.
            tenant: The tenant that may receive it; ``None`` for all subscribers.
            committed_at: As for `emit`.

        Raises:
            NotStarted: The manager is not running.
            PublishError: ``PAYLOAD_NOT_JSON``: it cannot be written as JSON.
        """
        message = {"operation": "MESSAGE", "topic": topic, "tenant": tenant, "payload": json_text(payload)}
        return self._commit([message], committed_at)[0]

    async def settle(self, timeout_s: float = WAIT_S) -> None:
        """Wait until everything that was emitted has had all its effects: resolvers have answered, replays have ended.

        Args:
            timeout_s: Seconds of the machine's time after which that is given up.

        Raises:
            Unsettled: The message says what is not over.
            NotStarted: The manager is not running.
        """
        loop = asyncio.get_running_loop()
        deadline, turns = loop.time() + timeout_s, 0
        while any(waiting := self.executor.unsettled()):
            self._pump()
            if loop.time() >= deadline:
                calls, replays, endings = waiting
                raise Unsettled(
                    f"not finished after {timeout_s:g} s: {calls} resolver calls, {replays} replays, {endings} endings"
                )
            turns += 1
            await asyncio.sleep(0 if turns < _SPINS else _GLANCE_S)
        self._pump()

    # Clients

    async def client(
        self,
        principal: Principal | None = None,
        *,
        authenticate: Authenticate | None = None,
        payload: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        expires_in: float | None = None,
        **attributes: Any,
    ) -> Client:
        """Connect a client. Starts the manager if it is not running.

        Args:
            principal: Who; or
            authenticate: the application's hook, which is then asked; or
            payload: What the hook is shown of ``connection_init``.
            headers: What it is shown of the request; cookies are read from ``cookie``.
            query: What it is shown of the URL.
            expires_in: Seconds by `clock` after which the principal's token ends.
            attributes: ``tenant_id``, ``user_id``, ``role``, ``scopes``, ``claims``, ``settings``, ``services``,
                ``expires_at``: those of `Principal`.

        Raises:
            ConnectionClosed: The hook raised `Forbidden` (4403), or the token has ended.
            PrincipalError: An attribute is wrong.
            Exception: What else the hook raises, as it is; a served client would see 4500.
        """
        checked(authenticate)
        await self.start()
        bridge = self.bridge()
        client = Client(self, self.executor.connect(bridge.hub), bridge)
        self._clients.append(client)
        client.join()
        client.send(type="connection_init", payload=dict(payload or {}))
        try:
            if authenticate is not None:
                principal = await self._ask(client, authenticate, payload, headers, query)
            client.enter(self._principal(principal, expires_in, attributes))
            # A token that has ended already closes the connection now, and not when the engine next looks at timers.
            self._advance(0.0)
            client.raise_closed()
        except BaseException:
            client.close()
            raise
        return client

    def forget(self, client: Client) -> None:
        """A client is gone. For `Client`."""
        if client in self._clients:
            self._clients.remove(client)

    # Life

    async def start(self) -> None:
        """As `SubscriptionManager.start`, on this event loop; warns of tables that show no row (`PoliciesMissing`)."""
        if self._engine is None:
            for table in self.tables:
                if table.lacks_policies:
                    text = f"table {table.name} has row-level security and no policies: all its rows are hidden. "
                    warnings.warn(
                        text + "Give policies=[…], or test it against a server", PoliciesMissing, stacklevel=2
                    )
        await super().start()
        self._loop = asyncio.get_running_loop()
        self.clock.drive(self._advance)

    async def stop(self, timeout_s: float = STOP_WAIT_S) -> None:
        """As `SubscriptionManager.stop`; every client is closed with 1001."""
        self.clock.drive(None)
        for client in list(self._clients):
            client.reads = True
        await super().stop(timeout_s)

    def close(self) -> None:
        """Stop from outside the event loop, also when that is closed already. Idempotent. For fixtures."""
        engine, loop = self._engine, self._loop
        if engine is None or loop is None:
            return
        if not loop.is_closed() and not loop.is_running():
            loop.run_until_complete(self.stop(0.0))
        else:
            self.clock.drive(None)
            self._engine = None
            engine.stop(0.0)
            self._close_abandoned()

    def _close_abandoned(self) -> None:
        for bridge in self._bridges.values():
            bridge.close()
        self._bridges.clear()
        self._clients.clear()

    def _rehearsal(self) -> EventBusConfig:
        tables = json.dumps([table.as_json() for table in self.tables])
        return EventBusConfig.rehearsal(tables, list(self.roles), self.clock.now_us)

    def _advance(self, seconds: float) -> int:
        left = self.executor.advance(seconds)
        self._pump()
        while left > 0:
            left = self.executor.advance(left)
            self._pump()
        return self.executor.date_us()

    def _pump(self) -> None:
        for client in list(self._clients):
            client.pump()

    def _commit(self, changes: Sequence[Mapping[str, Any]], committed_at: datetime | None) -> list[Emitted]:
        at_us = self.clock.now_us if committed_at is None else _micros(committed_at)
        cursors = self.executor.commit(json.dumps(changes), at_us)
        self._pump()
        told = _EPOCH + timedelta(microseconds=at_us)
        return [Emitted(change["operation"], cursor, told) for change, cursor in zip(changes, cursors, strict=True)]

    def _written(self, change: Change) -> dict[str, Any]:
        table, wrong = self._table(change.table), _mismatch(change)
        if wrong is not None:
            raise ConfigurationError(f"{change.operation} of {change.table}: {wrong}", code="OPERATION_MISMATCH")
        written: dict[str, Any] = {"operation": change.operation, "table": change.table}
        if change.new is not None:
            written["new"] = table.row("new", change.new)
        if change.old is not None:
            written["old"] = table.row("old", {**(change.new or {}), **change.old})
        return written

    def _table(self, name: str) -> Table:
        """By its name with or without a schema, as the engine finds it."""
        schema, _, bare = name.replace('"', "").rpartition(".")
        fitting = [each for each in self.tables if each.name.lower() == bare.lower()]
        for table in sorted(fitting, key=lambda each: each.schema != (schema or "public")):
            if not schema or table.schema.lower() == schema.lower():
                return table
        known = ", ".join(each.name for each in self.tables) or "none"
        raise ConfigurationError(f"unknown table {name}; tables= has {known}", code="TABLE_UNKNOWN")

    async def _ask(
        self,
        client: Client,
        hook: Authenticate,
        payload: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
    ) -> Principal:
        shown = Headers((headers or {}).items())
        connection = Connection(
            shown, parse_cookies(shown.get("cookie", "")), Payload(payload or {}), dict(query or {})
        )
        try:
            return await principal_of(hook, connection)
        except Forbidden as refusal:
            client.refuse(4403, "Forbidden")
            raise client.closed or ConnectionClosed(4403, "Forbidden") from refusal

    def _principal(
        self, principal: Principal | None, expires_in: float | None, attributes: Mapping[str, Any]
    ) -> Principal:
        if expires_in is not None:
            attributes = {**attributes, "expires_at": self.clock.time() + expires_in}
        if principal is not None and attributes:
            raise ConfigurationError(f"give a principal or its attributes, not both: {', '.join(attributes)}")
        return principal or Principal(**attributes)


class _Rehearsal(Source):
    """In place of a database."""

    def __init__(self, make: Callable[[], EventBusConfig]) -> None:
        super().__init__(None, EventBusConfig.memory(), slot="", publication="")
        self._make = make

    def open(self) -> EventBusConfig:
        super().open()
        return self._make()


def _roles(given: Iterable[str], tables: Iterable[Table]) -> tuple[str, ...]:
    named = [role for table in tables for role in (*table.grants, *(r for p in table.policies for r in p.roles))]
    return tuple(dict.fromkeys([*given, *named]))


def _mismatch(change: Change) -> str | None:
    wanted = {"INSERT": (False, True), "UPDATE": (True, True), "DELETE": (True, False), "TRUNCATE": (False, False)}
    if change.operation not in wanted:
        return f"the operation is one of {', '.join(wanted)}"
    if (change.old is not None, change.new is not None) == wanted[change.operation]:
        return None
    return "INSERT has new=, DELETE has old=, UPDATE has both (in old= what has changed is enough), TRUNCATE none"


def _micros(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ConfigurationError("committed_at has no time zone; use datetime(…, tzinfo=timezone.utc)")
    return (moment - _EPOCH) // timedelta(microseconds=1)
