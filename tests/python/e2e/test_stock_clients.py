"""Python's stock client, `gql`, which does not know rowcast. npm's `graphql-ws` is in ``tests/clients``."""

import asyncio
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

from rig.client import ACME, GLOBEX
from rig.lab import Lab

pytestmark = pytest.mark.timeout(120)


def client(lab: Lab) -> Client:
    """As its documentation shows it."""
    return Client(transport=WebsocketsTransport(url=f"{lab.url}/graphql", init_payload={"token": "acme"}))


async def live(lab: Lab, results: "asyncio.Queue[dict[str, Any]]", tenant: str) -> None:
    """Write orders until one arrives: a stock client does not report when its subscription is live."""
    for _ in range(100):
        order = lab.shop.insert(tenant)
        try:
            while (await asyncio.wait_for(results.get(), 0.5))["orders"]["key"]["id"] != order:
                pass
        except asyncio.TimeoutError:
            continue
        return
    pytest.fail("no order ever arrived")


async def test_gql_sees_an_insert_of_its_own_tenant_by_sql(lab: Lab) -> None:
    results: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with client(lab) as session:

        async def follow() -> None:
            text = "subscription ($s: String!) { orders(where: {status: {eq: $s}}) { key { id } row { tenantId } } }"
            query = gql(text)
            query.variable_values = {"s": "open"}
            async for result in session.subscribe(query):
                results.put_nowait(result)

        following = asyncio.create_task(follow())
        await live(lab, results, ACME)
        lab.shop.insert(GLOBEX)
        lab.shop.insert(ACME, status="void")
        order = lab.shop.insert(ACME)
        told = await asyncio.wait_for(results.get(), 15)
        assert told == {"orders": {"key": {"id": order}, "row": {"tenantId": ACME}}}
        following.cancel()


async def test_gql_reads_the_schema_and_an_error_does_not_end_its_connection(lab: Lab) -> None:
    async with client(lab) as session:
        with pytest.raises(TransportQueryError, match="wages"):
            await session.execute(gql("{ wages }"))
        assert await session.execute(gql("{ __typename }")) == {"__typename": "Query"}
