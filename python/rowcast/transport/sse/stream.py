"""One event stream from its first byte to its last.

A sender task sends what the session has, and sleeps until the bridge wakes it; another task waits for the client to be
gone. Whichever ends first ends the stream. A client that does not read blocks ``send``; the engine then says «close at
once», `wake` cancels the send, and the stream is ended with a short patience and aborted after that.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from rowcast._engine import Session
from rowcast.transport.conversation import CLOSE_WAIT_S, EVICT_WAIT_S, FRAMES_PER_TURN, HIDDEN
from rowcast.transport.http import Answer, Request
from rowcast.transport.sse.departure import watched

_log = logging.getLogger("rowcast")

_ENDING = (4500, HIDDEN, True)

HEADERS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    # nginx would keep events until it has a page of them.
    ("x-accel-buffering", "no"),
)

# If the stream ends before the stock client has handled the last result, the client takes a lost stream for a complete
# one: this pause gives it time.
_LAST_WORD_S = 0.05


class Exchange(Protocol):
    """One HTTP request and the way to answer it: what a server has to have for `rowcast.transport.sse.handler`."""

    @property
    def request(self) -> Request:
        """The head of the request."""

    async def body(self) -> bytes | None:
        """The request's body; ``None`` when it is larger than `rowcast.transport.http.BODY_BYTES_MAX`."""

    async def answer(self, answer: Answer) -> None:
        """Send a complete response."""

    async def open(self) -> None:
        """Send the head of a response that is a stream: status 200 and `HEADERS`."""

    async def send(self, data: bytes) -> None:
        """Send a part of it. May wait until the client reads."""

    async def finish(self) -> None:
        """The stream has come to its end."""

    async def gone(self) -> None:
        """Return once the client is gone. Called when the body was read."""

    def abort(self) -> None:
        """Drop the connection, if that is possible. Never waits, never raises."""

    def is_leaving(self) -> bool:
        """Whether the server waits for this response to stop."""


class EventStream:
    """One client. `run` returns when the stream has ended."""

    __slots__ = ("_exchange", "_idle", "_sender", "_session", "_signalled")

    def __init__(self, session: Session, exchange: Exchange) -> None:
        self._session = session
        self._exchange = exchange
        self._idle: asyncio.Future[None] | None = None
        self._signalled = False
        self._sender: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Carry the session's events until it closes or the client is gone."""
        loop = asyncio.get_running_loop()
        self._sender = loop.create_task(self._send())
        gone = loop.create_task(self._exchange.gone())
        try:
            with watched(self):
                await asyncio.wait({self._sender, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not gone.done():
                    await self._end(gone)
        finally:
            self._session.disconnect()
            self._sender.cancel()
            gone.cancel()
            await asyncio.gather(self._sender, gone, return_exceptions=True)

    def wake(self) -> None:
        """The engine has events, or wants the stream to end."""
        if self._idle is None:
            self._signalled = True
            self._evict_if_told()
        elif not self._idle.done():
            self._idle.set_result(None)

    def is_leaving(self) -> bool:
        """Whether the server waits for this stream to stop."""
        return self._exchange.is_leaving()

    def leave(self) -> None:
        """End it as a shutdown does: what waits goes out first, and clients come back."""
        self._session.leave()

    def _evict_if_told(self) -> None:
        closing = self._session.closing()
        if closing is not None and closing[2] and self._sender is not None:
            self._sender.cancel()

    async def _send(self) -> None:
        await self._exchange.open()
        while True:
            # Read before `take_events`: once a session closes it gets no new ones.
            closing = self._session.closing()
            if closing is not None and closing[2]:
                return
            events = self._session.take_events(FRAMES_PER_TURN)
            if events:
                await self._exchange.send(events)
                # A send that does not have to wait does not let others have their turn.
                await asyncio.sleep(0)
            elif closing is not None:
                return
            else:
                await self._until_woken()

    async def _until_woken(self) -> None:
        if not self._signalled:
            self._idle = asyncio.get_running_loop().create_future()
            try:
                await self._idle
            finally:
                self._idle = None
        self._signalled = False

    async def _end(self, gone: asyncio.Task[None]) -> None:
        """The last words and the end of the response, for a client that reads them; else the end of the connection."""
        _, _, at_once = self._session.closing() or _ENDING
        try:
            await asyncio.wait_for(self._say_why(), EVICT_WAIT_S if at_once else CLOSE_WAIT_S)
        except Exception as error:
            _log.debug("aborting an event stream: %r", error)
            self._exchange.abort()
            # The server must notice the abort before the response ends.
            await asyncio.wait({gone}, timeout=EVICT_WAIT_S)

    async def _say_why(self) -> None:
        farewell = self._session.farewell()
        if farewell:
            await self._exchange.send(farewell.encode())
            await asyncio.sleep(_LAST_WORD_S)
        await self._exchange.finish()
