"""Mounts on real sockets: which connections they carry, refuse and close."""

import asyncio
import json

import httpx
import pytest
import uvloop
from serving import MOUNTS, OFFER, Peer, manager, on_asgi, on_fastapi, peer, served, until
from websockets.asyncio.client import connect

from rowcast import (
    NotStarted,
    Principal,
    custom_server,
)

pytestmark = pytest.mark.timeout(60)


@MOUNTS
def test_a_mount_carries_a_conversation_answers_schema_queries_and_says_goodbye(run, mount):
    async def work():
        live, seen = manager(public_introspection=True), []
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
                assert (await http.patch(f"http://{url}")).status_code == 405
            late = Peer(await connect(f"ws://{url}", subprotocols=OFFER))
            await late.enter({"token": "t"})
        assert (await late.closed())[0] in (1001, 1012)
        with pytest.raises(NotStarted):
            live.executor  # noqa: B018

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
