"""A client of graphql-transport-ws without a socket, on the test's own event loop.

It speaks to the engine's own session: what it gets are the frames that a socket would have carried, decoded. Nothing
here waits in a thread or sleeps; frames are taken when the engine rings, and whenever a test asks.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rowcast.errors import RequestRefused, RowcastError, SubscriptionEnded
from rowcast.testing.errors import ConnectionClosed, NoEvent, ResultError

if TYPE_CHECKING:
    from typing_extensions import Self

    from rowcast._engine import Session
    from rowcast.principal import Principal
    from rowcast.testing.manager import MemoryManager
    from rowcast.transport.bridge import LoopBridge

WAIT_S = 5.0


@dataclass(frozen=True)
class Received:
    """One result.

    Attributes:
        data: As GraphQL has it: by the field's name, or its alias.
        errors: GraphQL errors; empty when all went well.
        extensions: The result's ``extensions``; ``rowcast`` holds the event's cursor and metadata.
    """

    data: Mapping[str, Any] | None
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    extensions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """The subscription field's value. Raises `ResultError` if the result has errors."""
        if self.errors:
            raise ResultError(self.errors)
        return next(iter((self.data or {}).values()), None)

    @property
    def cursor(self) -> str:
        """For ``subscribe(after=…)``: what comes behind this result."""
        cursor: str = self.extensions["rowcast"]["cursor"]
        return cursor

    @property
    def operation(self) -> str:
        """``INSERT``, ``UPDATE``, ``DELETE``, ``TRUNCATE`` or ``MESSAGE``."""
        operation: str = self.extensions["rowcast"]["operation"]
        return operation

    @property
    def committed_at(self) -> datetime:
        """When the change was committed, in UTC."""
        return datetime.fromisoformat(self.extensions["rowcast"]["committedAt"].replace("Z", "+00:00"))


class Subscription(AsyncIterator[Received]):
    """One subscription of a client. Made by `Client.subscribe`."""

    def __init__(self, client: Client, operation_id: str) -> None:
        self.id = operation_id
        self._client = client
        self._waiting: deque[Received] = deque()
        self._ended: RowcastError | None = None
        self._completed = False

    async def next(self, timeout_s: float = WAIT_S) -> Received:
        """The next result.

        Args:
            timeout_s: Seconds of the machine's time to wait for it.

        Raises:
            NoEvent: None came in time.
            SubscriptionEnded: The server ended the subscription; ``code`` says why. ``COMPLETED`` when the client did.
            ConnectionClosed: The server closed the connection.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            self._client.pump()
            if self._waiting:
                return self._waiting.popleft()
            self._raise_end()
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await self._client.rung(left):
                self._client.pump()
                if not self._waiting:
                    self._raise_end()
                    raise NoEvent(f"nothing came in {timeout_s:g} s")

    async def __anext__(self) -> Received:
        """As `next`; the iteration ends when either side completes the subscription."""
        self._client.pump()
        if self._completed and not self._waiting:
            raise StopAsyncIteration
        try:
            return await self.next()
        except SubscriptionEnded:
            if self._completed:
                raise StopAsyncIteration from None
            raise

    def pending(self) -> list[Received]:
        """Results that have come and were not asked for yet; they stay."""
        self._client.pump()
        return list(self._waiting)

    async def assert_no_event(self) -> None:
        """Assert that nothing waits, after everything that was emitted has had all its effects.

        The engine tells when that is so, so this neither sleeps nor guesses: resolvers have answered, replays have
        ended. A subscription that is over hears nothing, which proves nothing: then its end is raised.

        Raises:
            AssertionError: Something waits; the message shows it.
            Unsettled: The engine did not come to rest.
            SubscriptionEnded: See `next`.
            ConnectionClosed: See `next`.
        """
        await self._client.manager.settle()
        self._client.pump()
        if self._waiting:
            shown = "; ".join(str(each.errors or each.data) for each in self._waiting)
            raise AssertionError(f"expected no event, and got {len(self._waiting)}: {shown}")
        self._raise_end()

    def complete(self) -> None:
        """End it as a client does. What has come can still be had."""
        if self._ended is None:
            self._client.send(type="complete", id=self.id)
            self.end(SubscriptionEnded("the client completed it", code="COMPLETED"), completed=True)

    def tell(self, payload: Mapping[str, Any]) -> None:
        """A result has come. For `Client`."""
        errors = list(payload.get("errors", ()))
        self._waiting.append(Received(payload.get("data"), errors, payload.get("extensions", {})))

    def end(self, error: RowcastError, *, completed: bool = False) -> None:
        """It is over; the first reason counts. For `Client`."""
        if self._ended is None:
            self._ended, self._completed = error, completed

    def ended(self) -> RowcastError | None:
        """Why it is over, if it is."""
        return self._ended

    def _raise_end(self) -> None:
        if self._ended is not None:
            raise self._ended


class Client:
    """One connection. Made by `MemoryManager.client`; ``async with`` closes it, and so does the manager's stop.

    Attributes:
        principal: Its `Principal`.
        answers_pings: Set it to False to be dropped as a client whose network is gone.
        reads: Set it to False to be a client that takes nothing, and to True to go on.
    """

    def __init__(self, manager: MemoryManager, session: Session, bridge: LoopBridge) -> None:
        self.manager = manager
        self.principal: Principal | None = None
        self.answers_pings = True
        self.reads = True
        self._session = session
        self._bridge = bridge
        self._subscriptions: dict[str, Subscription] = {}
        self._numbered = 0
        self._over: ConnectionClosed | None = None
        self._rings: set[asyncio.Future[None]] = set()

    def subscribe(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        operation_name: str | None = None,
        after: str | None = None,
    ) -> Subscription:
        """Begin a subscription; it is in force when this returns.

        Args:
            query: The document.
            variables: Its variables, JSON values.
            operation_name: Which of its operations.
            after: A cursor: what was committed behind it comes first. One that is too old ends the subscription with
                ``CURSOR_EXPIRED``.

        Raises:
            RequestRefused: The request is invalid or not allowed; ``code`` and ``errors`` say why.
            ConnectionClosed: The connection is closed.
        """
        self.pump()
        self.raise_closed()
        self._numbered += 1
        subscription = self._subscriptions[str(self._numbered)] = Subscription(self, str(self._numbered))
        extensions = None if after is None else {"rowcast": {"after": after}}
        payload = {
            "query": query,
            "variables": None if variables is None else dict(variables),
            "operationName": operation_name,
            "extensions": extensions,
        }
        self.send(type="subscribe", id=subscription.id, payload={k: v for k, v in payload.items() if v is not None})
        self.pump()
        refused = subscription.ended()
        if refused is not None and isinstance(refused.__cause__, RequestRefused):
            raise refused.__cause__
        self.raise_closed()
        return subscription

    @property
    def closed(self) -> ConnectionClosed | None:
        """How the server closed the connection, if it did."""
        self.pump()
        return self._over

    async def assert_no_event(self) -> None:
        """As `Subscription.assert_no_event`, for all subscriptions that the client did not complete."""
        await self.manager.settle()
        self.pump()
        self.raise_closed()
        for subscription in list(self._subscriptions.values()):
            await subscription.assert_no_event()

    def close(self) -> None:
        """Leave, as a client does whose page is closed. Idempotent."""
        self._finish(ConnectionClosed(1000, "the client left"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # For the manager and the bridge

    def join(self) -> None:
        """Be woken."""
        self._bridge.add(self._session.token, self)

    def enter(self, principal: Principal) -> None:
        """Shake hands. Raises `ConnectionClosed`."""
        self.principal = principal
        self._session.accept(principal)
        self.pump()
        self.raise_closed()

    def refuse(self, code: int, reason: str) -> None:
        """The hook lets nobody in."""
        self._session.refuse(code, reason)
        self.pump()

    def send(self, **message: Any) -> None:
        """A message of the client's."""
        self._session.receive_text(json.dumps(message))

    def wake(self) -> None:
        """The engine has frames, or wants the socket closed."""
        self.pump()
        for ring in self._rings:
            if not ring.done():
                ring.set_result(None)

    async def rung(self, timeout_s: float) -> bool:
        """Wait until the engine rings; False when it did not within these seconds."""
        ring: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rings.add(ring)
        try:
            await asyncio.wait([ring], timeout=timeout_s)
            return ring.done()
        finally:
            self._rings.discard(ring)

    def pump(self) -> None:
        """Take all frames that wait, and notice the end."""
        while self._over is None:
            # Read before `take`, as `Conversation` does: a session that closes gets no new frames.
            closing = self._session.closing()
            at_once = closing is not None and closing[2]
            frames = self._session.take() if self.reads and not at_once else []
            for frame in frames:
                self._handle(json.loads(frame))
            if closing is not None and not frames and (self.reads or at_once):
                self._finish(ConnectionClosed(closing[0], closing[1]))
            elif not frames:
                return

    def _handle(self, message: Mapping[str, Any]) -> None:
        kind, subscription = message["type"], self._subscriptions.get(message.get("id", ""))
        if kind == "ping" and self.answers_pings:
            self.send(type="pong")
        elif subscription is None:
            return
        elif kind == "next":
            subscription.tell(message["payload"])
        elif kind == "error":
            subscription.end(_ended(message["payload"]))
        elif kind == "complete":
            subscription.end(SubscriptionEnded("the server completed it", code="COMPLETED"), completed=True)

    def _finish(self, how: ConnectionClosed) -> None:
        if self._over is None:
            self._over = how
            self._session.disconnect()
            self._bridge.remove(self._session.token)
            self.manager.forget(self)
            for subscription in self._subscriptions.values():
                subscription.end(how)
            self.wake()

    def raise_closed(self) -> None:
        """Raise how it was closed, if it was."""
        if self._over is not None:
            raise self._over


def _ended(errors: list[Mapping[str, Any]]) -> SubscriptionEnded:
    """What a subscription that ran raises; its cause is what one that was never let in does."""
    message = str(errors[0]["message"])
    code = errors[0].get("extensions", {}).get("code")
    ended = SubscriptionEnded(message, code=code)
    ended.__cause__ = RequestRefused(message, code=code, errors=errors)
    return ended
