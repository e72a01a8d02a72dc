"""A manager's lifecycle: it starts, fails, is cancelled, stops, and starts again."""

import asyncio
import json
import threading
import time

import pytest
from serving import manager

from rowcast import (
    CaptureError,
    ConfigurationError,
    NotStarted,
    Principal,
    PublishError,
    SubscriptionExecutor,
)

pytestmark = pytest.mark.timeout(60)


def test_a_start_that_fails_leaves_nothing_and_may_be_tried_again(run, monkeypatch):
    async def work():
        live = manager()
        live.subscription(topic="t", public=True)
        real = __import__("rowcast.manager", fromlist=["x"]).SubscriptionExecutor

        class Failing:
            def __init__(self, bus, *, settings):
                self.engine = real(bus, settings=settings)
                self.resolve_on, self.stop, self.take_calls = (
                    self.engine.resolve_on,
                    self.engine.stop,
                    self.engine.take_calls,
                )

            def start(self, _fields):
                raise CaptureError("no slot", code="SLOT_TAKEN")

        with monkeypatch.context() as patched:
            patched.setattr("rowcast.manager.SubscriptionExecutor", Failing)
            with pytest.raises(CaptureError):
                await live.start()
        with pytest.raises(NotStarted):
            live.bridge()
        await live.stop()
        await live.start()
        await live.start()
        live.executor.register("1", "subscription { t { payload } }", principal=Principal(tenant_id="x"))
        await live.publish("t", {"a": 1}, tenant="x")
        assert b'{"a": 1}' in live.executor.next_event("1", 5.0)
        with pytest.raises(PublishError):
            await live.publish("t", object())
        with pytest.raises(ConfigurationError):
            live.subscription("x")
        assert "t(after: String): TEvent!" in await live.schema()
        await live.stop()
        await live.stop()
        assert "t(after: String): TEvent!" in await live.schema()

    run(work)


def test_a_start_that_is_cancelled_leaves_nothing_running(run, monkeypatch):
    real = SubscriptionExecutor.start
    entered = threading.Event()

    class Slow:
        """The engine, with a database that takes its time to answer."""

        def __init__(self, bus, *, settings):
            self.engine = SubscriptionExecutor(bus, settings=settings)
            engines.append(self.engine)

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def start(self, fields):
            entered.set()
            time.sleep(0.3)
            real(self.engine, fields)

    engines = []
    monkeypatch.setattr("rowcast.manager.SubscriptionExecutor", Slow)

    async def work():
        live = manager()
        starting = asyncio.create_task(live.start())
        await asyncio.to_thread(entered.wait, 5)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await asyncio.sleep(0.5)
        with pytest.raises(NotStarted):
            engines[0].schema()
        assert live._bridges == {}

    run(work)


def test_a_loop_that_ends_in_the_middle_of_a_call_leaves_an_engine_that_can_be_dropped():
    live = manager()

    @live.subscription(topic="t", public=True)
    async def made(event, variables) -> int:
        await asyncio.sleep(100)
        return 1

    async def work():
        await live.start()
        live.executor.register("1", "subscription { made }", principal=Principal())
        await live.publish("t", 1)
        await asyncio.sleep(0.05)

    asyncio.run(work())
    (error,) = json.loads(live.executor.next_event("1", 5.0))["errors"]
    assert error["extensions"]["code"] == "SHUTTING_DOWN"
    live.executor.stop()


def test_a_manager_may_be_stopped_in_another_loop_than_it_was_started_in():
    live = manager()

    @live.subscription(topic="t", public=True)
    async def made(event, variables) -> int:
        await asyncio.sleep(100)
        return 1

    async def start():
        await live.start()
        live.executor.register("1", "subscription { made }", principal=Principal())
        await live.publish("t", 1)
        await asyncio.sleep(0.05)

    asyncio.run(start())
    asyncio.run(live.stop())
    with pytest.raises(NotStarted):
        live.executor  # noqa: B018
