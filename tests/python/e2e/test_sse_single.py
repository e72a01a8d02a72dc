"""graphql-sse, all operations of a client in one stream that it has reserved."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from rig.postgres import Cluster
from rig.shop import ORDERS, ids
from rig.stream import EVENTS, TOKEN, Stream, Streams, streaming
from rig.wait import until_async

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def app(newest_postgres: Cluster) -> Iterator[Streams]:
    """The application on a shop of this test's own."""
    with newest_postgres.database() as database, streaming(database) as app:
        yield app


async def reserve(client: httpx.AsyncClient) -> str:
    """A new token."""
    answer = await client.put("/graphql")
    assert (answer.status_code, answer.headers["content-type"]) == (201, "text/plain; charset=utf-8")
    return answer.text


def asking(operation: str | None, query: str = ORDERS) -> dict[str, Any]:
    """The body of an operation's request."""
    return {"query": query, "extensions": {} if operation is None else {"operationId": operation}}


@asynccontextmanager
async def opened(client: httpx.AsyncClient, token: str) -> AsyncIterator[Stream]:
    """The stream of this token."""
    async with client.stream("GET", "/graphql", headers={"accept": EVENTS, TOKEN: token}) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["errors"][0]["extensions"]["code"]


async def test_rules_92_to_99_operations_share_a_stream_and_are_told_apart(app: Streams) -> None:
    async with app.client() as client:
        assert (await client.put("/graphql", headers={"accept": "application/json"})).status_code == 406
        assert (await client.put("/graphql", headers={"accept": "text/plain"})).status_code == 201
        token = await reserve(client)
        named = {TOKEN: token}
        assert code(await client.put("/graphql", headers=named)) == (409, "STREAM_REGISTERED")
        async with opened(client, token) as stream:
            assert (await stream.block()) is not None
            assert stream.comments == 1
            again = await client.get("/graphql", params={"token": token}, headers={"accept": EVENTS})
            assert code(again) == (409, "STREAM_OPEN")
            answer = await client.post("/graphql", json=asking(None), headers=named)
            assert code(answer) == (400, "OPERATION_ID_MISSING")
            for operation in ("1", "2"):
                assert (await client.post("/graphql", json=asking(operation), headers=named)).status_code == 202
            assert code(await client.post("/graphql", json=asking("1"), headers=named)) == (409, "OPERATION_EXISTS")
            order = app.shop.insert()
            told = [await stream.next(), await stream.next()]
            assert sorted(result["id"] for result in told) == ["1", "2"]
            assert ids(result["payload"] for result in told) == [order, order]
            asked = asking("3", "{ __typename }")
            assert (await client.post("/graphql", json=asked, headers=named)).status_code == 202
            assert await stream.next() == {"id": "3", "payload": {"data": {"__typename": "Query"}}}
            end = await stream.event()
            assert end is not None
            assert (end.event, end.json) == ("complete", {"id": "3"})


async def test_rule_96_without_a_stream_there_is_nowhere_to_operate(app: Streams) -> None:
    async with app.client() as client:
        assert (await client.post("/graphql", json=asking("1"))).status_code == 404
        for headers in ({TOKEN: "guessed"}, {TOKEN: "guessed", "accept": EVENTS}):
            assert code(await client.post("/graphql", json=asking("1"), headers=headers)) == (404, "STREAM_NOT_FOUND")
        answer = await client.get("/graphql", params={"token": "guessed"}, headers={"accept": EVENTS})
        assert code(answer) == (404, "STREAM_NOT_FOUND")


async def test_rule_100_what_is_wrong_with_an_operation_is_the_answer_to_its_request(app: Streams) -> None:
    async with app.client() as client:
        token = await reserve(client)
        async with opened(client, token) as stream:
            wrong = asking("1", "subscription { nothing }")
            answer = await client.post("/graphql", json=wrong, headers={TOKEN: token})
            assert code(answer) == (400, "GRAPHQL_VALIDATION_FAILED")
            assert (await client.post("/graphql", json=asking("1"), headers={TOKEN: token})).status_code == 202
            order = app.shop.insert()
            assert ids([(await stream.next())["payload"]]) == [order]


async def test_the_limit_of_operations_is_told_to_the_one_beyond_it(app: Streams) -> None:
    async with app.client() as client:
        named = {TOKEN: await reserve(client)}
        for operation in "123":
            assert (await client.post("/graphql", json=asking(operation), headers=named)).status_code == 202
        assert code(await client.post("/graphql", json=asking("4"), headers=named)) == (429, "OPERATION_LIMIT")


async def test_rule_101_an_operation_that_is_ended_is_silent(app: Streams) -> None:
    async with app.client() as client:
        named = {TOKEN: await reserve(client)}
        async with opened(client, named[TOKEN]) as stream:
            for operation in ("1", "2"):
                await client.post("/graphql", json=asking(operation), headers=named)
            assert (await client.delete("/graphql", headers=named)).status_code == 400
            gone = await client.delete("/graphql", params={"operationId": "1"}, headers={TOKEN: "guessed"})
            assert code(gone) == (404, "STREAM_NOT_FOUND")
            assert (await client.delete("/graphql", params={"operationId": "1"}, headers=named)).status_code == 200
            assert app.subscriptions() == 1
            orders = [app.shop.insert() for _ in range(2)]
            told = [await stream.next() for _ in orders]
            assert [(result["id"], *ids([result["payload"]])) for result in told] == [("2", order) for order in orders]
            assert (await client.post("/graphql", json=asking("1"), headers=named)).status_code == 202


async def test_rule_103_other_methods_are_told_which_there_are(app: Streams) -> None:
    async with app.client() as client:
        answer = await client.patch("/graphql")
        assert answer.status_code == 405
        assert {name.strip() for name in answer.headers["allow"].split(",")} >= {"GET", "POST", "PUT", "DELETE"}


async def test_rule_104_a_token_is_its_callers_alone_and_ends_when_nobody_claims_it(app: Streams) -> None:
    async with app.client() as client, app.client("globex") as stranger:
        named = {TOKEN: await reserve(client)}
        assert len(named[TOKEN]) >= 43, "256 bits"
        for headers in (named, named | {"accept": EVENTS}):
            answer = await stranger.post("/graphql", json=asking("1"), headers=headers)
            assert code(answer) == (404, "STREAM_NOT_FOUND")
        answer = await stranger.delete("/graphql", params={"operationId": "1"}, headers=named)
        assert code(answer) == (404, "STREAM_NOT_FOUND")
        assert (await client.post("/graphql", json=asking("1"), headers=named)).status_code == 202
        await until_async(lambda: app.metrics()["sessions"] == 0, "the reservation to end")
        assert app.subscriptions() == 0
        assert code(await client.post("/graphql", json=asking("1"), headers=named)) == (404, "STREAM_NOT_FOUND")


async def test_rule_105_a_stream_that_is_dropped_frees_all_its_operations(app: Streams) -> None:
    async with app.client() as client:
        named = {TOKEN: await reserve(client)}
        async with opened(client, named[TOKEN]):
            for operation in ("1", "2"):
                await client.post("/graphql", json=asking(operation), headers=named)
            assert app.subscriptions() == 2
        await until_async(lambda: app.subscriptions() == app.metrics()["sessions"] == 0, "the operations to be freed")
        assert code(await client.post("/graphql", json=asking("1"), headers=named)) == (404, "STREAM_NOT_FOUND")


async def test_each_operation_is_told_why_its_stream_ends(app: Streams) -> None:
    async with app.client() as client:
        named = {TOKEN: await reserve(client)}
        async with opened(client, named[TOKEN]) as stream:
            for operation in ("1", "2"):
                await client.post("/graphql", json=asking(operation), headers=named)
            assert await app.post("/revoke/acme") == 1
            told = [event.json for event in await stream.rest()]
            assert [result["id"] for result in told] == ["1", "2"]
            codes = {result["payload"]["errors"][0]["extensions"]["code"] for result in told}
            assert codes == {"REVOKED"}


async def test_an_operation_resumes_by_its_extensions(app: Streams) -> None:
    async with app.client() as client:
        named = {TOKEN: await reserve(client)}
        async with opened(client, named[TOKEN]) as stream:
            await client.post("/graphql", json=asking("1"), headers=named)
            app.shop.insert()
            cursor = (await stream.next())["payload"]["extensions"]["rowcast"]["cursor"]
            missed = app.shop.insert()
            await asyncio.wait_for(stream.next(), 30)
            body = asking("2")
            body["extensions"]["rowcast"] = {"after": cursor}
            assert (await client.post("/graphql", json=body, headers=named)).status_code == 202
            result = await stream.next()
            assert (result["id"], ids([result["payload"]])) == ("2", [missed])
