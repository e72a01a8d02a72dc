"""The Rust engine. Everything here is native; ``python -m mypy.stubtest rowcast._engine`` holds this file true."""

from datetime import datetime
from typing import Any, final

from typing_extensions import Never, Self

from rowcast.principal import Principal

__all__ = [
    "Call",
    "Event",
    "EventBusConfig",
    "GraphQLRequest",
    "Hub",
    "Session",
    "SubscriptionExecutor",
    "__version__",
    "set_log_level",
    "take_log",
]

__version__: str

def set_log_level(level: int) -> None:
    """The least level that the engine writes, from 0 to 255 as ``logging`` counts; 30 until this is called."""

def take_log(limit: int) -> tuple[int, list[tuple[int, str, str, float, str, int]]]:
    """How many lines were dropped since the last call, and up to ``limit`` of those that wait.

    Each is level, logger, text on one line, seconds since 1970, source file and line. A process has one list of them,
    begun by its first ``SubscriptionExecutor``.
    """

@final
class EventBusConfig:
    """Where events come from."""

    @staticmethod
    def memory() -> EventBusConfig:
        """Events that this process publishes, kept nowhere: for tests and for single-process use without PostgreSQL."""

    @staticmethod
    def rehearsal(tables: str, roles: list[str], begins_at_us: int) -> EventBusConfig:
        """Changes and time that a test supplies; ``rowcast.testing`` builds these arguments.

        ``tables`` is a JSON array of ``{"schema", "name", "columns": [{"name", "type", "labels": [str], "not_null"}],
        "key": [column], "key_only", "row_security", "policies": [{"name", "permissive", "roles": [role], "using"}],
        "grants": {role: [column]}}``; ``begins_at_us`` is the clock's first value, in microseconds since 1970.

        Raises ``ValueError`` if ``tables`` is not such an array; ``start`` reports tables that are not valid.
        """

    @staticmethod
    def postgresql(
        url: str | None = None,
        *,
        slot: str | None = None,
        publication: str = "rowcast",
        capture: str = "auto",
    ) -> EventBusConfig:
        """Committed changes of a PostgreSQL database.

        ``url`` is a libpq URL or key=value string; unset parts come from the ``PG*`` environment variables.
        ``slot`` and ``publication`` are created if they do not exist; without ``slot`` it is ``rowcast_db`` and the
        database's OID. ``capture`` is ``"wal"`` (the replication stream), ``"outbox"`` (triggers) or ``"auto"``: the
        outbox if the database has one, else the stream if the server allows it, else the outbox.

        Raises ``ValueError`` for another ``capture``.
        """

    @property
    def kind(self) -> str:
        """``"memory"`` or ``"postgresql"``."""

    @property
    def database(self) -> str | None:
        """Which database, as ``user@host:port/name`` without the password; ``None`` for a bus without one.

        Raises ``ConnectionFailed`` when the URL is malformed.
        """

@final
class SubscriptionExecutor:
    """The engine: capture, matching, security, serialization and delivery for one process.

    An executor that is dropped without ``stop`` closes its sessions without waiting. After a fork it belongs to
    the parent: in the child its methods raise ``ConfigurationError`` with ``FORKED``.
    """

    def __new__(cls, bus: EventBusConfig, *, settings: str = "{}") -> Self:
        """``settings`` is a JSON object, see docs/reference/settings.md. Raises ``ConfigurationError``."""

    def migrate(self, *, dry_run: bool = False) -> list[str]:
        """Apply the embedded migrations that the database lacks, or only list them; returns their names.

        Blocks; needs no ``start``. Raises ``MigrationError`` or ``ConnectionFailed``.
        """

    def start(self, fields: str = "[]") -> None:
        """Connect, watch the declared tables, build the schema and start the capture. Blocks.

        ``fields`` is a JSON array of subscription fields, see ``rowcast.declare.declaration.Declaration.as_json``::

            {"name", "table", "topic", "tenant", "public", "replica_identity": "full" | "keep",
             "scopes": [name], "operations": null | ["INSERT" | "UPDATE" | "DELETE" | "TRUNCATE"], "service",
             "resolver": null | {"index", "leave",
                                 "returns": null | {"type", "objects": [{"name", "description", "fields":
                                                    [{"name", "attribute", "type", "description"}]}],
                                                    "enums": [{"name", "values"}]}}}

        A key that is not among these is refused by name. Raises ``ConfigurationError``, ``ConnectionFailed``,
        ``CaptureError`` or ``SchemaError``.
        """

    def describe(self, fields: str = "[]") -> str:
        """The schema that ``start(fields)`` would serve, in SDL. Watches the declared tables; takes no slot. Blocks.

        Raises as ``start`` does.
        """

    def stop(self, timeout: float = 5.0) -> None:
        """Close every session with 1001, release the slot, stop all threads. Blocks for ``timeout`` seconds at most.

        Idempotent, and harmless when ``start`` failed or was never called. Sessions stay usable until ``disconnect``;
        calls that are still out may be finished or failed, without effect.
        """

    def schema(self) -> str:
        """The GraphQL schema in SDL. Raises ``NotStarted``."""

    def execute(
        self,
        query: str,
        variables: str | None = None,
        operation_name: str | None = None,
        *,
        principal: Principal | None = None,
    ) -> str:
        """Answer a query with a GraphQL response as JSON text.

        ``principal`` is needed to read rows by key (``_entities`` of a federated graph): the security modules apply and
        PostgreSQL reads as the principal, which blocks. Without it such a query fails with ``PRINCIPAL_REQUIRED``.
        """

    def answer(self, request: GraphQLRequest, *, principal: Principal | None = None) -> str:
        """As `execute`, for a request that a transport carries."""

    def connect(self, hub: Hub, address: str | None = None) -> Session:
        """A session for one accepted socket of a peer with this address.

        Raises ``RateLimited`` if the address has too many (setting ``limits.connects``).
        """

    def revoke(self, *, user_id: str | None = None, tenant_id: str | None = None, role: str | None = None) -> int:
        """See ``SubscriptionManager.revoke``. Blocks until the database has the request; not with an in-memory bus."""

    def open_stream(self, hub: Hub, address: str | None = None, *, single: bool = False) -> Session:
        """A session for an event stream (graphql-sse), of one operation or of all that its client starts in it.

        It waits for ``accept``; a ``single`` one then waits for ``claim`` no longer than the setting ``init_wait_s``.
        Raises ``RateLimited`` as `connect` does.
        """

    def disconnect(
        self,
        *,
        user_id: str | None = None,
        tenant_id: str | None = None,
        role: str | None = None,
        code: int = 1012,
        reason: str = "Service restart",
    ) -> int:
        """See ``SubscriptionManager.disconnect``. Blocks as `revoke` does."""

    def register(
        self,
        subscription_id: str,
        query: str,
        variables: str | None = None,
        *,
        principal: Principal,
        operation_name: str | None = None,
    ) -> None:
        """Start a subscription whose results are fetched with ``next_event``.

        It ends at ``principal.expires_at`` (``TOKEN_EXPIRED``) and on ``revoke`` (``REVOKED``).

        Raises ``RequestRefused``; ``ConfigurationError`` with ``SUBSCRIPTION_EXISTS`` when the id is taken;
        ``ValueError`` if ``variables`` is not a JSON object.
        """

    def resolve_on(self, hub: Hub) -> None:
        """Announce resolver calls on this hub, as token 0. Called before ``start``."""

    def take_calls(self, limit: int) -> list[Call]:
        """Up to ``limit`` resolver calls to run."""

    def publish(self, topic: str, payload: str, tenant: str | None = None) -> None:
        """Publish JSON text to a topic, as ``select rowcast.publish(…)`` does.

        Blocks; with PostgreSQL it needs no ``start``. Raises ``PublishError``.
        """

    def watch(self, table: str, tenant: str | None = None, public: bool = False) -> bool:
        """``select rowcast.watch(…)``; whether anything changed. Blocks; needs no ``start``.

        Raises ``ConfigurationError`` when the table cannot be watched so, ``MigrationError`` with ``NOT_MIGRATED``,
        ``ConnectionFailed`` or ``DatabaseError``; ``unwatch`` and ``status`` likewise.
        """

    def explain(
        self,
        table: str,
        principal: Principal,
        *,
        row: str | None = None,
        old: str | None = None,
        operation: str | None = None,
        field: str | None = None,
    ) -> str:
        """Explain as a JSON object whether this principal receives a row of this table. Blocks; needs no ``start``.

        ``row`` and ``old`` are the row after and before the change, JSON objects by column names; a column that is
        left out is one that the stream does not carry, which is not NULL. ``operation`` is ``"INSERT"``,
        ``"UPDATE"`` or ``"DELETE"``, by default inferred from the images. ``field`` is what the field is declared
        with, as for ``start``, without its table. The keys are stable across releases::

            {"table", "admitted",
             "problems": [{"code", "hint"}],
             "modules": [{"module": "principal" | "federation" | "scope" | "tenant" | "row_policy" | "columns",
                          "admitted", "code": null | str, "says"}],
             "row_policy": {"enabled", "forced", "exempt": null | str,
                            "rule": "all" | "decided" | "delegated" | "refused" | "unknown",
                            "question": null | {"role", "settings", "condition", "reads": [column]},
                            "policies": [{"name", "permissive", "applies": null | bool, "why_not": null | str,
                                          "using": null | str, "predicate": null | str,
                                          "evaluation": "compiled" | "delegated" | "mixed" | "refused" | "nothing",
                                          "reasons": [{"why", "part"}], "refusal": null | {"code", "message"}}]},
             "columns": {"readable": [column], "hidden": [column]},
             "condition": null | {"sql", "index": "equality" | "range" | "always" | "residual" | "never", "delegated"},
             "row": null | {"operation", "notes": [str], "old": null | image, "new": null | image,
                            "transition": null | "ENTER" | "STAY" | "LEAVE", "why_not": null | str,
                            "left": null | told, "told": null | told}}

        told is ``{"what": "row" | "key", "columns": [column], "changed": [column], "payload"}``; ``left`` is what is
        delivered first of an UPDATE that changed the key of a row in view: its LEAVE under the old key,

        and an image is ``{"absent": [column], "tenant": null | truth, "row_policy": truth, "in_view",
        "refused_by": null | "tenant" | "row_policy", "delegated": null | {"answer": "visible" | "hidden" | "raised" |
        "timed_out" | "not evaluated" | "incomplete" | "failed", "sqlstate": null | str, "says": null | str}}``, a truth
        ``"true"``, ``"false"``, ``"null"`` or ``"unavailable"``. It shows the values of settings and rows.

        Raises ``ConfigurationError`` with ``ROW_NOT_JSON``, ``ROW_INVALID``, ``ROW_MISSING``, ``COLUMN_UNKNOWN``,
        ``OPERATION_UNKNOWN``, ``OPERATION_MISMATCH`` or ``FIELDS_INVALID``; ``SchemaError`` with ``UNKNOWN_TABLE``,
        ``AMBIGUOUS_TABLE`` or ``TABLE_NOT_SERVED``; and as ``status`` does.
        """

    def unwatch(self, table: str) -> bool:
        """``select rowcast.unwatch(…)``; whether it was watched. Blocks; needs no ``start``."""

    def uninstall(self, *, dry_run: bool = False) -> str:
        """Remove what rowcast made in the database, with the slots of this bus's pool, or only list it.

        A JSON object of arrays of text: ``obstacles`` (what has to end or go first), ``statements`` (one transaction),
        ``slots`` (statements that follow it) and ``leaves`` (what stays). Blocks; needs no ``start``. Raises
        ``DatabaseError`` with ``UNINSTALL_BLOCKED`` when there are obstacles, and as ``status`` does.
        """

    def status(self) -> str:
        """A JSON object with ``checks``: name, value, ok and hint of each line of ``rowcast.status()``.

        Blocks; needs no ``start``.
        """

    def commit(self, changes: str, committed_at_us: int | None = None) -> list[str]:
        """Deliver one commit on a bus made by ``EventBusConfig.rehearsal``; returns the cursors of its events.

        ``changes`` is a JSON array of ``{"operation": "INSERT", "table", "new"}``, ``{"operation": "UPDATE", "table",
        "old", "new"}``, ``{"operation": "DELETE", "table", "old"}``, ``{"operation": "TRUNCATE", "table"}`` and
        ``{"operation": "MESSAGE", "topic", "tenant", "payload"}``; a payload is JSON text, a row is an object of
        PostgreSQL's text forms by column. ``committed_at_us`` is in microseconds since 1970, by default the
        clock's time. Does not block.

        Raises ``ConfigurationError`` with ``ROW_INVALID``, ``COLUMN_UNKNOWN``, ``TABLE_UNKNOWN`` or ``NOT_REHEARSING``.
        """

    def advance(self, seconds: float) -> float:
        """Move the clock of such a bus to a session's next timer, ``seconds`` at most; the seconds that are left.

        Raises ``ConfigurationError`` with ``NOT_REHEARSING``.
        """

    def date_us(self) -> int:
        """The engine's clock, in microseconds since 1970."""

    def unsettled(self) -> tuple[int, int, int]:
        """Counts of unfinished work: resolver calls, replays to subscribers, endings to carry out."""

    def next_event(self, subscription_id: str, timeout: float | None = 0.0) -> bytes | None:
        """The next result as a serialized GraphQL response, or ``None`` if none arrives within ``timeout`` seconds.

        ``timeout=None`` waits for ever. Raises ``SubscriptionEnded`` when the subscription failed, was ended by
        ``complete`` or ``stop``, or is unknown; results that had arrived before its end are given out first.
        """

    def complete(self, subscription_id: str) -> bool:
        """End a subscription made by ``register``; returns whether there was one."""

    def metrics(self) -> dict[str, int]:
        """Counters and gauges by name. One without a value is absent, such as ``slot_safe_bytes`` without a limit."""

@final
class Hub:
    """One event loop's door into the engine: a file descriptor that becomes readable when there is work."""

    def __new__(cls) -> Self: ...
    def fileno(self) -> int:
        """For ``loop.add_reader``."""

    def drain(self) -> list[int]:
        """Clear the readable state; tokens of sessions that have something to ``take``.

        Token 0: resolver calls. Token 2**64-1: lines of the log, where ``follow_log`` asked for them.
        """

    def follow_log(self) -> None:
        """Announce lines for ``take_log`` on this hub too."""

@final
class GraphQLRequest:
    """A request as a transport carries it. The engine reads its JSON: numbers keep the digits that the client wrote.

    ``variables`` and ``extensions`` are JSON text. Raises ``ValueError`` when one is not an object, or the
    query is empty.
    """

    def __new__(
        cls,
        query: str,
        variables: str | None = None,
        operation_name: str | None = None,
        extensions: str | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(body: bytes) -> GraphQLRequest:
        """The body of a POST: a JSON object in UTF-8. Raises ``ValueError``."""

    @property
    def operation_id(self) -> str | None:
        """``extensions.operationId``: which operation of an event stream to start."""

    def resumed(self, last_event_id: str) -> GraphQLRequest:
        """The same request of an ``EventSource`` that has seen this event last."""

@final
class Session:
    """One client's conversation, graphql-transport-ws or graphql-sse."""

    def __new__(cls, _the_engine_makes_these: Never, /) -> Self: ...
    @property
    def token(self) -> int:
        """The number by which ``Hub.drain`` names this session; never 0."""

    def receive_text(self, text: str) -> str | None:
        """Handle a text frame. JSON text means: authenticate this connection_init payload (``"null"``: it had none)."""

    def receive_bytes(self) -> None:
        """Handle a binary frame: the session closes with 4400."""

    def accept(self, principal: Principal, payload: str | None = None) -> None:
        """The connection is authenticated; ``payload`` is a JSON object for the connection_ack, else ``ValueError``.

        If the principal was revoked while its hook ran, it is refused and the session is ``closing``.
        """

    def refuse(self, code: int, reason: str) -> None:
        """The connection is not authenticated; close it."""

    def take(self, limit: int = 64) -> list[str]:
        """Up to ``limit`` frames to send, in order."""

    def start(self, operation: str, request: GraphQLRequest) -> str | None:
        """Begin an operation of an event stream; a JSON array of errors when it did not begin.

        In a stream of one operation the errors, and the end, are in the stream as well.
        """

    def end(self, operation: str) -> None:
        """The client completed an operation of its event stream; no further events are delivered for it."""

    def claim(self) -> None:
        """The client opened the event stream that it had reserved."""

    def take_events(self, limit: int = 64) -> bytes:
        """Up to ``limit`` frames of an event stream, as they go over the wire."""

    def farewell(self) -> str | None:
        """The text that a closing event stream sends after its last frame. Returned once."""

    def closing(self) -> tuple[int, str, bool] | None:
        """Code, reason and whether to close at once; if not at once, only after ``take`` has given its last frame.

        A session that begins to close is named by ``Hub.drain``, even if it was named before and not taken from since.
        """

    def leave(self) -> None:
        """The server stops: close with 1001 behind what is queued."""

    def disconnect(self) -> None:
        """The socket is gone; every operation ends. Idempotent, and implied when the session is dropped."""

@final
class Event:
    """One committed change, as a resolver receives it. Values are Python's own types.

    Dicts are made when first asked for and then kept, for this call alone: they may be changed.
    """

    def __new__(cls, _the_engine_makes_these: Never, /) -> Self: ...
    @property
    def operation(self) -> str:
        """``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE`` or ``MESSAGE``."""
    @property
    def transition(self) -> str:
        """``ENTER``, ``STAY`` or ``LEAVE``."""
    @property
    def table(self) -> str | None:
        """``schema.name``; ``None`` for a message."""
    @property
    def topic(self) -> str | None:
        """The topic of a message."""
    @property
    def row(self) -> dict[str, Any] | None:
        """The row by column names; ``None`` when it left the view."""
    @property
    def key(self) -> dict[str, Any] | None:
        """The primary key by column names."""
    @property
    def changed(self) -> list[str]:
        """Columns that an UPDATE changed, as far as the replica identity shows."""
    @property
    def payload(self) -> Any:
        """The payload of a message."""
    @property
    def cursor(self) -> str:
        """The event's cursor."""
    @property
    def committed_at(self) -> datetime:
        """When its transaction committed, in UTC."""

@final
class Call:
    """One resolver call that waits for its result."""

    def __new__(cls, _the_engine_makes_these: Never, /) -> Self: ...
    @property
    def pending(self) -> bool:
        """Whether a subscription still waits for the result."""
    @property
    def resolver(self) -> int:
        """The resolver's index, as declared to ``start``."""
    @property
    def event(self) -> Event: ...
    @property
    def variables(self) -> dict[str, Any]:
        """The operation's coerced variables."""
    def finish(self, result: object) -> str | None:
        """Deliver the result; ``None`` skips the event.

        What the declared type does not allow is delivered as an error with its path; the first such error's message
        is returned, for the log.
        """
    def fail(self, message: str, code: str) -> None:
        """Deliver a ``next`` with this error."""
