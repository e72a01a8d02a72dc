"""Runs resolvers: takes calls from the engine, awaits the user's functions, gives each call its one answer.

Each resolver has a lane of its own: a queue and up to ``concurrency`` workers, started as they are needed. A resolver
that is slow or stuck therefore holds up nothing but itself. The queues here need no bound of their own: every call in
them is counted by the engine, which drops calls whose subscriptions have ended (`Call.pending`).

Every call that is taken gets exactly one ``finish`` or ``fail``, whatever the function does and however it ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rowcast._engine import Call, SubscriptionExecutor
from rowcast.declare.signature import Resolver
from rowcast.errors import RowcastError
from rowcast.transport.deadlines import CancelledWithin, Deadlines, TimedOut

_log = logging.getLogger("rowcast")

CALLS_PER_TURN = 64
HIDDEN = "The resolver failed"
_STOP_WAIT_S = 2.0


@dataclass(frozen=True)
class Task:
    """A resolver with the seconds that one call of it may take."""

    resolver: Resolver
    timeout_s: float


class ResolverPool:
    """All lanes of one manager, on the event loop that started it."""

    def __init__(self, executor: SubscriptionExecutor, tasks: Sequence[Task], *, concurrency: int, debug: bool) -> None:
        self._executor = executor
        self._lanes = [Lane(task, concurrency=concurrency, debug=debug) for task in tasks]
        self._scheduled = False

    def wake(self) -> None:
        """Calls wait in the engine: hand them to their lanes, a bounded number in each turn of the loop."""
        if not self._scheduled:
            self._take()

    def _take(self) -> None:
        calls = self._executor.take_calls(CALLS_PER_TURN)
        for call in calls:
            self._lanes[call.resolver].offer(call)
        self._scheduled = len(calls) == CALLS_PER_TURN
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._take)

    async def close(self) -> None:
        """Cancel what runs and refuse what waits, with ``SHUTTING_DOWN``.

        Threads that still run are left to end by themselves.
        """
        for lane in self._lanes:
            lane.close()
        workers = [worker for lane in self._lanes for worker in lane.workers]
        if workers:
            await asyncio.wait(workers, timeout=_STOP_WAIT_S)


class Lane:
    """One resolver's queue and workers."""

    def __init__(self, task: Task, *, concurrency: int, debug: bool) -> None:
        self._task = task
        self._concurrency = concurrency
        self._debug = debug
        self._calls: deque[Call] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._closing = False
        self.workers: set[asyncio.Task[None]] = set()
        self._invoke = task.resolver.function if task.resolver.is_async else self._in_thread
        self._deadlines = Deadlines(task.timeout_s)
        self._threads: ThreadPoolExecutor | None = None

    def offer(self, call: Call) -> None:
        """Queue a call and wake or start a worker for it."""
        if self._closing:
            call.fail("The server is shutting down", "SHUTTING_DOWN")
            return
        self._calls.append(call)
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return
        if len(self.workers) < self._concurrency:
            self._start_worker()

    def close(self) -> None:
        self._closing = True
        while self._calls:
            self._calls.popleft().fail("The server is shutting down", "SHUTTING_DOWN")
        self._deadlines.close()
        for worker in self.workers:
            worker.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_worker(self) -> None:
        worker = asyncio.get_running_loop().create_task(self._work(), name=f"rowcast-{self._task.resolver.name}")
        self.workers.add(worker)
        worker.add_done_callback(self.workers.discard)

    async def _work(self) -> None:
        worker = asyncio.current_task()
        while worker is not None:
            while self._calls:
                call = self._calls.popleft()
                if call.pending:
                    await self._answer(call, worker)
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    async def _answer(self, call: Call, worker: asyncio.Task[None]) -> None:
        """Run one call. Only a cancellation of this worker leaves here as an exception."""
        try:
            result = await self._deadlines.within(worker, self._invoke(call.event, call.variables))
        except asyncio.CancelledError:
            self._fail(call, "The server is shutting down", "SHUTTING_DOWN")
            raise
        except CancelledWithin:
            _log.warning("%s awaited something that was cancelled, at %s", self._task.resolver.where, call.event.cursor)
            self._fail(call, HIDDEN, "RESOLVER_FAILED")
        except TimedOut:
            _log.warning("%s took longer than %g s", self._task.resolver.where, self._task.timeout_s)
            self._fail(call, f"The resolver took longer than {self._task.timeout_s:g} s", "RESOLVER_TIMEOUT")
        except RowcastError as error:
            self._fail(call, error.message, error.code)
        except Exception as error:
            self._raised(call, error)
        except BaseException:
            # SystemExit and KeyboardInterrupt end the loop; the call is answered first.
            self._fail(call, HIDDEN, "RESOLVER_FAILED")
            raise
        else:
            self._finish(call, result)

    async def _in_thread(self, event: object, variables: object) -> object:
        """Run a ``def`` resolver in this lane's own threads, with the worker's context variables."""
        if self._threads is None:
            name = f"rowcast-{self._task.resolver.name}"
            self._threads = ThreadPoolExecutor(max_workers=self._concurrency, thread_name_prefix=name)
        run = contextvars.copy_context().run
        loop = asyncio.get_running_loop()
        result: object = await loop.run_in_executor(self._threads, run, self._task.resolver.function, event, variables)
        return await result if inspect.isawaitable(result) else result

    def _raised(self, call: Call, error: Exception) -> None:
        """Log an exception, unless the subscribers have left: then the event is gone and the resolver may fail."""
        if call.pending:
            _log.error("%s raised at %s", self._task.resolver.where, call.event.cursor, exc_info=error)
        self._fail(call, f"{type(error).__name__}: {error}" if self._debug else HIDDEN, "RESOLVER_FAILED")

    def _finish(self, call: Call, result: object) -> None:
        """Deliver a result. If its type is wrong, subscribers get an error and the log names the resolver."""
        try:
            problem = call.finish(result)
        except Exception as error:
            _log.exception("the engine rejected a result of %s", self._task.resolver.where)
            self._fail(call, str(error) if self._debug else HIDDEN, "RESOLVER_RESULT_INVALID")
        else:
            if problem is not None:
                _log.error("%s returned what its annotation does not allow: %s", self._task.resolver.where, problem)

    def _fail(self, call: Call, message: str, code: str) -> None:
        try:
            call.fail(message, code)
        except Exception:
            _log.exception("the engine rejected a failure of %s", self._task.resolver.where)
