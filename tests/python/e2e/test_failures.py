"""Events that cannot be delivered are reported, and other subscribers are not affected."""

import asyncio

import pytest

from rig.client import ACME, AUTHENTICATE_AGAIN, raw_socket, signed_in
from rig.lab import Lab, served
from rig.server import CAPTURE
from rig.shop import ORDERS, ids

pytestmark = pytest.mark.timeout(180)

NOTE = "x" * 10_000
"""The kernel's buffers swallow some four megabytes before a client is seen to be slow."""

CUT = (
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    " and (backend_type = 'walsender' or query like '%%rowcast.%%' or query like '%%1919907683%%')"
)
"""The session that reads what is captured, of either kind."""

TOLD = "subscription { orders { key { id } row { note } } }"


async def test_rule_78_a_client_that_does_not_read_is_closed_and_its_sibling_misses_nothing(lab: Lab) -> None:
    async with signed_in(lab.url) as sibling, raw_socket(lab.url, max_queue=1) as slow:
        await slow.init()
        await slow.subscribe("1", TOLD)
        await sibling.subscribe("1", ORDERS)
        slow.connection.transport.pause_reading()
        orders: list[str] = []
        for _ in range(20):
            orders += await asyncio.to_thread(lab.shop.insert_many, 100, ACME, NOTE)
        assert ids([await sibling.next("1") for _ in orders]) == orders
        slow.connection.transport.resume_reading()
        code, _ = await slow.closed(60)
        told = ids(slow.nexts("1"))
        assert code in (1013, 1006), "'try again later', or dropped when not even the close could be sent"
        assert told == orders[: len(told)], "the delivered orders have no hole"
        assert len(told) < len(orders)


async def test_the_engine_comes_back_after_its_connection_was_cut(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        before = lab.shop.insert()
        assert lab.shop.database.execute(CUT, lab.shop.database.name)
        after = lab.shop.insert()
        assert ids([await socket.next("1", 60) for _ in range(2)]) == [before, after]


async def test_rule_58_a_stream_that_is_lost_for_good_ends_each_subscription_with_one_error(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("1", ORDERS)
        lab.shop.database.execute("select rowcast.stop_outbox()" if CAPTURE == "outbox" else "drop publication rowcast")
        lab.shop.insert()
        errors = await socket.error("1")
        assert errors[0]["extensions"]["code"] == "CAPTURE_FAILED"
        assert ("OUTBOX_MISSING" if CAPTURE == "outbox" else "PUBLICATION_MISSING") in errors[0]["message"]
        assert await socket.closed() == AUTHENTICATE_AGAIN
        assert [message["type"] for message in socket.of("1")].count("error") == 1
        assert not [message for message in socket.of("1") if message["type"] == "complete"]


async def test_a_table_with_row_security_is_refused(lab: Lab) -> None:
    """This version does not evaluate policies, so it must not show such a table at all."""
    lab.server.stop()
    lab.shop.database.execute("alter table orders enable row level security")
    with served(lab.shop) as secured:
        async with signed_in(secured.url) as socket:
            await socket.send({"id": "1", "type": "subscribe", "payload": {"query": ORDERS}})
            errors = await socket.error("1")
            assert errors[0]["extensions"]["code"] == "ROLE_REQUIRED"


async def test_a_caller_without_a_tenant_is_told_so(lab: Lab) -> None:
    async with signed_in(lab.url, "") as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": {"query": ORDERS}})
        assert (await socket.error("1"))[0]["extensions"]["code"] == "TENANT_REQUIRED"
