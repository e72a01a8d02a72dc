"""One accepted socket from start to end: frames in, frames out, authentication in between, one way out.

A reader task hands every frame to the engine's `Session`; a sender task sends what the session has, and sleeps until
the bridge wakes it. Whichever ends first ends the conversation: the reader when the client is gone, the sender when
the engine wants the socket closed. ``Session.disconnect`` is called exactly once, on every path.

The authenticate hook runs beside the reader, so pings are answered and a second connection_init is refused while it
takes its time. A client that stops reading blocks ``send_text``; the engine then says «close at once», `wake` cancels
the send, and the socket is closed with a short patience and aborted where the adapter can.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass

from rowcast._engine import Session
from rowcast.errors import Forbidden
from rowcast.principal import Principal
from rowcast.transport.adapter import Abortable, WebSocketAdapter, close_reason
from rowcast.transport.connection import Connection, Payload
from rowcast.transport.hook import Authenticate, principal_of

_log = logging.getLogger("rowcast")

FRAMES_PER_TURN = 64
TURN_S = 0.001
EVICT_WAIT_S = 1.0
CLOSE_WAIT_S = 5.0
GONE_WAIT_S = 5.0
HIDDEN = "Internal server error"


@dataclass(frozen=True)
class Rules:
    """What is the same for every conversation of a handler.

    Attributes:
        authenticate: The application's hook; ``None`` admits every client as ``Principal()``.
        authenticate_timeout_s: Seconds that the hook may take; then the socket closes with 1013, which clients retry.
        debug: Whether clients receive the text of a failing hook's exception.
    """

    authenticate: Authenticate | None
    authenticate_timeout_s: float
    debug: bool


class Conversation:
    """One client. `run` returns when the socket is closed or lost."""

    # Thousands of these wait at once: no dictionary, and a future in place of `asyncio.wait` (3.8 KB each, not 4.9).
    __slots__ = ("_adapter", "_authentication", "_idle", "_over", "_rules", "_sender", "_session", "_signalled")

    def __init__(self, session: Session, adapter: WebSocketAdapter, rules: Rules) -> None:
        self._session = session
        self._adapter = adapter
        self._rules = rules
        self._idle: asyncio.Future[None] | None = None
        self._over: asyncio.Future[None] | None = None
        self._signalled = False
        self._sender: asyncio.Task[None] | None = None
        self._authentication: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the client until one of the two tasks ends."""
        loop = asyncio.get_running_loop()
        over = self._over = loop.create_future()
        self._sender = loop.create_task(self._send())
        reader = loop.create_task(self._receive())
        self._sender.add_done_callback(self._on_end)
        reader.add_done_callback(self._on_end)
        try:
            await over
            await self._close(reader)
        finally:
            self._session.disconnect()
            await _end(self._sender, reader, self._authentication)

    def wake(self) -> None:
        """The engine has frames, or wants the socket closed."""
        if self._idle is None:
            self._signalled = True
            self._evict_if_told()
        elif not self._idle.done():
            self._idle.set_result(None)

    def leave(self) -> None:
        """The server stops: close the socket with 1001 behind what is queued."""
        self._session.leave()

    def abort(self) -> None:
        """The server cannot wait any longer."""
        if isinstance(self._adapter, Abortable):
            self._adapter.abort()

    def _on_end(self, _task: asyncio.Task[None]) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    async def _send(self) -> None:
        """Until the session wants the socket closed and has no frame left, or at once if it says so."""
        while True:
            # Read before `take`: once a session closes it gets no new frames, so «closing and empty» is the end.
            closing = self._session.closing()
            if closing is not None and closing[2]:
                return
            frames = self._session.take(FRAMES_PER_TURN)
            for frame in frames:
                await self._adapter.send_text(frame)
            if len(frames) == FRAMES_PER_TURN:
                # Servers' sends rarely suspend: without this a full queue would block the loop for other tasks.
                await asyncio.sleep(0)
            elif not frames and closing is not None:
                return
            elif not frames:
                await self._until_woken()

    async def _until_woken(self) -> None:
        if not self._signalled:
            self._idle = asyncio.get_running_loop().create_future()
            try:
                await self._idle
            finally:
                self._idle = None
        self._signalled = False

    def _evict_if_told(self) -> None:
        """While the sender waits for a client that does not read, only this can end it."""
        closing = self._session.closing()
        if closing is not None and closing[2] and self._sender is not None:
            self._sender.cancel()

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.time()
        while (frame := await self._adapter.receive()) is not None:
            self._hear(frame)
            # Servers' receives rarely suspend while messages are there: without this one client keeps the loop.
            if loop.time() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = loop.time()

    def _hear(self, frame: str | bytes) -> None:
        if not isinstance(frame, str):
            self._session.receive_bytes()
            return
        payload = self._session.receive_text(frame)
        if payload is not None:
            self._authentication = asyncio.get_running_loop().create_task(self._authenticate(payload))

    async def _authenticate(self, payload: str) -> None:
        """Accept or refuse the session; every outcome of the hook is one of the two."""
        try:
            principal = await asyncio.wait_for(self._principal(payload), self._rules.authenticate_timeout_s)
            self._session.accept(principal)
        except Forbidden as refusal:
            _log.info("connection refused: %s", refusal)
            self._session.refuse(4403, "Forbidden")
        except asyncio.TimeoutError:
            _log.warning("authenticate timed out (limit %g s)", self._rules.authenticate_timeout_s)
            self._session.refuse(1013, "Try again later")
        except asyncio.CancelledError:
            # The conversation is over, or the hook awaited something that was cancelled: then the client must not hang.
            self._session.refuse(4500, HIDDEN)
            raise
        except Exception as error:
            _log.exception("authenticate failed")
            reason = f"{type(error).__name__}: {error}" if self._rules.debug else HIDDEN
            self._session.refuse(4500, close_reason(reason))

    async def _principal(self, payload: str) -> Principal:
        hook = self._rules.authenticate
        return Principal() if hook is None else await principal_of(hook, self._connection(payload))

    def _connection(self, payload: str) -> Connection:
        adapter = self._adapter
        return Connection(
            adapter.headers, adapter.cookies, Payload(json.loads(payload) or {}), adapter.query, adapter.client
        )

    async def _close(self, reader: asyncio.Task[None]) -> None:
        """Close the socket, if it is there: as the session says, or because reading or sending failed."""
        fault = _fault(reader) or _fault(self._sender)
        if fault is None and reader.done():
            return
        if fault is not None and self._adapter.is_connected:
            _log.error("a conversation failed", exc_info=fault)
        code, reason, at_once = self._session.closing() or (4500, HIDDEN, True)
        await shut(self._adapter, code, reason, EVICT_WAIT_S if at_once else CLOSE_WAIT_S)


def _fault(task: asyncio.Task[None] | None) -> BaseException | None:
    return task.exception() if task is not None and task.done() and not task.cancelled() else None


async def shut(adapter: WebSocketAdapter, code: int, reason: str, patience_s: float = CLOSE_WAIT_S) -> None:
    """Close a socket with ``patience_s`` seconds for a peer that does not read; then abort it where the adapter can.

    A peer that is dead answers no close frame, and what the server has not yet sent keeps its TCP connection for as
    long as the system likes: after ``GONE_WAIT_S`` it is aborted as well, which does nothing to one that is gone.
    """
    if not adapter.is_connected:
        return
    try:
        await asyncio.wait_for(adapter.close(code, reason), patience_s)
        if isinstance(adapter, Abortable):
            asyncio.get_running_loop().call_later(GONE_WAIT_S, adapter.abort)
    except Exception as error:
        if isinstance(adapter, Abortable):
            adapter.abort()
        else:
            _log.warning("cannot close a socket: closing failed and its adapter has no abort(): %r", error)


async def _end(*tasks: asyncio.Task[None] | None) -> None:
    """Cancel what still runs and see it end; whatever it raises was logged or means that the client is gone."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
