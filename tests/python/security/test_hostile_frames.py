"""Frames and sockets that no client library makes: each ends as the protocol requires, and leaks nothing."""

import asyncio
import json
import struct
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from rig.client import raw_socket, signed_in
from rig.lab import INIT_TIMEOUT, Lab
from rig.raw import BINARY, CLOSE, PING, TEXT, connected, frame, handshake, upgraded
from rig.shop import ORDERS
from rig.wait import until_async

pytestmark = pytest.mark.timeout(180)

Watched = Callable[[], AbstractAsyncContextManager[None]]

HALF_OPEN = 1_000
"""Sockets of each kind that are opened and left alone."""

CLOSED_BY: dict[str, tuple[bytes, set[int]]] = {
    "binary": (frame(b"\x00\xff" * 100, BINARY), {4400}),
    "no JSON": (frame(b"{'type': 'ping'}"), {4400}),
    "half of JSON": (frame(b'{"type": "connection_init", "payload": {'), {4400}),
    "an array": (frame(b'[{"type": "ping"}]'), {4400}),
    "a number": (frame(b"7"), {4400}),
    "nothing": (frame(b""), {4400}),
    "a null byte": (frame(b'{"type": "ping\x00"}'), {4400}),
    "no UTF-8": (frame(b'{"type": "\xff\xfe\xc0"}'), {1007}),
    "half a character": (frame("{“".encode()[:-1]), {1007}),
    "an unknown type": (frame(b'{"type": "drop table orders; --"}'), {4400}),
    "no type": (frame(b'{"id": "1"}'), {4400}),
    "a type that is an object": (frame(b'{"type": {"a": 1}}'), {4400}),
    "a server's type": (frame(b'{"type": "next", "id": "1", "payload": {}}'), {4400}),
    "a key twice": (frame(b'{"type": "ping", "type": "connection_init"}'), {4400}),
    "an id of 1 MiB": (frame(b'{"type": "complete", "id": "' + b"x" * ((1 << 20) - 100) + b'"}'), {4400}),
    "an id of 5,000 bytes": (frame(b'{"type": "complete", "id": "' + b"x" * 5_000 + b'"}'), {4400}),
    "more than is read": (frame(b'{"type": "ping", "payload": {"a": "' + b"x" * 300_000 + b'"}}'), {4400}),
    "more than the server reads": (frame(b"x" * (1 << 21)), {1009}),
    "a length without end": (b"\x81\xff" + struct.pack("!Q", 1 << 62) + b"mask", {1009}),
    "subscribe before init": (frame(b'{"type": "subscribe", "id": "1", "payload": {"query": "{a}"}}'), {4401}),
    "init twice": (frame(b'{"type": "connection_init"}') * 2, {4429}),
    "a duplicate id": (
        frame(b'{"type": "connection_init", "payload": {"token": "slow:0.2"}}')
        + frame(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": ORDERS}}).encode()) * 2,
        {4409},
    ),
    "much before the ack": (
        frame(b'{"type": "connection_init", "payload": {"token": "slow:5"}}')
        + b"".join(
            frame(json.dumps({"type": "subscribe", "id": str(n), "payload": {"query": "#" * 20_000}}).encode())
            for n in range(10)
        ),
        {4401},
    ),
    "no mask": (b"\x81\x02{}", {1002}),
    "a reserved opcode": (frame(b"", 11), {1002}),
    "a long control frame": (frame(b"x" * 126, PING), {1002}),
    "a fragment of nothing": (frame(b"x", 0), {1002}),
}


@pytest.mark.parametrize("name", CLOSED_BY)
async def test_what_is_not_the_protocol_closes_with_its_code(lab: Lab, undisturbed: Watched, name: str) -> None:
    data, codes = CLOSED_BY[name]
    async with undisturbed(), upgraded(lab.url) as attacker:
        await attacker.write(data)
        await until_async(lambda: attacker.close_code() is not None or attacker.reader.done(), "the close")
        assert attacker.close_code() in codes


async def test_half_open_sockets_are_ended_and_leave_nothing(lab: Lab, undisturbed: Watched) -> None:
    """Connected and silent, half a handshake, upgraded without an init: a thousand of each."""
    assert lab.server.sockets() == 0
    async with undisturbed(), AsyncExitStack() as sockets:
        silent = [await sockets.enter_async_context(connected(lab.url)) for _ in range(HALF_OPEN)]
        halves = [await sockets.enter_async_context(connected(lab.url)) for _ in range(HALF_OPEN)]
        for peer in halves:
            await peer.write(handshake("localhost")[:60])
        uninitiated = [await sockets.enter_async_context(upgraded(lab.url)) for _ in range(HALF_OPEN)]
        async with signed_in(lab.url) as client:
            await client.fence()
        for peer in uninitiated:
            await peer.read_until_close(4408, INIT_TIMEOUT + 60)
        await until_async(lambda: lab.metrics()["sessions"] == 1, "all sessions but the bystander's to end")
        assert not any(peer.reader.done() for peer in silent), "what never spoke is the server's, not rowcast's"
    await until_async(lambda: lab.server.sockets() == 0, "all sockets to be given back")
    assert lab.metrics()["sessions"] == 0


async def test_a_message_that_comes_byte_by_byte_holds_up_nobody(lab: Lab, undisturbed: Watched) -> None:
    """A slow sender gets no more than `init_wait_s` in total."""
    async with undisturbed(), upgraded(lab.url) as attacker:
        for byte in frame(b'{"type": "connection_init", "payload": {"token": "acme"}}'):
            await attacker.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if attacker.close_code():
                break
        await attacker.read_until_close(4408)


async def test_fragments_without_end_are_bounded(lab: Lab, undisturbed: Watched) -> None:
    async with undisturbed(), upgraded(lab.url) as attacker:
        await attacker.write(frame(b'{"type": "ping", "payload": {"a": "', TEXT, final=False))
        for _ in range(2_000):
            await attacker.write(frame(b"x" * 1_000, 0, final=False))
            if attacker.close_code():
                break
        await until_async(lambda: attacker.close_code() is not None or attacker.reader.done(), "an end")
        assert attacker.close_code() in (1009, 4408, None), "None: it hung up while we were still sending"


async def test_pings_are_answered_and_their_answers_bounded(lab: Lab, undisturbed: Watched) -> None:
    """A client that requests much and reads nothing fills its own queue, and is closed at the limit."""
    async with undisturbed(), upgraded(lab.url, receive_buffer=4096) as attacker:
        await attacker.say(type="connection_init", payload={"token": "acme"})
        await until_async(lambda: attacker.messages() != [], "the ack")
        attacker.reader.cancel()
        ping = frame(json.dumps({"type": "ping", "payload": {"a": "x" * 200_000}}).encode())
        for _ in range(100):
            try:
                await asyncio.wait_for(attacker.write(ping), 5)
            except asyncio.TimeoutError:
                break
        await until_async(lambda: lab.metrics()["sessions"] == 1, "its session to end", 60)


async def test_thousands_of_small_messages_hold_up_nobody(lab: Lab, undisturbed: Watched) -> None:
    async with undisturbed(), upgraded(lab.url) as attacker:
        await attacker.say(type="connection_init", payload={"token": "acme"})
        await attacker.write(frame(b'{"type":"ping"}') * 5_000 + frame(b"", PING) * 5_000)
        subscribe = {"type": "subscribe", "id": "1", "payload": {"query": ORDERS}}
        both = frame(json.dumps(subscribe).encode()) + frame(b'{"type":"complete","id":"1"}')
        await attacker.write(both * 1_000)
        await until_async(lambda: attacker.received.count(b'"pong"') == 5_000, "every answer")
        await attacker.write(frame(struct.pack("!H", 1000), CLOSE))
        await until_async(attacker.reader.done, "the end")


async def test_sockets_that_come_and_go_leave_nothing(lab: Lab, undisturbed: Watched) -> None:
    async with undisturbed():
        for _ in range(200):
            async with raw_socket(lab.url) as socket:
                await socket.send({"type": "connection_init", "payload": {"token": "acme"}})
                await socket.send({"id": "1", "type": "subscribe", "payload": {"query": ORDERS}})
                socket.connection.transport.abort()
        await until_async(lambda: lab.metrics()["sessions"] == 1, "the sessions to end")
        assert lab.subscriptions() == 1
