"""Clients that vanish without a close: the server frees everything of theirs."""

import asyncio
import json
import os
from collections.abc import Iterator

import pytest

from rig.lab import Lab, laboratory
from rig.postgres import Cluster
from rig.shop import ORDERS
from rig.wait import until_async

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def lab(newest_postgres: Cluster) -> Iterator[Lab]:
    """A server that pings each second."""
    with newest_postgres.database() as database, laboratory(database, LAB_PING_S="1") as lab:
        yield lab


async def test_rules_22_and_75_a_client_that_answers_no_ping_is_dropped_and_freed(lab: Lab) -> None:
    """A peer that vanished without FIN looks the same."""
    host, port = lab.url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(handshake(f"{host}:{port}"))
    await reader.readuntil(b"\r\n\r\n")
    writer.write(text_frame(json.dumps({"type": "connection_init", "payload": {"token": "acme"}})))
    writer.write(text_frame(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": ORDERS}})))
    await until_async(lambda: lab.subscriptions() == 1, "the subscription to be counted")
    await asyncio.wait_for(reader.readuntil(close_frame(3008)), 30)
    await until_async(lambda: lab.subscriptions() == 0, "the subscription to be freed")
    writer.close()


def close_frame(code: int) -> bytes:
    """The server's close frame after its length: RFC 6455, section 5.5.1."""
    return code.to_bytes(2, "big")


def handshake(host: str) -> bytes:
    """An upgrade request for the protocol."""
    lines = ["GET /graphql HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += ["Sec-WebSocket-Protocol: graphql-transport-ws", "", ""]
    return "\r\n".join(lines).encode()


def text_frame(text: str) -> bytes:
    """A masked text frame of less than 64 KiB: RFC 6455, section 5.2."""
    payload, mask = text.encode(), os.urandom(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return b"\x81" + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + mask + masked
