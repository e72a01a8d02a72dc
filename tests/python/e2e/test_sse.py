"""graphql-sse, one operation to a stream, and what an ``EventSource`` makes of it."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from rig.client import GLOBEX
from rig.postgres import Cluster
from rig.shop import ORDERS, ids
from rig.stream import EVENTS, Stream, Streams, streaming
from rig.wait import until_async

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def app(newest_postgres: Cluster) -> Iterator[Streams]:
    """The application on a shop of this test's own."""
    with newest_postgres.database() as database, streaming(database) as app:
        yield app


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_rules_81_82_and_84_a_stream_begins_at_once_and_tells_results_in_one_line(
    app: Streams, method: str
) -> None:
    async with app.stream(method=method) as stream:
        headers = stream.response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
        await stream.block()
        assert stream.comments == 1, "the first bytes come before anything has happened"
        orders = [app.shop.insert(note="a\r\nb") for _ in range(3)]
        results = [await stream.next() for _ in orders]
        assert ids(results) == orders
        assert stream.last_id == results[-1]["extensions"]["rowcast"]["cursor"]


async def test_rule_83_an_idle_stream_is_kept_alive(app: Streams) -> None:
    async with app.stream() as stream:
        while stream.comments < 3:
            assert (await stream.block()) is not None


async def test_rules_85_and_90_a_query_is_one_result_and_the_end(app: Streams) -> None:
    async with app.stream("{ __typename }") as stream:
        result, end = await stream.rest()
        assert result.json == {"data": {"__typename": "Query"}}
        assert (end.event, end.data) == ("complete", "")


@pytest.mark.parametrize("query", ["subscription {", "subscription { nothing }", "subscription { orders { nothing } }"])
async def test_rule_86_what_is_wrong_with_a_request_is_its_only_result(app: Streams, query: str) -> None:
    async with app.stream(query) as stream:
        result, end = await stream.rest()
        assert result.json["errors"][0]["message"]
        assert (list(result.json), end.event) == (["errors"], "complete")


async def test_rules_87_and_88_the_head_decides_what_is_answered(app: Streams) -> None:
    async with app.client(accept=EVENTS) as client:
        answer = await client.get("/graphql", params={"query": "mutation { x }"})
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await client.post("/graphql", json={"query": 7})).status_code == 400
        accept = {"accept": f"application/json;q=0.2, {EVENTS};q=0.9"}
        answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers=accept)
        assert answer.headers["content-type"].startswith(EVENTS)
        accept = {"accept": f"application/json, {EVENTS}"}
        answer = await client.post("/graphql", json={"query": "{ __typename }"}, headers=accept)
        assert answer.json() == {"data": {"__typename": "Query"}}


async def test_rule_89_a_client_that_leaves_frees_its_operation_without_another_event(app: Streams) -> None:
    async with app.stream():
        assert app.subscriptions() == 1
    await until_async(lambda: app.subscriptions() == app.metrics()["sessions"] == 0, "the operation to be freed")


async def test_rule_91_a_page_of_another_origin_gets_no_stream(app: Streams) -> None:
    async with app.client(accept=EVENTS) as client:
        for origin, status in (("https://evil.example", 403), ("https://shop.example", 200)):
            async with client.stream("GET", "/guarded", params={"query": ORDERS}, headers={"origin": origin}) as answer:
                assert answer.status_code == status
        for method in ("PUT", "DELETE"):
            answered = await client.request(
                method, "/guarded", headers={"origin": "https://evil.example", "accept": "*/*"}
            )
            assert answered.status_code == 403


async def test_a_stream_resumes_behind_its_last_event_id_without_a_gap_or_a_repeat(app: Streams) -> None:
    async with app.stream() as stream:
        first = app.shop.insert()
        assert ids([await stream.next()]) == [first]
    missed = [app.shop.insert() for _ in range(3)]
    async with app.stream(last_event_id=stream.last_id) as again:
        later = app.shop.insert()
        assert ids([await again.next() for _ in range(4)]) == [*missed, later]


async def test_a_stream_that_is_lost_before_its_first_result_resumes_from_where_it_began(app: Streams) -> None:
    app.shop.insert()
    async with app.stream() as stream:
        while not stream.last_id:
            assert (await stream.block()) is not None
    missed = [app.shop.insert() for _ in range(2)]
    async with app.stream(last_event_id=stream.last_id) as again:
        assert ids([await again.next() for _ in missed]) == missed


async def test_a_last_event_id_is_newer_than_what_the_url_says(app: Streams) -> None:
    async with app.stream() as stream:
        orders = [app.shop.insert() for _ in range(3)]
        cursors = [(await stream.next())["extensions"]["rowcast"]["cursor"] for _ in orders]
    with_after = f'subscription {{ orders(after: "{cursors[0]}") {{ key {{ id }} }} }}'
    async with app.stream(with_after, method="GET") as again:
        assert ids([await again.next() for _ in range(2)]) == orders[1:]
    async with app.stream(with_after, method="GET", last_event_id=cursors[1]) as again:
        assert ids([await again.next()]) == orders[2:]


async def test_a_cursor_that_is_none_is_the_operations_own_error(app: Streams) -> None:
    async with app.stream(last_event_id="nonsense") as stream:
        result, end = await stream.rest()
        assert result.json["errors"][0]["extensions"]["code"] == "CURSOR_INVALID"
        assert end.event == "complete"


async def test_a_tenant_is_told_its_own_rows_alone(app: Streams) -> None:
    async with app.stream(caller="acme") as acme, app.stream(caller="globex") as globex:
        theirs, ours = app.shop.insert(GLOBEX), app.shop.insert()
        assert ids([await acme.next()]) == [ours]
        assert ids([await globex.next()]) == [theirs]


async def test_who_is_not_let_in_gets_no_stream(app: Streams) -> None:
    for caller in ("nobody", "mallory"):
        async with app.client(caller, accept=EVENTS) as client:
            answer = await client.post("/graphql", json={"query": ORDERS})
            assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN")
    async with httpx.AsyncClient(base_url=app.server.url(), trust_env=False) as client:
        for extra in ({"params": {"caller": "acme", "query": ORDERS}}, {"params": {"query": ORDERS}}):
            cookies = {} if "caller" in extra["params"] else {"cookie": "caller=acme"}
            async with client.stream("GET", "/graphql", headers={"accept": EVENTS} | cookies, **extra) as answer:
                assert answer.status_code == 200, "an EventSource has cookies and its URL"
    await until_async(lambda: app.metrics()["sessions"] == 0, "the sessions to end")


async def test_a_stream_ends_with_its_callers_token_and_says_so(app: Streams) -> None:
    async with app.stream(caller="acme:1") as stream:
        (last,) = await stream.rest()
        assert last.json["errors"][0]["extensions"] == {"code": "TOKEN_EXPIRED", "closeCode": 4403}


async def test_a_revoked_caller_is_told_and_does_not_come_back(app: Streams) -> None:
    async with app.stream() as stream, app.stream(caller="globex") as other:
        assert await app.post("/revoke/acme") == 1
        (last,) = await stream.rest()
        assert last.json["errors"][0]["extensions"]["code"] == "REVOKED"
        order = app.shop.insert(GLOBEX)
        assert ids([await other.next()]) == [order]
    async with app.client(accept=EVENTS) as client:
        answer = await client.post("/graphql", json={"query": ORDERS}, headers={"last-event-id": stream.last_id})
        assert answer.status_code == 403


async def test_a_disconnected_caller_resumes(app: Streams) -> None:
    async with app.stream() as stream:
        order = app.shop.insert()
        assert ids([await stream.next()]) == [order]
        assert await app.post("/disconnect/acme") == 1
        (last,) = await stream.rest()
        assert last.json["errors"][0]["extensions"] == {"code": "DISCONNECTED", "closeCode": 1012}
    missed = app.shop.insert()
    async with app.stream(last_event_id=stream.last_id) as again:
        assert ids([await again.next()]) == [missed]


async def test_a_shutdown_ends_streams_cleanly_and_does_not_wait_for_them(app: Streams) -> None:
    """Without a ``complete``, so that clients reconnect; and before uvicorn's timeout of five seconds."""
    async with app.stream() as stream:
        order = app.shop.insert()
        assert ids([await stream.next()]) == [order]
        began = time.monotonic()
        app.server.process.send_signal(signal.SIGTERM)
        assert await stream.rest() == []
    assert app.server.stop() in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 4.5
    assert "Traceback" not in app.server.output
    assert "without completing" not in app.server.output


async def test_rates_hold_for_streams(newest_postgres: Cluster) -> None:
    limits = json.dumps({"connects": {"per_s": 0.01, "burst": 2}})
    with newest_postgres.database() as database, streaming(database, STREAM_LIMITS=limits) as app:
        async with app.stream(), app.stream(), app.client(accept=EVENTS) as client:
            answer = await client.post("/graphql", json={"query": ORDERS})
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0


async def test_a_client_that_does_not_read_costs_bounded_memory_and_is_dropped(app: Streams) -> None:
    host, port = app.server.url().removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = json.dumps({"query": "subscription { orders { row { id note } } }"}).encode()
        head = f"POST /graphql HTTP/1.1\r\nhost: {host}\r\naccept: {EVENTS}\r\nauthorization: Bearer acme\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        slow.sendall(head.encode() + body)
        await until_async(lambda: app.subscriptions() == 1, "the subscription to begin")
        await asyncio.to_thread(app.shop.insert_many, 400, note="x" * 50_000)
        await until_async(lambda: app.metrics()["slow_clients_total"] == 1, "the client to be found slow")
        await until_async(lambda: app.metrics()["sessions"] == 0, "the session to end")
        await until_async(lambda: app.server.sockets() <= 1, "the connection to be dropped")
    assert "Traceback" not in app.server.output
    assert "without completing" not in app.server.output
    async with app.stream() as stream:
        assert isinstance(stream, Stream)
