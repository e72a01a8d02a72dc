"""The application's handle on rowcast: what to subscribe to, where changes come from, when it runs.

A manager is an ordinary object: no global state, several live in one process. Starting it connects to PostgreSQL,
applies migrations, watches the declared tables and starts the capture; stopping it closes every socket with 1001
(clients reconnect and resume from their cursor) and releases all resources. It can be started again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rowcast._engine import EventBusConfig, SubscriptionExecutor
from rowcast.declare.declaration import Declaration, Operation, ReplicaIdentity, Subscription, declarations_in
from rowcast.declare.fields import Fields
from rowcast.declare.naming import Naming
from rowcast.engine_log import ask_level, drain_log
from rowcast.errors import ConfigurationError, NotStarted, PublishError, RowcastError
from rowcast.limits import RequestLimits
from rowcast.principal import Principal
from rowcast.resolvers import ResolverPool
from rowcast.settings import Attribute, Capture, Rate, Settings, SlowClient
from rowcast.source import Source
from rowcast.transport.bridge import RESOLVER_CALLS, LoopBridge

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("rowcast")

STOP_WAIT_S = 5.0
_CLOSE_WAIT_S = 2.0


class SubscriptionManager:
    """Subscriptions on one database, or on none.

    Args:
        database_url: A libpq URL or key=value string. Without it ``ROWCAST_DATABASE_URL``; without that an embedded
            PostgreSQL in ``.rowcast/postgres`` (extra ``embedded``).
        bus: Where events come from, instead of ``database_url``: ``EventBusConfig.memory()`` needs no database.
        subscriptions: Functions marked with `rowcast.subscription`, bare marks, or modules that contain them.
        naming: ``"camel"``, or ``"database"`` to leave names as they are.
        auto_migrate: Apply pending migrations at start; if False, `migrate` or ``rowcast migrate`` must have done it.
        queue_bytes_max: Bytes that may wait for one client; then as ``slow_client`` says.
        queue_age_max_s: Seconds that the oldest frame may wait for one client; then the same.
        init_wait_s: Seconds that a client has to send connection_init; then 4408.
        ping_interval_s: Seconds between pings.
        pong_timeout_s: Seconds that a client has to answer one; then the socket is dropped.
        operations_max: Operations that one client may have at once; one more is refused with an error.
        message_bytes_max: Bytes of one message of a client; then the socket is closed.
        resolver_backlog_bytes_max: Bytes of events that may wait for one resolver with one set of variables; then their
            subscriptions end with ``RESOLVER_OVERLOADED``.
        resolver_concurrency: Calls of one resolver that run at once. Memory: that many tasks for each resolver in use;
            for ``def`` resolvers that many threads.
        resolver_timeout_s: Seconds that one call may take; then an error ``RESOLVER_TIMEOUT`` for its subscribers.
        introspection: Whether clients may ask for the schema.
        public_introspection: Whether HTTP clients may read the schema without asking the ``authenticate`` hook.
            By default the hook is asked for every query.
        serve_watched: Whether tables that are watched but not declared are fields too, without the scopes, operations
            or resolver of any declaration; their tenant column, row policies and grants apply. By default a manager
            serves only its declared tables.
        service: This service's name in a federated graph; then the schema is an Apollo Federation 2 subgraph, fields of
            other services are refused, and so are principals whose ``services`` do not contain it.
        protected_variables: GraphQL variables that must equal an attribute of the principal (``"tenant_id"`` or
            ``"user_id"``), by name; else ``SCOPE_VARIABLE_FORBIDDEN``. By default ``tenantId``, ``tenant_id``,
            ``userId`` and ``user_id``; ``{}`` for none.
        limits: Rates as ``{"subscribes": {"per_s": 10, "burst": 100}}``; a rate of ``None`` disables a limit, a missing
            rate has its default: ``connects`` of an address (no limit; beyond it 1013), ``subscribes`` of a
            principal (1,000/s, 20,000 at once; an ``error`` with ``RATE_LIMITED``), ``messages`` of a principal
            (5,000/s, 100,000 at once; 4429), ``delegated``: subscriptions whose row policy is delegated to
            PostgreSQL (100/s, 2,000 at once; as ``subscribes``).
        policy_sessions: Connections that evaluate delegated row policies; 2 to 64,
            since one is reserved for policies that are slow or raise. Opened when first needed. By default 4.
        policy_timeout_s: Seconds after which such an evaluation is cancelled and retried; after about five seconds of
            failures its subscriptions end with ``POLICY_FAILED``. By default 1.
        policy_backlog_bytes_max: Bytes of events that may wait for one such policy, as one role with the same settings;
            then the subscriptions that an event matches end with ``POLICY_OVERLOADED``. By default 16 MiB.
        replay_window_bytes: Bytes of recent events that are kept for subscribers that resume from a cursor; the slot
            keeps their WAL, so that they survive a restart. By default 64 MiB.
        replay_window_s: Seconds that they are kept. By default 300.
        slot_idle_s: Seconds after which a slot of the pool that no process streams from is dropped. By default 3600.
        slot: The name of the pool of replication slots, shared by all processes of an application: the first streams
            from the slot of that name, others from ``name_2``, ``name_3`` and so on. Slots belong to the cluster: two
            databases do not share a slot. By default ``ROWCAST_SLOT``, else ``rowcast_db`` and the database's OID.
        publication: The publication, shared by all.
        capture: How changes are captured. ``"wal"``: the replication stream, which costs writers least. ``"outbox"``:
            triggers that append to a table, for databases without logical replication. ``"auto"``: the outbox if the
            database has one, else the stream where ``wal_level`` and the role allow it, else the outbox. By default
            ``ROWCAST_CAPTURE``, else ``"auto"``.
        debug: Send clients the text of exceptions in hooks and resolvers. Never in production.
        held_bytes_max: Bytes that a client may send while it is being authenticated; then the socket is closed.
        request_limits: How large one GraphQL request may be.
        slow_client: What happens to a client that reads slower than events arrive. ``"disconnect"`` closes it with
            1013 and its last cursor, so that it misses nothing. ``"coalesce"`` keeps the latest result of each row (and
            that a row left the view), with ``extensions.rowcast.coalesced`` for how many events it stands; what still
            does not fit closes it. A declaration's own ``slow_client`` comes first.

    Raises:
        ConfigurationError: A setting or a declaration is wrong; the message names it.
    """

    def __init__(
        self,
        database_url: str | None = None,
        *,
        bus: EventBusConfig | None = None,
        subscriptions: Iterable[object] = (),
        naming: Naming = "camel",
        auto_migrate: bool = True,
        queue_bytes_max: int | None = None,
        queue_age_max_s: float | None = None,
        init_wait_s: float = 3.0,
        ping_interval_s: float = 12.0,
        pong_timeout_s: float = 12.0,
        operations_max: int = 100,
        message_bytes_max: int | None = None,
        resolver_backlog_bytes_max: int | None = None,
        resolver_concurrency: int = 32,
        resolver_timeout_s: float = 30.0,
        introspection: bool = True,
        public_introspection: bool = False,
        serve_watched: bool = False,
        service: str | None = None,
        protected_variables: Mapping[str, Attribute] | None = None,
        limits: Mapping[str, Rate | None] | None = None,
        policy_sessions: int | None = None,
        policy_timeout_s: float | None = None,
        policy_backlog_bytes_max: int | None = None,
        replay_window_bytes: int | None = None,
        replay_window_s: float | None = None,
        slot_idle_s: float | None = None,
        slot: str | None = None,
        publication: str = "rowcast",
        debug: bool = False,
        held_bytes_max: int | None = None,
        request_limits: RequestLimits | None = None,
        slow_client: SlowClient = "disconnect",
        capture: Capture | None = None,
    ) -> None:
        self.settings = Settings(
            naming,
            auto_migrate,
            queue_bytes_max,
            queue_age_max_s,
            init_wait_s,
            ping_interval_s,
            pong_timeout_s,
            operations_max,
            message_bytes_max,
            resolver_backlog_bytes_max,
            resolver_concurrency,
            resolver_timeout_s,
            introspection,
            public_introspection,
            serve_watched,
            slot,
            publication,
            debug,
            service,
            protected_variables,
            limits,
            policy_sessions,
            policy_timeout_s,
            policy_backlog_bytes_max,
            replay_window_bytes,
            replay_window_s,
            slot_idle_s,
            held_bytes_max,
            request_limits or RequestLimits(),
            slow_client,
            capture,
        )
        self._source = Source(database_url, bus, slot=slot, publication=publication, capture=capture)
        self._declarations: list[Declaration] = []
        self._engine: SubscriptionExecutor | None = None
        self._bridges: dict[asyncio.AbstractEventLoop, LoopBridge] = {}
        self._resources = AsyncExitStack()
        self._changing = asyncio.Lock()
        self.has_run = False
        self.include(*subscriptions)

    # What to subscribe to

    def subscription(
        self,
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
        """Declare a field, and decorate its resolver: ``@manager.subscription("orders", tenant="tenant_id")``.

        Without decorating anything the field gives the event envelope. The arguments are those of
        `rowcast.subscription`.

        Raises:
            ConfigurationError: The declaration is wrong, or the manager is running.
        """
        declared = Declaration(
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
        self._declare(declared)
        return Subscription(declared, lambda completed: self._replace(declared, completed))

    def include(self, *subscriptions: object) -> None:
        """Add what `rowcast.subscription` marked: functions, bare marks, or modules that contain them."""
        for declaration in declarations_in(subscriptions) if subscriptions else ():
            self._declare(declaration)

    @property
    def declarations(self) -> Sequence[Declaration]:
        """What was declared, in its order."""
        return tuple(self._declarations)

    def _declare(self, declaration: Declaration) -> None:
        if self._engine is not None:
            raise ConfigurationError("subscriptions are declared before the manager starts", code="ALREADY_STARTED")
        self._declarations.append(declaration)

    def _replace(self, declared: Declaration, completed: Declaration) -> None:
        self._declarations = [each for each in self._declarations if each is not declared]
        self._declare(completed)

    # When it runs

    async def start(self) -> None:
        """Connect, migrate, watch the declared tables, start the capture. Does nothing when it runs already.

        Raises:
            RowcastError: ``ConfigurationError``, ``ConnectionFailed``, ``MigrationError``, ``DatabaseError``,
                ``SchemaError`` or ``CaptureError``; nothing is left running.
        """
        async with self._changing:
            if self._engine is None:
                await self._start(Fields.of(self._declarations, self.settings))

    async def _start(self, fields: Fields) -> None:
        async with AsyncExitStack() as resources:
            bus = await resources.enter_async_context(self._opened())
            engine = SubscriptionExecutor(bus, settings=self.settings.as_json())
            resources.callback(self._close_bridges)
            self._bridge_of(asyncio.get_running_loop()).follow_log()
            self._connect_resolvers(engine, fields, resources)
            resources.push_async_callback(self._stop_engine, engine)
            await asyncio.to_thread(engine.start, fields.as_json())
            self._engine = engine
            self.has_run = True
            self._resources = resources.pop_all()

    def _connect_resolvers(self, engine: SubscriptionExecutor, fields: Fields, resources: AsyncExitStack) -> None:
        """Calls are announced on this loop, so resolvers run where the manager was started."""
        settings = self.settings
        pool = ResolverPool(engine, fields.tasks, concurrency=settings.resolver_concurrency, debug=settings.debug)
        bridge = self._bridge_of(asyncio.get_running_loop())
        bridge.add(RESOLVER_CALLS, pool)
        engine.resolve_on(bridge.hub)
        resources.push_async_callback(pool.close)

    async def stop(self, timeout_s: float = STOP_WAIT_S) -> None:
        """Close every socket with 1001, release the slot, stop all threads. Does nothing when it is not running.

        Args:
            timeout_s: Seconds that clients have to take their last frames.
        """
        async with self._changing:
            self._stop_wait_s = timeout_s
            await self._resources.aclose()

    _stop_wait_s = STOP_WAIT_S

    async def _stop_engine(self, engine: SubscriptionExecutor) -> None:
        self._engine = None
        await asyncio.to_thread(engine.stop, self._stop_wait_s)
        bridge = self._bridges.get(asyncio.get_running_loop())
        if bridge is not None:
            await bridge.drained(_CLOSE_WAIT_S)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """For ``FastAPI(lifespan=manager.lifespan)`` and ``Starlette(lifespan=manager.lifespan)``."""
        try:
            await self.start()
        except RowcastError as error:
            # A server that does not start prints the error as a traceback, which does not have its code.
            _log.error("cannot start the application: %s code=%s", error, error.code)
            raise
        try:
            yield
        finally:
            await self.stop()

    # What it does

    @property
    def executor(self) -> SubscriptionExecutor:
        """The running engine. Raises `NotStarted`."""
        if self._engine is None:
            raise NotStarted(
                "the manager is not running",
                hint="use lifespan=manager.lifespan, `async with manager` or manager.start()",
            )
        return self._engine

    @property
    def database_url(self) -> str | None:
        """The database in use, with its password; ``None`` for a given ``bus``.

        An embedded server has a URL while it runs.
        """
        return self._source.url

    async def migrate(self) -> list[str]:
        """Apply pending migrations; the names of those applied.

        The manager need not be running. Raises `MigrationError`.
        """
        if self._engine is not None:
            return await asyncio.to_thread(self._engine.migrate)
        async with self._opened() as bus:
            return await asyncio.to_thread(SubscriptionExecutor(bus, settings=self.settings.as_json()).migrate)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The database's URL before the manager runs, with the embedded server started: for migrations of your own.

        Raises:
            ConfigurationError: The manager was given a ``bus``.
        """
        async with self._opened():
            if self.database_url is None:
                raise ConfigurationError("a manager with a bus of its own has no database URL", code="NO_DATABASE")
            yield self.database_url

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[EventBusConfig]:
        bus = await asyncio.to_thread(self._source.open)
        ask_level()
        try:
            yield bus
        finally:
            drain_log()
            await asyncio.to_thread(self._source.close)

    async def publish(self, topic: str, payload: object, *, tenant: str | None = None) -> None:
        """Publish a message, committed when this returns.

        Inside a transaction of your own use ``select rowcast.publish(…)``.

        Args:
            topic: The topic of a ``subscription(topic=…)`` field.
            payload: JSON values.
            tenant: The tenant that may receive it; ``None`` for all subscribers.

        Raises:
            PublishError: It was not published; ``PAYLOAD_NOT_JSON`` when it cannot be written as JSON.
            NotStarted: The manager is not running.
        """
        text = json_text(payload)
        await asyncio.to_thread(self.executor.publish, topic, text, tenant)

    def execute(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        operation_name: str | None = None,
        *,
        principal: Principal | None = None,
    ) -> dict[str, Any]:
        """Answer a query (introspection, a federated graph's ``_entities``) with a GraphQL response.

        Args:
            query: The document.
            variables: Its variables, JSON values.
            operation_name: Which of its operations.
            principal: Needed to read rows by key: PostgreSQL reads them as this principal, and the call blocks.
                Without it such a query fails with ``PRINCIPAL_REQUIRED``.

        Returns:
            ``data``, ``errors`` or both.
        """
        given = None if variables is None else json.dumps(variables)
        response: dict[str, Any] = json.loads(self.executor.execute(query, given, operation_name, principal=principal))
        return response

    async def schema(self) -> str:
        """The GraphQL schema in SDL.

        When the manager is not running, the one that it would serve: raises as `start` does, but takes no slot.
        """
        if self._engine is not None:
            return self._engine.schema()
        fields = Fields.of(self._declarations, self.settings).as_json()
        async with self._opened() as bus:
            return await asyncio.to_thread(SubscriptionExecutor(bus, settings=self.settings.as_json()).describe, fields)

    async def revoke(
        self,
        *,
        user_id: str | UUID | int | None = None,
        tenant_id: str | UUID | int | None = None,
        role: str | None = None,
    ) -> int:
        """Withdraw access: sockets close with 4403, registered subscriptions end with ``REVOKED``.

        This process closes its sockets at once and drops what waits for them; every other process of the database does
        so in the order of commits. A connection whose ``authenticate`` hook is running is checked when it answers.
        Stock clients reconnect and authenticate again, so change what the hook reads first; or call
        ``select rowcast.revoke(user_id => …)`` in the transaction that changes it.

        Args:
            user_id: Selects principals, as do the other two. All given values must match.
            tenant_id: See ``user_id``.
            role: See ``user_id``.

        Returns:
            How many open sockets of this process are being closed.

        Raises:
            ConfigurationError: ``SELECTOR_MISSING``: nothing was given.
            DatabaseError: The request could not be sent to the other processes; the sockets of this one are closed.
                `RowcastError` for other reasons.
            NotStarted: The manager is not running.
        """
        who = {"user_id": _text(user_id), "tenant_id": _text(tenant_id), "role": role}
        return await asyncio.to_thread(partial(self.executor.revoke, **who))

    async def disconnect(
        self,
        *,
        user_id: str | UUID | int | None = None,
        tenant_id: str | UUID | int | None = None,
        role: str | None = None,
        code: int = 1012,
        reason: str = "Service restart",
    ) -> int:
        """Close the selected sockets after their queued frames; registered subscriptions continue.

        This process does so at once, every other process of the database in the order of commits;
        ``select rowcast.disconnect(user_id => …)`` does so with a transaction.

        Args:
            user_id: As for `revoke`, like the other two.
            tenant_id: See ``user_id``.
            role: See ``user_id``.
            code: 1000, 1001, 1012, 1013 or any from 3000 to 4999. Stock clients reconnect after all but 4400, 4401,
                4406, 4409, 4429 and 4500.
            reason: For the client's log; cut to 123 bytes.

        Returns:
            How many open sockets of this process are being closed.

        Raises:
            DatabaseError: As for `revoke`.
            ConfigurationError: ``SELECTOR_MISSING`` or ``CLOSE_CODE_INVALID``.
            NotStarted: The manager is not running.
        """
        who = {"user_id": _text(user_id), "tenant_id": _text(tenant_id), "role": role}
        return await asyncio.to_thread(partial(self.executor.disconnect, **who, code=code, reason=reason))

    def metrics(self) -> dict[str, int]:
        """Counters and gauges by name. Raises `NotStarted`."""
        return self.executor.metrics()

    async def status(self) -> dict[str, Any]:
        """Slot, lag, tables and sessions, as ``rowcast status --json`` prints them. Raises `NotStarted`."""
        status: dict[str, Any] = json.loads(await asyncio.to_thread(self.executor.status))
        return status

    # For handlers

    def bridge(self) -> LoopBridge:
        """The running loop's door to the engine. Raises `NotStarted`."""
        if self._engine is None:
            raise NotStarted("the manager is not running")
        return self._bridge_of(asyncio.get_running_loop())

    def _bridge_of(self, loop: asyncio.AbstractEventLoop) -> LoopBridge:
        bridge = self._bridges.get(loop)
        if bridge is None:
            for closed in [each for each in list(self._bridges) if each.is_closed()]:
                self._bridges.pop(closed).close()
            bridge = self._bridges[loop] = LoopBridge(loop)
        return bridge

    def _close_bridges(self) -> None:
        """Each on its own loop; a loop that is gone needs no more than to be forgotten."""
        here = asyncio.get_running_loop()
        bridges, self._bridges = self._bridges, {}
        for loop, bridge in bridges.items():
            if loop is here or loop.is_closed():
                bridge.close()
            else:
                loop.call_soon_threadsafe(bridge.close)


def _text(identity: str | UUID | int | None) -> str | None:
    """As `Principal` keeps it."""
    return None if identity is None else str(identity)


def json_text(payload: object) -> str:
    """A message's payload. Raises `PublishError` with ``PAYLOAD_NOT_JSON``."""
    try:
        return json.dumps(payload, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise PublishError(f"the payload cannot be written as JSON: {error}", code="PAYLOAD_NOT_JSON") from error
