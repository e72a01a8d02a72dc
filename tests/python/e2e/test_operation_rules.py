"""graphql-transport-ws, rule by rule, as a client sees it on the wire: operations and their results.

Rules 39-76 and 80 of the project's protocol checklist. Rules that need no IO are tested in Rust beside the state
machine; of the others these are not here: 42 and 51 (this version has no query that takes time and no source that ends
by itself), 58 (``test_failures``), 75 (``test_lost_clients``).
"""

import asyncio
import socket as sockets
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from rig.client import ACME, GLOBEX, Socket, raw_socket, signed_in
from rig.lab import OPERATIONS_MAX, Lab, laboratory
from rig.postgres import Cluster
from rig.shop import ORDERS, ids
from rig.wait import until_async

pytestmark = pytest.mark.timeout(120)

INIT = {"type": "connection_init"}
TYPENAME = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """One server for all rules: no rule may harm the next."""
    with newest_postgres.database() as database, laboratory(database) as lab:
        yield lab


# --- 39-47: operation ids ---


async def test_rule_39_subscribing_before_init_closes_4401(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": TYPENAME})
        assert await socket.closed() == (4401, "Unauthorized")


async def test_rule_40_an_id_in_use_closes_4409(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("mine", ORDERS)
        await socket.send({"id": "mine", "type": "subscribe", "payload": {"query": ORDERS}})
        assert await socket.closed() == (4409, "Subscriber for mine already exists")


async def test_rule_41_an_id_in_use_closes_4409_even_back_to_back(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        subscribe = {"id": "mine", "type": "subscribe", "payload": {"query": ORDERS}}
        init = INIT | {"payload": {"token": "acme"}}
        await asyncio.gather(*(socket.send(message) for message in (init, subscribe, subscribe)))
        assert await socket.closed() == (4409, "Subscriber for mine already exists")


async def test_rule_43_an_id_is_free_after_the_servers_complete(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for _ in range(3):
            await socket.send({"id": "again", "type": "subscribe", "payload": TYPENAME})
            await socket.receive_type("complete", "again")


async def test_rule_44_an_id_is_free_after_the_clients_complete(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for _ in range(3):
            await socket.subscribe("again", ORDERS)
            await socket.send({"id": "again", "type": "complete"})
        await socket.fence()


async def test_rule_45_an_id_is_free_after_an_error(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for _ in range(3):
            await socket.send({"id": "again", "type": "subscribe", "payload": {"query": "{"}})
            await socket.receive_type("error", "again")


@pytest.mark.parametrize("operation", ["ünï cödé 🎉", "x" * 1024, "__proto__", '"\\\u0001', "1"])
async def test_rule_46_ids_are_opaque(lab: Lab, operation: str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe(operation, ORDERS)
        order = lab.shop.insert()
        assert ids([await socket.next(operation)]) == [order]


async def test_rule_47_two_sockets_may_use_the_same_id(lab: Lab) -> None:
    async with signed_in(lab.url) as acme, signed_in(lab.url, "globex") as globex:
        await acme.subscribe("1", ORDERS)
        await globex.subscribe("1", ORDERS)
        mine, theirs = lab.shop.insert(ACME), lab.shop.insert(GLOBEX)
        assert ids([await acme.next("1")]) == [mine]
        assert ids([await globex.next("1")]) == [theirs]


# --- 48-67: results ---


async def test_rule_48_a_query_gives_one_next_and_complete(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "q", "type": "subscribe", "payload": TYPENAME})
        await socket.receive_type("complete", "q")
        assert [frame["type"] for frame in socket.of("q")] == ["next", "complete"]


async def test_rule_50_a_mutation_is_an_error_and_no_close(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "m", "type": "subscribe", "payload": {"query": "mutation { order }"}})
        await socket.error("m")
        await socket.fence()


async def test_rule_52_operations_interleave(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for operation in ("a", "b"):
            await socket.subscribe(operation, ORDERS)
        orders = [lab.shop.insert() for _ in range(5)]
        for operation in ("a", "b"):
            assert ids([await socket.next(operation) for _ in orders]) == orders


NAMED = "query A { a: __typename } query B { b: __typename }"


async def test_rule_53_the_operation_name_selects(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", NAMED, operationName="B")
        assert (await socket.next("1"))["data"] == {"b": "Query"}


@pytest.mark.parametrize(
    "name", [{}, {"operationName": None}, {"operationName": "C"}], ids=["absent", "null", "unknown"]
)
async def test_rule_53_an_operation_that_cannot_be_told_is_an_error(lab: Lab, name: dict[str, Any]) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": NAMED} | name})
        await socket.error("1")


async def test_rule_54_a_syntax_error_leaves_socket_and_siblings_alive(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("sibling", ORDERS)
        await socket.send({"id": "broken", "type": "subscribe", "payload": {"query": "subscription { orders { "}})
        assert all(error["locations"] for error in await socket.error("broken"))
        order = lab.shop.insert()
        assert ids([await socket.next("sibling")]) == [order]
        assert len(socket.of("broken")) == 1


async def test_rule_55_a_validation_error_says_what_and_where(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        query = "subscription { orders { row { id wages } } }"
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": query}})
        errors = await socket.error("1")
        assert any("wages" in error["message"] for error in errors)
        assert all(error["locations"] for error in errors)


@pytest.mark.parametrize(
    "variables", [{}, {"where": 1}, {"where": {"id": {"eq": {}}}}, {"where": {"wages": {"eq": "1"}}}], ids=str
)
async def test_rule_56_a_variable_that_does_not_fit_is_an_error(lab: Lab, variables: dict[str, Any]) -> None:
    async with signed_in(lab.url) as socket:
        query = "subscription ($where: OrdersWhere!) { orders(where: $where) { key { id } } }"
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": query, "variables": variables}})
        await socket.error("1")
        await socket.fence()


async def test_rule_57_a_field_error_is_a_next_and_the_stream_goes_on(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { ordersRaising { note } }")
        bad, good = lab.shop.insert(note="raise"), lab.shop.insert(note="fine")
        assert int(bad) < int(good)
        first, second = await socket.next("1"), await socket.next("1")
        assert first["data"] in (None, {"ordersRaising": None})
        assert first["errors"][0]["path"] == ["ordersRaising"]
        assert second["data"] == {"ordersRaising": {"note": "fine"}}


async def test_rule_59_next_always_has_data_and_errors_only_when_there_are_some(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        lab.shop.insert()
        payload = await socket.next("1")
        assert "data" in payload
        assert "errors" not in payload


async def test_rule_60_extensions_carry_the_cursor(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { orders { operation committedAt cursor } }")
        lab.shop.insert()
        payload = await socket.next("1")
        extension = payload["extensions"]["rowcast"]
        assert extension["cursor"] == payload["data"]["orders"]["cursor"]
        assert extension["operation"] == payload["data"]["orders"]["operation"] == "INSERT"
        assert extension["committedAt"] == payload["data"]["orders"]["committedAt"]


async def test_rule_61_an_aliased_root_field_is_keyed_by_its_alias(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { news: orders { what: operation } }")
        lab.shop.insert()
        assert (await socket.next("1"))["data"] == {"news": {"what": "INSERT"}}


async def test_rule_62_typename_works_at_every_depth(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { orders { __typename row { __typename } key { __typename } } }")
        lab.shop.insert()
        orders = {"__typename": "OrdersEvent", "row": {"__typename": "Orders"}, "key": {"__typename": "OrdersKey"}}
        assert (await socket.next("1"))["data"] == {"orders": orders}


@pytest.mark.parametrize(
    "query",
    [
        "subscription { orders @skip(if: false) { operation } }",
        "subscription { orders @include(if: true) { operation } }",
        "subscription { orders { operation } other: orders { operation } }",
        "subscription { ...Both } fragment Both on Subscription { orders { operation } other: orders { operation } }",
        "subscription { __typename }",
        "subscription { __schema { types { name } } }",
    ],
)
async def test_rule_63_a_subscription_has_one_plain_root_field(lab: Lab, query: str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": query}})
        await socket.error("1")


async def test_rule_64_introspection_works(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "{ __schema { subscriptionType { fields { name } } } }")
        fields = (await socket.next("1"))["data"]["__schema"]["subscriptionType"]["fields"]
        assert {"name": "orders"} in fields


async def test_rule_65_fragments_and_defaults_with_braces_are_understood(lab: Lab) -> None:
    query = """
        subscription ($where: OrdersWhere = { note: { eq: "{" } }) { orders(where: $where) { ...Told } }
        fragment Told on OrdersEvent { row { ...Row } }
        fragment Row on Orders { note }
    """
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", query)
        lab.shop.insert(note="}")
        lab.shop.insert(note="{")
        assert (await socket.next("1"))["data"] == {"orders": {"row": {"note": "{"}}}


async def test_rule_66_a_persisted_query_is_refused_by_name(lab: Lab) -> None:
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": "", "extensions": persisted}})
        assert (await socket.error("1"))[0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_SUPPORTED"
        await socket.fence()


@pytest.mark.parametrize("directive", ["@defer", "@stream"])
async def test_rule_67_incremental_delivery_is_an_error(lab: Lab, directive: str) -> None:
    query = f"subscription {{ orders {{ operation ... {directive} {{ row {{ id }} }} }} }}"
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": query}})
        await socket.error("1")
        await socket.fence()


# --- 68-76: the end of an operation ---


async def test_rules_68_and_69_a_completed_operation_is_silent(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("sibling", ORDERS)
        await socket.subscribe("over", ORDERS)
        await socket.send({"id": "over", "type": "complete"})
        await socket.fence()
        order = lab.shop.insert()
        assert ids([await socket.next("sibling")]) == [order]
        assert socket.of("over") == []


async def test_rule_68_the_source_is_released_without_another_event(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        before = lab.subscriptions()
        await socket.subscribe("over", ORDERS)
        await until_async(lambda: lab.subscriptions() == before + 1, "the subscription to be counted")
        await socket.send({"id": "over", "type": "complete"})
        await until_async(lambda: lab.subscriptions() == before, "the subscription to be released")


@pytest.mark.parametrize("operation", ["never seen", "finished"])
async def test_rule_70_completing_what_is_unknown_is_ignored(lab: Lab, operation: str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("finished", "{ __typename }")
        await socket.send({"id": operation, "type": "complete"})
        await socket.fence()


async def test_rules_71_and_72_completing_at_the_same_time_closes_nothing(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for number in range(20):
            await socket.send({"id": str(number), "type": "subscribe", "payload": TYPENAME})
            await socket.send({"id": str(number), "type": "complete"})
        await socket.fence()


async def test_rule_73_one_operation_too_many_is_an_error_and_no_close(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        for number in range(OPERATIONS_MAX):
            await socket.subscribe(f"fits {number}", ORDERS)
        await socket.send({"id": "too many", "type": "subscribe", "payload": {"query": ORDERS}})
        await socket.error("too many")
        order = lab.shop.insert()
        assert ids([await socket.next("fits 0")]) == [order]


async def test_rule_74_a_reset_connection_frees_its_operations(lab: Lab) -> None:
    before = lab.subscriptions()
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        await until_async(lambda: lab.subscriptions() == before + 1, "the subscription to be counted")
        reset(socket)
        await until_async(lambda: lab.subscriptions() == before, "the operations of a reset connection to be freed")


async def test_rule_76_a_normal_close_frees_its_operations_and_is_answered_by_nothing(lab: Lab) -> None:
    before = lab.subscriptions()
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        await socket.connection.close(1000)
        await until_async(lambda: lab.subscriptions() == before, "the operations of a closed socket to be freed")
        assert socket.of("1") == []


# --- 80: order ---


async def test_rule_80_results_come_in_commit_order(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        orders = [order for _ in range(20) for order in await asyncio.to_thread(lab.shop.insert_many, 10)]
        assert ids([await socket.next("1") for _ in orders]) == orders


def reset(socket: Socket) -> None:
    """Close the TCP connection with RST: no close frame, no FIN."""
    connection: sockets.socket = socket.connection.transport.get_extra_info("socket")
    connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    socket.connection.transport.abort()
