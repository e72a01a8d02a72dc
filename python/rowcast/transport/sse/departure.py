"""Streams make way when their server stops.

ASGI servers wait for responses to end before they end the lifespan, and nobody tells a response. An event stream would
hold uvicorn up for ever. So, while there are streams, somebody looks twice a second whether the server waits for them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary

LOOK_S = 0.5


class Leaver(Protocol):
    """What makes way."""

    def is_leaving(self) -> bool:
        """Whether its server waits for it."""

    def leave(self) -> None:
        """Make way."""


class _Watch:
    """The streams of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._there: set[Leaver] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, stream: Leaver) -> None:
        self._there.add(stream)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def remove(self, stream: Leaver) -> None:
        self._there.discard(stream)
        if not self._there and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        is_over = is_server_stopping()
        for stream in [each for each in self._there if is_over or each.is_leaving()]:
            stream.leave()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


@contextmanager
def watched(stream: Leaver) -> Iterator[None]:
    """Close ``stream`` if its server stops inside this context."""
    loop = asyncio.get_running_loop()
    watch = _watches.get(loop)
    if watch is None:
        watch = _watches[loop] = _Watch(loop)
    watch.add(stream)
    try:
        yield
    finally:
        watch.remove(stream)


def is_server_stopping() -> bool:
    """Whether uvicorn is stopping: its server is the one that handles the signals."""
    handlers = (signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))
    return any(getattr(getattr(handler, "__self__", None), "should_exit", False) is True for handler in handlers)
