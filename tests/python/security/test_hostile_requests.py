"""Requests that are small to send and large to answer: each is refused with a code, or answered, in bounded time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from rig.client import Socket, raw_socket, signed_in
from rig.lab import Lab

pytestmark = pytest.mark.timeout(180)

ANSWERED_WITHIN = 5.0
"""Seconds. The slowest of these takes some 0.1 s in an unoptimized build; the machine may be busy."""

Watched = Callable[[], AbstractAsyncContextManager[None]]


def doubling(levels: int, between: str) -> str:
    """Fragments that spread the next one twice."""
    return " ".join(f"fragment F{n} on OrdersEvent {{ {between} }}".replace("NEXT", f"F{n + 1}") for n in range(levels))


def nested(levels: int, inner: str = "{}") -> str:
    """A filter of nested connectives."""
    for level in range(levels):
        inner = (f"{{NOT: {inner}}}", f"{{AND: [{inner}]}}", f"{{OR: [{inner}, {{}}]}}")[level % 3]
    return inner


def filtered(where: str) -> str:
    """A subscription with this filter."""
    return f"subscription {{ orders(where: {where}) {{ cursor }} }}"


def with_variable(**value: Any) -> dict[str, Any]:
    """A subscription whose filter is one variable."""
    return {"query": "subscription($w: OrdersWhere) { orders(where: $w) { cursor } }", "variables": {"w": value}}


LAST = "fragment F40 on OrdersEvent { cursor }"
IDS = [str(number) for number in range(100_000)]

BOMBS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "depth": ({"query": "subscription { orders " + "{ row " * 5_000 + "}" * 5_001}, {"QUERY_TOO_LARGE"}),
    "braces": ({"query": "{" * 60_000}, {"QUERY_TOO_LARGE", "GRAPHQL_PARSE_FAILED"}),
    "aliases": (
        {"query": "subscription { orders { " + " ".join(f"a{n}: cursor" for n in range(3_000)) + " } }"},
        {"QUERY_TOO_LARGE"},
    ),
    "size": ({"query": "subscription { orders { cursor } } #" + "x" * 100_000}, {"QUERY_TOO_LARGE"}),
    "fragments that double": (
        {"query": "subscription { orders { ...F0 } } " + doubling(40, "...NEXT ...NEXT") + LAST},
        {"QUERY_TOO_LARGE", "GRAPHQL_VALIDATION_FAILED", "OK"},
    ),
    "fragments that double with fields": (
        {"query": "subscription { orders { ...F0 } } " + doubling(40, "a: cursor ...NEXT ...NEXT") + LAST},
        {"QUERY_TOO_LARGE"},
    ),
    "fragments nobody uses": (
        {"query": "subscription { orders { cursor } } " + doubling(40, "...NEXT ...NEXT") + LAST},
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "a cycle": (
        {"query": "subscription { orders { ...A } } fragment A on OrdersEvent { ...A cursor }"},
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "every fragment in every other": (
        {
            "query": "subscription { orders { ...F0 } } "
            + " ".join(
                f"fragment F{n} on OrdersEvent {{ {' '.join(f'...F{m}' for m in range(50))} }}" for n in range(50)
            )
        },
        {"GRAPHQL_VALIDATION_FAILED", "QUERY_TOO_LARGE"},
    ),
    "directives": (
        {"query": "subscription { orders { cursor " + "@include(if: true) " * 1_000 + "} }"},
        {"GRAPHQL_VALIDATION_FAILED", "QUERY_TOO_LARGE"},
    ),
    "directives that do not exist": (
        {"query": "subscription { orders { cursor " + "@x " * 3_000 + "} }"},
        {"GRAPHQL_VALIDATION_FAILED", "QUERY_TOO_LARGE"},
    ),
    "fields that do not exist": (
        {"query": "subscription { orders { " + " ".join(f"x{n}" for n in range(1_500)) + " } }"},
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "a name of 60,000 letters": (
        {"query": "subscription { orders { " + "x" * 60_000 + " } }"},
        {"GRAPHQL_VALIDATION_FAILED"},
    ),
    "operations": (
        {
            "query": " ".join(f"subscription S{n} {{ orders {{ cursor }} }}" for n in range(1_000)),
            "operationName": "S1",
        },
        {"QUERY_TOO_LARGE"},
    ),
    "introspection of introspection": (
        {"query": "{ __schema { " + " ".join(f"a{n}: types {{ fields {{ name }} }}" for n in range(100)) + " } }"},
        {"QUERY_TOO_LARGE"},
    ),
    "introspection in circles": (
        {"query": "{ __schema { types { " + "fields { type { " * 20 + "name" + " } }" * 20 + " } } }"},
        {"QUERY_TOO_LARGE"},
    ),
    "a filter 60 deep": ({"query": filtered(nested(20))}, {"BAD_WHERE"}),
    "a filter 90 deep in variables": (
        with_variable(NOT={"NOT": {}}) | {"query": filtered(nested(60))},
        {"BAD_WHERE", "QUERY_TOO_LARGE"},
    ),
    "a list of 100,000": (with_variable(id={"in": IDS}), {"4400"}),
    "a list of 25,000": (with_variable(id={"in": IDS[:25_000]}), {"QUERY_TOO_LARGE"}),
    "a list of 2,000": (with_variable(id={"in": IDS[:2_000]}), {"BAD_WHERE"}),
    "a list of 1,024": (with_variable(id={"in": IDS[:1_024]}), {"OK"}),
    "conditions": (with_variable(OR=[{"id": {"gt": "1"}}] * 300), {"BAD_WHERE"}),
    "a string of 200,000": (with_variable(note={"eq": "x" * 200_000}), {"OK"}),
    "a pattern that backtracks": (with_variable(note={"like": "%a" * 500 + "b"}), {"OK"}),
    "a pattern without end": (with_variable(note={"like": "%a" * 5_000}), {"BAD_WHERE"}),
    "one variable 3,000 times": (
        {
            "query": f"subscription($w: OrdersWhere!) {{ orders(where: {{OR: [{'$w ' * 3_000}]}}) {{ cursor }} }}",
            "variables": {"w": {"id": {"in": IDS[:1_000]}}},
        },
        {"QUERY_TOO_LARGE"},
    ),
    "small objects": (
        {"query": "subscription { orders { cursor } }", "variables": {"junk": [{"a": 0}] * 20_000}},
        {"QUERY_TOO_LARGE"},
    ),
    "small objects in extensions": (
        {"query": "subscription { orders { cursor } }", "extensions": {"junk": [{"a": 0}] * 20_000}},
        {"QUERY_TOO_LARGE"},
    ),
    "deep variables": (
        {"query": "subscription { orders { cursor } }", "variables": {"junk": [[[[[]]]]] * 4_000}},
        {"QUERY_TOO_LARGE"},
    ),
    "numbers of 100,000 digits": (
        {"query": f"subscription {{ orders(where: {{id: {{eq: {'9' * 50_000}}}}}) {{ cursor }} }}"},
        {"BAD_USER_INPUT"},
    ),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_or_answered_in_time_and_nobody_else_notices(
    lab: Lab, undisturbed: Watched, name: str
) -> None:
    payload, outcomes = BOMBS[name]
    async with undisturbed(), signed_in(lab.url) as attacker:
        began = time.monotonic()
        assert await outcome(attacker, payload) in outcomes
        assert time.monotonic() - began < ANSWERED_WITHIN


async def test_a_hundred_subscriptions_hold_no_more_than_their_bound(lab: Lab, undisturbed: Watched) -> None:
    """Each with the largest variables that pass. It was 1.7 GB when only the text was counted."""
    values = {"w": {"note": {"in": ["x" * 100] * 1_000}}}
    query = "subscription($w: OrdersWhere) { orders(where: $w) { cursor } }"
    async with undisturbed(), signed_in(lab.url) as attacker:
        before = lab.server.resident_bytes()
        for number in range(50):
            await attacker.subscribe(str(number), query, variables=values)
        assert lab.subscriptions() >= 50
        assert lab.server.resident_bytes() - before < 50 * 512 * 1024 + (16 << 20)


async def test_a_pattern_that_backtracks_costs_the_same_for_everybody_else(lab: Lab, undisturbed: Watched) -> None:
    async with undisturbed(), signed_in(lab.url) as attacker:
        where = {"note": {"like": "%a" * 500 + "b"}}
        query = "subscription($w: OrdersWhere) { orders(where: $w) { cursor } }"
        for number in range(50):
            await attacker.subscribe(str(number), query, variables={"w": where})
        await asyncio.to_thread(lab.shop.insert, note="a" * 2_000)


@pytest.mark.parametrize("kind", ["connection_init", "ping"])
async def test_a_payload_at_the_limit_is_taken_and_nothing_of_it_is_kept(
    lab: Lab, undisturbed: Watched, kind: str
) -> None:
    bloated = {"token": "acme", "junk": [{"a": 0}] * 20_000}
    async with undisturbed(), raw_socket(lab.url) as attacker:
        await attacker.send({"type": kind, "payload": bloated})
        assert (await attacker.receive())["type"] in ("connection_ack", "pong")


@pytest.mark.parametrize("depth", [101, 5_000, 100_000])
async def test_a_message_that_nests_too_deeply_closes_with_4400(lab: Lab, undisturbed: Watched, depth: int) -> None:
    async with undisturbed(), raw_socket(lab.url) as attacker:
        await attacker.send('{"type": "connection_init", "payload": {"a": ' + "[" * depth + "]" * depth + "}}")
        assert await attacker.closed() == (4400, "Invalid message received: nested more than 100 levels deep")


async def outcome(socket: Socket, payload: dict[str, Any]) -> str:
    """The code of the operation's error, that of the close, or OK once it is live or answered."""
    await socket.send({"id": "1", "type": "subscribe", "payload": payload})
    await socket.send({"type": "ping"})
    pongs = 0  # the first may overtake the error before it
    while not socket.connection.close_code:
        try:
            frame = await socket.receive()
        except Exception:
            break
        if frame["type"] == "error":
            code: str = frame["payload"][0]["extensions"]["code"]
            assert len(frame["payload"]) <= 50
            return code
        if frame["type"] == "pong":
            pongs += 1
            await socket.send({"type": "ping"})
        if pongs == 2:
            return "OK"
    return str(socket.connection.close_code)
