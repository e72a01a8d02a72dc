"""Manager, bridge, mounts and resolver lanes on the real engine: real sockets, topics in memory, no database."""

import asyncio
import contextlib
import enum
import gc
import json
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

import httpx
import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rowcast import (
    CaptureError,
    ConfigurationError,
    EventBusConfig,
    Forbidden,
    NotStarted,
    Principal,
    PublishError,
    SubscriptionExecutor,
    SubscriptionManager,
    custom_server,
)
from rowcast._engine import Hub
from rowcast.asgi import SubscriptionApp
from rowcast.bridge import _Watcher
from rowcast.fastapi import subscription_router
from rowcast.starlette import subscription_routes

pytestmark = pytest.mark.timeout(60)

OFFER = ["graphql-transport-ws"]


def manager(**settings):
    return SubscriptionManager(bus=EventBusConfig.memory(), **settings)


def on_fastapi(manager, authenticate=None, **options):
    app = FastAPI(lifespan=manager.lifespan)
    app.include_router(subscription_router(manager, authenticate=authenticate, **options), prefix="/graphql")
    return app


def on_starlette(manager, authenticate=None, **options):
    routes = subscription_routes(manager, authenticate=authenticate, **options)
    return Starlette(routes=routes, lifespan=manager.lifespan)


def on_asgi(manager, authenticate=None, **options):
    return SubscriptionApp(manager, authenticate, path="/graphql", **options)


MOUNTS = pytest.mark.parametrize("mount", [on_fastapi, on_starlette, on_asgi])


@contextlib.asynccontextmanager
async def served(app):
    """The application on uvicorn, in this event loop; ``host:port/graphql``."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "the application does not start"
        await asyncio.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"{host}:{port}/graphql"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def run():
    """Run a coroutine function in a loop of its own in which no callback and no forgotten task fails."""

    def run(work):
        complaints = []

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(work(), 30)
            gc.collect()
            await asyncio.sleep(0)

        asyncio.run(main())
        gc.collect()
        assert complaints == []

    return run


class Peer:
    """A graphql-transport-ws client."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def receive(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), 10))

    async def init(self, payload=None):
        await self.send(type="connection_init", payload=payload or {})

    async def enter(self, payload=None):
        await self.init(payload)
        assert (await self.receive())["type"] == "connection_ack"
        return self

    async def subscribe(self, operation, query, **payload):
        await self.send(id=operation, type="subscribe", payload={"query": query} | payload)
        await self.send(type="ping")
        assert await self.receive() == {"type": "pong"}

    async def next(self):
        frame = await self.receive()
        assert frame["type"] == "next", frame
        return frame["payload"]

    async def closed(self):
        async def drain():
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()

        await asyncio.wait_for(drain(), 10)
        return self.socket.close_code, self.socket.close_reason


@contextlib.asynccontextmanager
async def peer(url, **options):
    settings = {"subprotocols": OFFER, "compression": None, "ping_interval": None, "close_timeout": 1, "proxy": None}
    async with connect(f"ws://{url}", **(settings | options)) as socket:
        yield Peer(socket)


async def until(look, what="a condition"):
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)


@MOUNTS
def test_a_mount_carries_a_conversation_answers_schema_queries_and_says_goodbye(run, mount):
    async def work():
        live, seen = manager(), []
        live.subscription(topic="alerts", public=True)

        async def authenticate(connection):
            seen.append(connection)
            return Principal(user_id=connection.payload["token"])

        async with served(mount(live, authenticate)) as url:
            async with peer(f"{url}?a=b", additional_headers={"Cookie": "x=y"}) as client:
                await client.enter({"token": "t"})
                assert (seen[0].query, seen[0].cookies, seen[0].client[0]) == ({"a": "b"}, {"x": "y"}, "127.0.0.1")
                await client.subscribe("1", "subscription { alerts { payload } }")
                engine = live.executor
                await asyncio.to_thread(lambda: [engine.publish("alerts", str(n)) for n in range(500)])
                told = [(await client.next())["data"]["alerts"]["payload"] for _ in range(500)]
                assert told == list(range(500))
            await until(lambda: engine.metrics()["sessions"] == 0, "the session to end")
            async with httpx.AsyncClient() as http:
                answer = await http.post(f"http://{url}", json={"query": "{ __typename }"})
                assert (answer.status_code, answer.json()) == (200, {"data": {"__typename": "Query"}})
                strict = {"accept": "application/graphql-response+json"}
                assert (await http.post(f"http://{url}", json={"query": "{ no }"}, headers=strict)).status_code == 400
                assert (await http.get(f"http://{url}", params={"query": "{ __typename }"})).status_code == 200
                assert (await http.get(f"http://{url}")).status_code == 400
                assert (await http.delete(f"http://{url}")).status_code == 405
            late = Peer(await connect(f"ws://{url}", subprotocols=OFFER))
            await late.enter({"token": "t"})
        assert (await late.closed())[0] in (1001, 1012)
        with pytest.raises(NotStarted):
            live.executor  # noqa: B018

    run(work)


def test_every_way_in_which_the_hook_ends_is_an_answer_and_hides_its_words(run, caplog):
    async def work():
        live = manager()
        raised = {"forbid": Forbidden("nope"), "raise": ValueError("secret"), "cancel": asyncio.CancelledError()}

        async def authenticate(connection):
            what = connection.payload["what"]
            if what in raised:
                raise raised[what]
            await asyncio.sleep({"slow": 0.3, "hang": 100}.get(what, 0))
            return {"none": None, "claims": Principal(claims={"x": float("nan")})}.get(what, Principal())

        async with served(on_fastapi(live, authenticate)) as url:

            async def end(payload):
                async with peer(url) as client:
                    await client.init(payload)
                    return await client.closed()

            hidden = (4500, "Internal server error")
            assert await end({"what": "forbid"}) == (4403, "Forbidden")
            assert await end({}) == (4403, "Forbidden")
            for what in ("raise", "cancel", "claims", "none"):
                assert await end({"what": what}) == hidden
            async with peer(url) as client:
                await client.init({"what": "slow"})
                await client.send(type="ping")
                assert await client.receive() == {"type": "pong"}
                await client.init({"what": "slow"})
                assert await client.closed() == (4429, "Too many initialisation requests")
            async with peer(url) as client:
                await client.init({"what": "hang"})
            await until(lambda: live.executor.metrics()["sessions"] == 0, "the session of a client that left")
        assert "secret" in caplog.text

    run(work)


def test_a_socket_without_the_subprotocol_or_with_a_binary_frame_is_closed(run):
    async def work():
        async with served(on_fastapi(manager())) as url:
            async with peer(url, subprotocols=None) as client:
                assert await client.closed() == (4406, "Subprotocol not acceptable")
            async with peer(url) as client:
                await client.socket.send(b"x")
                assert (await client.closed())[0] == 4400

    run(work)


def test_a_plain_hook_runs_in_a_thread_and_origins_are_checked(run):
    async def work():
        def authenticate(_connection):
            assert threading.current_thread() is not threading.main_thread()
            return Principal()

        async with served(on_fastapi(manager(), authenticate, allowed_origins=["https://a"])) as url:
            async with peer(url, origin="https://a") as client:
                await client.enter()
            async with peer(url) as client:
                await client.enter()
            async with peer(url, origin="https://b") as client:
                assert await client.closed() == (4403, "Forbidden")

    run(work)


def test_a_socket_closes_with_4403_when_its_principal_expires(run):
    async def work():
        async def authenticate(_connection):
            return Principal(expires_at=time.time() + 0.3)

        live = manager()
        async with served(on_fastapi(live, authenticate)) as url, peer(url) as client:
            await client.enter()
            assert (await client.closed())[0] == 4403
            await until(lambda: live.executor.metrics()["sessions"] == 0, "the session to end")

    run(work)


@MOUNTS
def test_a_client_that_does_not_read_is_evicted_and_nobody_else_notices(run, mount):
    async def work():
        live = manager(queue_bytes_max=4 << 20)
        live.subscription(topic="alerts", public=True)
        async with served(mount(live)) as url, peer(url, max_queue=1, max_size=None) as slow, peer(url) as quick:
            for client in (slow, quick):
                await client.enter()
            await slow.subscribe("1", "subscription { alerts { payload } }")
            slow.socket.transport.pause_reading()
            engine, payload = live.executor, json.dumps("x" * 65536)

            def flood():
                for _ in range(2000):
                    engine.publish("alerts", payload)
                    if engine.metrics()["slow_clients_total"]:
                        return

            await asyncio.to_thread(flood)
            assert engine.metrics()["slow_clients_total"] == 1
            await until(lambda: engine.metrics()["sessions"] == 1, "the slow session to be gone")
            await quick.send(type="ping")
            assert await quick.receive() == {"type": "pong"}
            slow.socket.transport.abort()

    run(work)


@dataclass
class Order:
    id: int
    total: Decimal
    placed_at: datetime


class Note(TypedDict):
    text: str


class Level(enum.Enum):
    LOW = "l"


class Model(BaseModel):
    id: UUID
    level: Level


def test_resolvers_may_return_whatever_their_annotation_says(run):
    async def work():
        live = manager()
        at = datetime(2026, 11, 23, 16, 1, tzinfo=timezone.utc)
        number = UUID("12345678-1234-5678-1234-567812345678")

        @live.subscription(topic="t", public=True)
        async def an_order(event, variables) -> Order:
            return Order(event.payload, Decimal("1.50"), at)

        @live.subscription(topic="t", public=True)
        async def a_note(event, variables) -> Note:
            return {"text": f"note {event.payload}"}

        @live.subscription(topic="t", public=True)
        def a_model(event, variables) -> Model:
            return Model(id=number, level=Level.LOW)

        @live.subscription(topic="t", public=True)
        async def a_list(event, variables) -> list[Order | None]:
            return [Order(1, Decimal(2), at), None]

        @live.subscription(topic="t", public=True)
        async def anything(event, variables) -> dict:
            return {"payload": event.payload, "bytes": b"\x01"}

        @live.subscription(topic="t", public=True)
        async def nothing(event, variables) -> int | None:
            return None if event.payload == 0 else event.payload

        queries = {
            "anOrder": "{ id total placedAt }",
            "aNote": "{ text }",
            "aModel": "{ id level }",
            "aList": "{ id }",
            "anything": "",
            "nothing": "",
        }
        async with live:
            engine = live.executor
            for field, selection in queries.items():
                engine.register(field, f"subscription {{ {field} {selection} }}", principal=Principal())
            await live.publish("t", 0)
            await live.publish("t", 7)
            told = {}
            for field in queries:
                response = json.loads(await asyncio.to_thread(engine.next_event, field, 5.0))
                assert "errors" not in response
                told[field] = response["data"][field]
        assert told == {
            "anOrder": {"id": 0, "total": "1.50", "placedAt": "2026-11-23T16:01:00+00:00"},
            "aNote": {"text": "note 0"},
            "aModel": {"id": str(number), "level": "LOW"},
            "aList": [{"id": 1}, None],
            "anything": {"payload": 0, "bytes": "\\x01"},
            "nothing": 7,
        }

    run(work)


def test_whatever_a_resolver_does_is_one_answer_and_is_logged(run, caplog):
    async def work():
        live = manager(resolver_timeout_s=0.2)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            what = event.payload
            if what == "raise":
                raise ValueError("secret")
            if what == "own":
                raise PublishError("mine", code="MINE")
            if what == "cancel":
                raise asyncio.CancelledError
            if what == "timeout":
                raise TimeoutError
            if what == "slow":
                await asyncio.sleep(100)
            return 1j if what == "wrong" else 1

        whats = ("raise", "own", "cancel", "timeout", "slow", "wrong", "fine")
        async with live:
            engine = live.executor
            engine.register("1", "subscription { made }", principal=Principal())
            for what in whats:
                await live.publish("t", what)
            told = {}
            for what in whats:
                response = json.loads(await asyncio.to_thread(engine.next_event, "1", 5.0))
                (error,) = response.get("errors", [None])
                told[what] = response["data"]["made"] if error is None else error["extensions"]["code"]
                assert error is None or error["path"] == ["made"]
                assert "secret" not in json.dumps(response)
        assert told == {
            "raise": "RESOLVER_FAILED",
            "own": "MINE",
            "cancel": "RESOLVER_FAILED",
            "timeout": "RESOLVER_FAILED",
            "slow": "RESOLVER_TIMEOUT",
            "wrong": "RESOLVER_RESULT_INVALID",
            "fine": 1,
        }

    run(work)
    assert "secret" in caplog.text
    assert "returned what its annotation does not allow" in caplog.text


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


def test_a_custom_server_serves_turns_away_and_closes(run, caplog):
    async def work():
        live = manager()
        async with custom_server.serve(live, port=0) as server:
            url = custom_server.address(server).removeprefix("ws://")
            async with peer(url) as client:
                assert await client.closed() == (4500, "Internal server error")
            assert "not running" in caplog.text
            async with live:
                async with peer(url) as client:
                    await client.enter()
                async with peer(url) as client:
                    await client.enter()
                    await live.stop()
                    assert await client.closed() == (1001, "Going away")
            async with peer(url) as client:
                assert await client.closed() == (1001, "Going away")

    run(work)


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
        assert "t: TEvent!" in await live.schema()
        await live.stop()
        await live.stop()
        assert "t: TEvent!" in await live.schema()

    run(work)


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
                engine.publish("t", "1")  # the watcher is about to call the loop while it is told to stop

    run(work)
    assert not [thread for thread in threading.enumerate() if thread.name == "rowcast-hub"]


def test_events_are_shown_by_a_debug_manager_with_the_resolvers_own_words(run):
    async def work():
        live = manager(debug=True)

        @live.subscription(topic="t", public=True)
        async def made(event, variables) -> int:
            raise ValueError("the words")

        async with live:
            live.executor.register("1", "subscription { made }", principal=Principal())
            await live.publish("t", 1)
            body = await asyncio.to_thread(live.executor.next_event, "1", 5.0)
        assert "the words" in json.loads(body)["errors"][0]["message"]

    run(work)


def test_a_watcher_that_is_stopped_while_it_is_about_to_call_its_loop_ends(monkeypatch, started):
    class Late(threading.Event):
        """Its `clear` comes after `stop` has set it, as on a machine that stalls there."""

        def clear(self):
            assert self.wait(5)
            super().clear()

    monkeypatch.setattr("rowcast.bridge.threading.Event", Late)
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


def test_a_manager_is_served_by_uvloop():
    live = manager()

    @live.subscription(topic="t", public=True)
    async def made(event, variables) -> int:
        await asyncio.sleep(0)
        return event.payload

    async def work():
        async with served(on_asgi(live)) as url, peer(url) as client:
            await client.enter()
            await client.subscribe("1", "subscription { made }")
            engine = live.executor
            await asyncio.to_thread(lambda: [engine.publish("t", str(n)) for n in range(200)])
            assert [(await client.next())["data"]["made"] for _ in range(200)] == list(range(200))

    uvloop.run(work())


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
