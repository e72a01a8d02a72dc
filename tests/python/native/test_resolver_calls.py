"""How resolvers are called: in order, once for subscribers that share, bounded, and without blocking others."""

import asyncio
import json
import time

import pytest
from serving import manager, on_asgi, peer, served

from rowcast import (
    Principal,
)

pytestmark = pytest.mark.timeout(60)


def test_results_keep_commit_order_although_calls_end_out_of_order(run):
    async def work():
        live = manager(resolver_concurrency=16)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            await asyncio.sleep(0.02 if event.payload % 7 == 0 else 0)
            return event.payload

        async with live:
            engine = live.executor
            engine.register("1", "subscription { made }", principal=Principal())
            await asyncio.to_thread(lambda: [engine.publish("t", str(n)) for n in range(300)])
            bodies = await asyncio.to_thread(lambda: [engine.next_event("1", 5.0) for _ in range(300)])
        assert [json.loads(body)["data"]["made"] for body in bodies] == list(range(300))

    run(work)


def test_one_call_serves_every_subscription_and_no_more_run_at_once_than_allowed(run):
    async def work():
        live = manager(resolver_concurrency=4)
        calls = running = most = 0

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            nonlocal calls, running, most
            calls += 1
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1
            return event.payload

        async with live:
            engine = live.executor
            for number in range(20):
                engine.register(str(number), "subscription { made }", principal=Principal(user_id=number))
            await asyncio.to_thread(lambda: [engine.publish("t", str(n)) for n in range(50)])
            for number in range(20):
                bodies = await asyncio.to_thread(lambda n=str(number): [engine.next_event(n, 5.0) for _ in range(50)])
                assert [json.loads(body)["data"]["made"] for body in bodies] == list(range(50))
        assert (calls, most) == (50, 4)

    run(work)


def test_a_slow_resolver_delays_its_own_field_alone(run):
    async def work():
        live = manager(resolver_concurrency=1)
        hold = asyncio.Event()

        @live.subscription(topic="t", public=True)
        async def slow(event, variables) -> int:
            await hold.wait()
            return event.payload

        @live.subscription(topic="t", public=True)
        def blocking(event, variables) -> int:
            time.sleep(0.2)
            return event.payload

        @live.subscription(topic="t", public=True)
        async def quick(event, variables) -> int:
            return event.payload

        live.subscription(topic="t", public=True, name="plain")
        async with live:
            engine = live.executor
            for field, selection in (("slow", ""), ("blocking", ""), ("quick", ""), ("plain", "{ payload }")):
                engine.register(field, f"subscription {{ {field} {selection} }}", principal=Principal())
            await live.publish("t", 1)
            for field in ("plain", "quick", "blocking"):
                assert await asyncio.to_thread(engine.next_event, field, 5.0)
            assert engine.next_event("slow") is None
            hold.set()
            assert await asyncio.to_thread(engine.next_event, "slow", 5.0)

    run(work)


def test_calls_whose_client_left_do_not_hold_up_those_who_come_later(run):
    async def work():
        live = manager(resolver_concurrency=1)
        hold = asyncio.Event()

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            await hold.wait()
            return event.payload

        async with live:
            engine = live.executor
            engine.register("early", "subscription { made }", principal=Principal())
            for number in range(3):
                await live.publish("t", number)
            await asyncio.sleep(0.05)
            engine.register("late", "subscription { made }", principal=Principal())
            engine.complete("early")
            await live.publish("t", 3)
            hold.set()
            body = await asyncio.to_thread(engine.next_event, "late", 5.0)
            assert body is not None, "the lane is stuck behind calls that nobody answered"
            assert json.loads(body)["data"] == {"made": 3}

    run(work)


def test_stop_cancels_what_runs_and_answers_what_waits(run):
    async def work():
        live, cancelled = manager(resolver_concurrency=2), []

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                cancelled.append(event.payload)
                raise
            return 1

        async with live:
            live.executor.register("1", "subscription { made }", principal=Principal())
            for number in range(6):
                await live.publish("t", number)
            await asyncio.sleep(0.05)
            started = time.monotonic()
        assert time.monotonic() - started < 5
        assert sorted(cancelled) == [0, 1]
        async with live:
            assert live.execute("{ __typename }") == {"data": {"__typename": "Query"}}

    run(work)


def test_a_backlog_at_its_bound_is_an_error_with_the_last_cursor(run):
    async def work():
        live = manager(resolver_backlog_bytes_max=4000)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            await asyncio.sleep(0 if event.payload == "first" else 100)
            return 1

        async with served(on_asgi(live)) as url, peer(url) as client:
            await client.enter()
            await client.subscribe("1", "subscription { made }")
            engine = live.executor
            await asyncio.to_thread(engine.publish, "t", '"first"')
            told = await client.receive()
            await asyncio.to_thread(lambda: [engine.publish("t", json.dumps("x" * 200)) for _ in range(100)])
            frame = await client.receive()
            assert (frame["type"], frame["id"]) == ("error", "1")
            assert frame["payload"][0]["extensions"]["code"] == "RESOLVER_OVERLOADED"
            assert frame["payload"][0]["extensions"]["rowcast"] == {
                "cursor": told["payload"]["extensions"]["rowcast"]["cursor"]
            }

    run(work)
