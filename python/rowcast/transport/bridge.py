"""The door between the engine's threads and one event loop.

The engine never attaches to Python to deliver: it puts a session's number on a list and makes one file descriptor
readable. The loop then learns all numbers at once (`Hub.drain`) and wakes each session's own task, at most
`SESSIONS_PER_TURN` of them in one turn of the loop: a thousand sends hold the loop for 10-25 ms, and other work must
have its turn in between. Number 0 means that resolver calls wait, and one more that lines of the log do.

Everything here runs on the loop's thread, except `_Watcher`, which stands in where a loop has no ``add_reader``
(Windows' Proactor loop): a thread that waits for the descriptor and calls ``call_soon_threadsafe`` once for each
batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rowcast._engine import Hub
from rowcast.engine_log import LOG_LINES, LogLines
from rowcast.transport.server_access import Stopping

SESSIONS_PER_TURN = 128
STOP_WAIT_S = 1.0
RESOLVER_CALLS = 0
_NO_SESSIONS = {RESOLVER_CALLS, LOG_LINES}


class Wakeable(Protocol):
    """A session or pool that the engine can wake."""

    def wake(self) -> None:
        """Called on the loop's thread; must not block or raise."""


@runtime_checkable
class Guest(Wakeable, Protocol):
    """A session whose socket is closed when the server stops."""

    def leave(self) -> None:
        """Close it after the queued frames."""

    def abort(self) -> None:
        """Close it at once."""


class LoopBridge:
    """One event loop's hub and the sessions that are woken through it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.hub = Hub()
        self._sessions: dict[int, Wakeable] = {}
        self._dirty: deque[int] = deque()
        self._scheduled = False
        self._empty: asyncio.Future[None] | None = None
        self._stops: dict[Stopping, asyncio.Task[None]] = {}
        self._stop_watching = _watch(loop, self.hub.fileno(), self._on_readable)

    def follow_log(self) -> None:
        """Log the engine's lines on this loop, including those that already wait."""
        self.add(LOG_LINES, LogLines())
        self.hub.follow_log()

    def add(self, token: int, session: Wakeable) -> None:
        """Wake ``session`` whenever the hub names ``token``."""
        self._sessions[token] = session

    def remove(self, token: int) -> None:
        """Forget a session; its last numbers on the list are ignored."""
        self._sessions.pop(token, None)
        if not self._waking() and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    async def drained(self, timeout_s: float) -> bool:
        """Wait until every session is gone; False when ``timeout_s`` seconds were not enough."""
        if not self._waking():
            return True
        if self._empty is None or self._empty.done():
            self._empty = self.loop.create_future()
        done, _ = await asyncio.wait([self._empty], timeout=timeout_s)
        return bool(done)

    def follow_stop(self, stopping: Stopping | None) -> None:
        """When this event comes, every socket is closed; those that take longer than `STOP_WAIT_S` are aborted."""
        if stopping is None:
            return
        follower = self._stops.get(stopping)
        if follower is None or follower.done():
            self._stops[stopping] = self.loop.create_task(self._leave_on(stopping))

    async def _leave_on(self, stopping: Stopping) -> None:
        await stopping.wait()
        for guest in self._guests():
            guest.leave()
        await self.drained(STOP_WAIT_S)
        for guest in self._guests():
            guest.abort()

    def _guests(self) -> list[Guest]:
        return [each for each in self._sessions.values() if isinstance(each, Guest)]

    def close(self) -> None:
        """Stop listening to the hub. Idempotent; callable when the loop is closed already."""
        if not self.loop.is_closed():
            for follower in self._stops.values():
                follower.cancel()
        self._stops.clear()
        self._stop_watching()
        self._stop_watching = _nothing
        self._dirty.clear()
        self._sessions.clear()

    def _waking(self) -> bool:
        return not self._sessions.keys() <= _NO_SESSIONS

    def _on_readable(self) -> None:
        # The engine may name a session more than once; resolver calls it names one by one.
        self._dirty.extend(dict.fromkeys(self.hub.drain()))
        if not self._scheduled:
            self._wake_some()

    def _wake_some(self) -> None:
        self._scheduled = False
        for _ in range(min(SESSIONS_PER_TURN, len(self._dirty))):
            session = self._sessions.get(self._dirty.popleft())
            if session is not None:
                session.wake()
        if self._dirty:
            self._scheduled = True
            self.loop.call_soon(self._wake_some)


def _watch(loop: asyncio.AbstractEventLoop, descriptor: int, callback: Callable[[], None]) -> Callable[[], None]:
    """Call ``callback`` on the loop whenever the descriptor is readable; what is returned ends that."""
    try:
        loop.add_reader(descriptor, callback)
    except NotImplementedError:
        return _Watcher(loop, descriptor, callback).stop

    def stop() -> None:
        if not loop.is_closed():
            loop.remove_reader(descriptor)

    return stop


def _nothing() -> None:
    """What is left to stop when all is stopped."""


class _Watcher:
    """A thread in place of ``add_reader``.

    It waits for each callback to end before it looks again, or it would spin.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._callback = callback
        self._handled = threading.Event()
        self._ended = False
        self._stopped, self._stopping = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="rowcast-hub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        # In this order: the thread looks at `_ended` after it has cleared `_handled`, so it sees one or the other.
        self._ended = True
        self._handled.set()
        with contextlib.suppress(OSError):
            self._stopping.send(b"x")
        self._thread.join()
        self._stopping.close()
        self._stopped.close()

    def _run(self) -> None:
        while True:
            readable, _, _ = select.select([self._descriptor, self._stopped.fileno()], [], [])
            if self._stopped.fileno() in readable:
                return
            self._handled.clear()
            if self._ended:
                return  # the loop's thread waits for this one, and would not call back
            try:
                self._loop.call_soon_threadsafe(self._handle)
            except RuntimeError:
                return  # the loop is closed
            self._handled.wait()

    def _handle(self) -> None:
        try:
            self._callback()
        finally:
            self._handled.set()
