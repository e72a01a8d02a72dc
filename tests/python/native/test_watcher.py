"""Loops that cannot watch a descriptor: a thread watches for them, and ends with its manager."""

import asyncio
import json
import threading

import pytest
from serving import manager

from rowcast import (
    Principal,
)
from rowcast._engine import Hub
from rowcast.transport.bridge import _Watcher

pytestmark = pytest.mark.timeout(60)


def test_a_loop_without_add_reader_is_served_by_a_watcher(run, monkeypatch):
    def refuse(self, *_arguments):
        raise NotImplementedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_reader", refuse)

    async def work():
        for _ in range(20):
            live = manager()

            @live.subscription(topic="t", public=True)
            async def made(event, variables) -> int:
                return event.payload

            async with live:
                engine = live.executor
                engine.register("1", "subscription { made }", principal=Principal())
                await asyncio.to_thread(lambda engine=engine: [engine.publish("t", str(n)) for n in range(20)])
                told = await asyncio.to_thread(lambda engine=engine: [engine.next_event("1", 5.0) for _ in range(20)])
                assert [json.loads(body)["data"]["made"] for body in told] == list(range(20))
                engine.publish("t", "1")  # the watcher is about to call the loop while it is being stopped

    run(work)
    assert not [thread for thread in threading.enumerate() if thread.name == "rowcast-hub"]


def test_a_watcher_that_is_stopped_while_it_is_about_to_call_its_loop_ends(monkeypatch, started):
    class Late(threading.Event):
        """An event whose `clear` runs after `stop` has set it, as on a machine that stalls there."""

        def clear(self):
            assert self.wait(5)
            super().clear()

    monkeypatch.setattr("rowcast.transport.bridge.threading.Event", Late)
    loop = asyncio.new_event_loop()
    hub = Hub()
    session = started().connect(hub)
    session.receive_text('{"type":"ping"}')
    watcher = _Watcher(loop, hub.fileno(), hub.drain)
    monkeypatch.undo()
    stopping = threading.Thread(target=watcher.stop, daemon=True)
    stopping.start()
    stopping.join(5)
    alive = stopping.is_alive()
    watcher._handled.set()
    loop.close()
    assert not alive, "the watcher waits for the loop, and the loop's thread for the watcher"
