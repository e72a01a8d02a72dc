"""A number in a request is compared with every digit that the client wrote, whichever transport carries it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rig.client import ACME, raw_socket
from rig.postgres import Cluster
from rig.stream import EVENTS, TOKEN, Stream, Streams, streaming

pytestmark = pytest.mark.timeout(120)

NUMBER = "12.5000000000000000000000000001"
QUERY = "subscription ($most: Decimal!) { orders(where: {total: {lt: $most}}) { key { id } } }"
VARIABLES = f'{{"most": {NUMBER}}}'
TOTALS = ("12.50", "12.51", "12.49", "13")
JSON = {"content-type": "application/json"}


@pytest.fixture
def app(newest_postgres: Cluster) -> Iterator[Streams]:
    """The application on a shop of this test's own."""
    with newest_postgres.database() as database, streaming(database) as app:
        yield app


def body(**extensions: str) -> str:
    """A request as text: Python's JSON would round its number."""
    return f'{{"query": {json.dumps(QUERY)}, "variables": {VARIABLES}, "extensions": {json.dumps(extensions)}}}'


@asynccontextmanager
async def by_socket(app: Streams) -> AsyncIterator[Any]:
    """The results over a WebSocket."""
    signed = {"authorization": "Bearer acme"}
    async with raw_socket(app.server.url("ws"), additional_headers=signed) as socket:
        await socket.init()
        await socket.send(f'{{"id": "1", "type": "subscribe", "payload": {body()}}}')
        await socket.fence()
        yield lambda: socket.next("1")


@asynccontextmanager
async def by_stream(app: Streams, method: str, **asked: Any) -> AsyncIterator[Any]:
    """The results of a stream of one operation."""
    headers = {"accept": EVENTS} | asked.pop("headers", {})
    async with (
        app.client() as client,
        client.stream(method, "/graphql", headers=headers, **asked) as response,
    ):
        assert response.status_code == 200, await response.aread()
        stream = Stream(response)
        await stream.block()
        yield stream.next


@asynccontextmanager
async def by_reservation(app: Streams) -> AsyncIterator[Any]:
    """The results of one operation in a stream for several."""
    async with app.client() as client:
        token = (await client.put("/graphql")).text
        async with client.stream("GET", "/graphql", headers={"accept": EVENTS, TOKEN: token}) as response:
            stream = Stream(response)
            await stream.block()
            asked = await client.post("/graphql", headers=JSON | {TOKEN: token}, content=body(operationId="1"))
            assert asked.status_code == 202, asked.text

            async def following() -> Any:
                return (await stream.next())["payload"]

            yield following


TRANSPORTS = {
    "socket": by_socket,
    "post": lambda app: by_stream(app, "POST", content=body(), headers=JSON),
    "get": lambda app: by_stream(app, "GET", params={"query": QUERY, "variables": VARIABLES}),
    "reservation": by_reservation,
}


@pytest.mark.parametrize("transport", TRANSPORTS.values(), ids=TRANSPORTS)
async def test_a_filter_of_thirty_digits_gives_the_rows_of_sql_over_every_transport(
    app: Streams, transport: Any
) -> None:
    database = app.shop.database
    async with transport(app) as following:
        for order, total in enumerate(TOTALS):
            database.execute("insert into orders values (%s, %s, 'open', %s, null, null)", order, ACME, total)
        expected = database.execute(f"select id::text from orders where total < {NUMBER} order by id")  # noqa: S608
        told = [(await following())["data"]["orders"]["key"]["id"] for _ in expected]
        assert told == [order for (order,) in expected]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1.", "01", "0x1"])
async def test_what_is_not_a_json_number_is_refused_by_code(app: Streams, number: str) -> None:
    async with app.client(accept=EVENTS) as client:
        text = body().replace(NUMBER, number)
        answers = [
            await client.post("/graphql", headers=JSON, content=text),
            await client.get("/graphql", params={"query": QUERY, "variables": VARIABLES.replace(NUMBER, number)}),
        ]
    for answer in answers:
        code = answer.json()["errors"][0]["extensions"]["code"]
        assert (answer.status_code, code) == (400, "BAD_REQUEST")
