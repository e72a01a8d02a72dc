"""graphql-transport-ws, rule by rule, as a client sees it on the wire: the connection and its messages.

Rules 1-38 and 79 of the project's protocol checklist. Rules without IO are tested in Rust beside the state
machine; of the others these are not here: 22 (``test_lost_clients``), 77 (``test_shutdown``), 78 (``test_failures``).
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from rig.client import raw_socket, signed_in
from rig.lab import INIT_TIMEOUT, Lab, laboratory
from rig.postgres import Cluster
from rig.shop import ORDERS

pytestmark = pytest.mark.timeout(120)

INIT = {"type": "connection_init"}
TYPENAME = {"query": "{ __typename }"}


@pytest.fixture(scope="module")
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """One server for all rules: no rule may harm the next."""
    with newest_postgres.database() as database, laboratory(database) as lab:
        yield lab


# --- 1-5: the handshake ---


async def test_rule_1_the_subprotocol_is_echoed(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"


async def test_rule_2_the_newer_of_two_subprotocols_is_chosen(lab: Lab) -> None:
    async with raw_socket(lab.url, ("graphql-ws", "graphql-transport-ws")) as socket:
        assert socket.connection.subprotocol == "graphql-transport-ws"
        await socket.init()


@pytest.mark.parametrize(
    "headers",
    [["graphql-ws, graphql-transport-ws"], ["graphql-ws", "graphql-transport-ws"], ["graphql-ws,graphql-transport-ws"]],
    ids=["joined", "several headers", "joined without a space"],
)
async def test_rule_3_offers_may_be_joined_or_in_several_headers(lab: Lab, headers: list[str]) -> None:
    answer = await upgrade(lab, [f"Sec-WebSocket-Protocol: {value}" for value in headers])
    assert answer.startswith("HTTP/1.1 101")
    assert "sec-websocket-protocol: graphql-transport-ws" in answer.lower().splitlines()


@pytest.mark.parametrize("offer", [None, ("soap",), ("graphql-ws",)], ids=["none", "unknown", "the legacy one alone"])
async def test_rule_4_other_subprotocols_are_refused(lab: Lab, offer: tuple[str, ...] | None) -> None:
    async with raw_socket(lab.url, offer) as socket:
        assert socket.connection.subprotocol is None
        assert await socket.closed() == (4406, "Subprotocol not acceptable")


async def test_rule_5_a_plain_request_is_no_server_error(lab: Lab) -> None:
    address = lab.url.replace("ws://", "http://") + "/graphql"
    assert await asyncio.to_thread(status_of, address) < 500


# --- 6-16: connection_init ---


async def test_rule_6_no_init_in_time_closes_4408(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        assert await socket.closed() == (4408, "Connection initialisation timeout")


async def test_rule_7_a_slow_hook_is_not_a_late_init(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        assert await socket.init(f"slow:{INIT_TIMEOUT * 1.5}")


async def test_rule_8_pings_do_not_stop_the_timer(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send({"type": "ping"})
        await socket.send({"type": "pong"})
        assert (await socket.closed())[0] == 4408


async def test_rule_9_init_is_acknowledged(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        assert (await socket.init())["type"] == "connection_ack"


@pytest.mark.parametrize("payload", [{}, {"payload": None}, {"payload": {}}], ids=["absent", "null", "empty"])
async def test_rule_10_the_init_payload_may_be_missing(lab: Lab, payload: dict[str, Any]) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | payload)
        assert (await socket.receive())["type"] == "connection_ack"


@pytest.mark.parametrize("payload", ["text", 1, [], True])
async def test_rule_10_an_init_payload_that_is_no_object_closes_4400(lab: Lab, payload: object) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"payload": payload})
        assert (await socket.closed())[0] == 4400


async def test_rule_11_an_ack_without_payload_has_no_payload_key(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        assert await socket.init() == {"type": "connection_ack"}


async def test_rule_12_a_refused_token_closes_4403(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"payload": {"token": "mallory"}})
        assert await socket.closed() == (4403, "Forbidden")
        assert socket.frames == []


async def test_rule_13_a_hook_that_raises_closes_4500_and_tells_nothing(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"payload": {"token": "raise"}})
        code, reason = await socket.closed()
        assert code == 4500
        assert "secret" not in reason


async def test_rule_14_a_second_init_while_the_first_is_pending_closes_4429(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"payload": {"token": "slow:0.5"}})
        await socket.send(INIT)
        assert await socket.closed() == (4429, "Too many initialisation requests")


async def test_rule_15_a_second_init_after_the_ack_closes_4429(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send(INIT)
        assert (await socket.closed())[0] == 4429


async def test_rule_16_what_is_sent_behind_an_unfinished_init_waits_for_it(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"payload": {"token": "slow:0.3"}})
        await socket.send({"id": "early", "type": "subscribe", "payload": TYPENAME})
        kinds = [(await socket.receive())["type"] for _ in range(3)]
        assert kinds == ["connection_ack", "next", "complete"]


# --- 17-23: ping and pong ---


async def test_rule_17_a_ping_before_init_is_answered(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


async def test_rule_18_a_ping_after_the_ack_is_answered(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"type": "ping"})
        assert await socket.receive() == {"type": "pong"}


async def test_rule_19_a_pong_carries_the_pings_payload(lab: Lab) -> None:
    payload = {"text": 'ä"\\\u2028', "deep": [1, 1.5, None, {"a": True}], "big": 12345678901234567890}
    async with signed_in(lab.url) as socket:
        await socket.send({"type": "ping", "payload": payload})
        assert await socket.receive() == {"type": "pong", "payload": payload}


async def test_rule_20_an_unsolicited_pong_is_ignored(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"type": "pong", "payload": {"nobody": "asked"}})
        await socket.fence()


@pytest.mark.parametrize("kind", ["ping", "pong"])
@pytest.mark.parametrize("payload", ["text", 1, [], False])
async def test_rule_21_a_payload_that_is_no_object_closes_4400(lab: Lab, kind: str, payload: object) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"type": kind, "payload": payload})
        assert (await socket.closed())[0] == 4400


async def test_rule_23_a_pong_does_not_wait_for_queued_events(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.subscribe("many", ORDERS)
        await asyncio.to_thread(lab.shop.insert_many, 10_000)
        await socket.next("many")
        await socket.send({"type": "ping"})
        await socket.receive_type("pong", patience=2)


# --- 24-38: invalid messages ---

INVALID: dict[str, str | dict[str, Any]] = {
    "24 no JSON": "hello",
    "24 broken JSON": '{"type":"ping"',
    "24 two documents": '{"type":"ping"}{"type":"ping"}',
    "26 array": "[]",
    "26 number": "1",
    "26 string": '"ping"',
    "26 null": "null",
    "27 no type": {},
    "27 empty type": {"type": ""},
    "27 unknown type": {"type": "start", "id": "1", "payload": TYPENAME},
    "27 type of a number": {"type": 1},
    "28 connection_ack": {"type": "connection_ack"},
    "28 next": {"type": "next", "id": "1", "payload": {}},
    "28 error": {"type": "error", "id": "1", "payload": []},
    "29 no id": {"type": "subscribe", "payload": TYPENAME},
    "29 numeric id": {"type": "subscribe", "id": 1, "payload": TYPENAME},
    "29 empty id": {"type": "subscribe", "id": "", "payload": TYPENAME},
    "30 no payload": {"type": "subscribe", "id": "1"},
    "30 array payload": {"type": "subscribe", "id": "1", "payload": []},
    "30 text payload": {"type": "subscribe", "id": "1", "payload": "{ __typename }"},
    "31 no query": {"type": "subscribe", "id": "1", "payload": {}},
    "31 numeric query": {"type": "subscribe", "id": "1", "payload": {"query": 1}},
    "32 variables of a text": {"type": "subscribe", "id": "1", "payload": TYPENAME | {"variables": "{}"}},
    "32 variables of an array": {"type": "subscribe", "id": "1", "payload": TYPENAME | {"variables": []}},
    "33 numeric operationName": {"type": "subscribe", "id": "1", "payload": TYPENAME | {"operationName": 1}},
    "34 extensions of a text": {"type": "subscribe", "id": "1", "payload": TYPENAME | {"extensions": "x"}},
    "36 complete without id": {"type": "complete"},
    "36 complete with a number": {"type": "complete", "id": 1},
}


@pytest.mark.parametrize("message", INVALID.values(), ids=INVALID.keys())
async def test_rules_24_to_36_what_is_no_message_closes_4400(lab: Lab, message: str | dict[str, Any]) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send(message)
        assert (await socket.closed())[0] == 4400


async def test_rule_25_a_binary_frame_closes_4400(lab: Lab) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send(json.dumps({"type": "ping"}).encode())
        assert (await socket.closed())[0] == 4400


@pytest.mark.parametrize("key", ["variables", "operationName", "extensions"])
async def test_rules_32_to_34_null_is_the_same_as_absent(lab: Lab, key: str) -> None:
    async with signed_in(lab.url) as socket:
        await socket.send({"id": "1", "type": "subscribe", "payload": TYPENAME | {key: None}})
        assert (await socket.next("1"))["data"] == {"__typename": "Query"}


async def test_rule_35_unknown_keys_are_ignored(lab: Lab) -> None:
    async with raw_socket(lab.url) as socket:
        await socket.send(INIT | {"more": 1})
        await socket.receive_type("connection_ack")
        await socket.send({"id": "1", "type": "subscribe", "payload": TYPENAME | {"more": []}, "more": {}})
        assert (await socket.next("1"))["data"] == {"__typename": "Query"}


async def test_rule_37_an_oversized_message_harms_its_own_socket_alone(lab: Lab) -> None:
    async with signed_in(lab.url) as sibling, signed_in(lab.url) as socket:
        # The server may close before it has read everything: then the write fails, and its close frame may be lost.
        with suppress(ConnectionError, ConnectionClosed):
            await socket.send({"type": "ping", "payload": {"filler": "x" * (2 << 20)}})
        assert (await socket.closed())[0] in (1006, 1009, 4400)
        await sibling.fence()


@pytest.mark.parametrize("filler", ["x", "ä", "🎉"])
async def test_rule_38_a_close_reason_is_cut_between_characters(lab: Lab, filler: str) -> None:
    async with signed_in(lab.url) as socket:
        operation = "…" + filler * 200
        await socket.subscribe(operation, ORDERS)
        await socket.send({"id": operation, "type": "subscribe", "payload": {"query": ORDERS}})
        code, reason = await socket.closed()
        assert code == 4409
        assert len(reason.encode()) <= 123
        assert reason.startswith("Subscriber for …" + filler)


# --- 79: expiry ---


async def test_rule_79_an_expired_token_closes_4403(lab: Lab) -> None:
    async with signed_in(lab.url, "expires:1") as socket:
        await socket.subscribe("1", ORDERS)
        assert (await socket.closed())[0] == 4403


async def upgrade(lab: Lab, headers: list[str]) -> str:
    """The head of the answer to a handshake with these header lines."""
    host = lab.url.removeprefix("ws://")
    reader, writer = await asyncio.open_connection(*host.split(":"))
    lines = ["GET /graphql HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()
    return head.decode()


def status_of(address: str) -> int:
    """The status of a plain GET."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own server
            status: int = answer.status
            return status
    except urllib.error.HTTPError as refusal:
        return refusal.code
