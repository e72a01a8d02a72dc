"""A resolver makes a field's values, and its failures affect only its own subscribers."""

import asyncio

import pytest

from rig.client import signed_in
from rig.lab import Lab
from rig.shop import ORDERS, ids

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(("field", "told"), [("ordersNoted", "HELLO"), ("ordersSync", "hello")])
async def test_an_async_and_a_plain_function_both_resolve(lab: Lab, field: str, told: str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", f"subscription {{ {field} {{ id note }} }}")
        order = lab.shop.insert(note="hello")
        assert (await socket.next("1"))["data"] == {field: {"id": order, "note": told}}


async def test_a_resolver_keeps_commit_order(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { ordersNoted { id } }")
        orders = await asyncio.to_thread(lab.shop.insert_many, 500)
        assert [(await socket.next("1"))["data"]["ordersNoted"]["id"] for _ in orders] == orders


async def test_a_raising_resolver_is_an_error_to_its_own_group_and_hides_its_text(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("raising", "subscription { ordersRaising { note } }")
        await socket.subscribe("plain", ORDERS)
        order = lab.shop.insert(note="raise")
        assert ids([await socket.next("plain")]) == [order]
        failed = await socket.next("raising")
        assert failed["errors"][0]["extensions"]["code"] == "RESOLVER_FAILED"
        assert "secret" not in str(failed)


async def test_a_slow_resolver_delays_nobody_else(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("slow", "subscription { ordersSlow { id } }")
        await socket.subscribe("plain", ORDERS)
        await socket.subscribe("noted", "subscription { ordersNoted { id } }")
        order = lab.shop.insert(note="1")
        await socket.next("plain")
        await socket.next("noted")
        assert socket.nexts("slow") == []
        assert (await socket.next("slow"))["data"] == {"ordersSlow": {"id": order}}


async def test_none_skips_the_event(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { ordersPicked { id } }")
        lab.shop.insert(note=None)
        order = lab.shop.insert(note="picked")
        assert (await socket.next("1"))["data"] == {"ordersPicked": {"id": order}}


async def test_a_resolver_is_not_called_for_rows_that_leave(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", "subscription { ordersNoted { id } }")
        gone, kept = lab.shop.insert(note="a"), lab.shop.insert(note="b")
        lab.shop.delete(gone)
        lab.shop.update(kept, note="c")
        told = [(await socket.next("1"))["data"]["ordersNoted"]["id"] for _ in range(3)]
        assert told == [gone, kept, kept]
