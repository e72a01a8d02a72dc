"""A WebSocket written by hand, for what no client library would do: broken frames, half frames, silence."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from rig.wait import until_async

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


class RawPeer:
    """One TCP connection; what the server sends is kept as it comes."""

    def __init__(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stream = stream
        self._writer = writer
        self.received = bytearray()
        self.reader = asyncio.create_task(self._read())

    async def say(self, **message: Any) -> None:
        """A message of the protocol."""
        await self.send(json.dumps(message).encode())

    async def send(self, payload: bytes, opcode: int = TEXT, *, final: bool = True) -> None:
        """One masked frame."""
        await self.write(frame(payload, opcode, final=final))

    async def write(self, data: bytes) -> None:
        """Send these bytes unchanged. A server that has closed the connection is not an error here."""
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def read_until_close(self, code: int, patience: float = 30.0) -> None:
        """Wait for a close frame with this code."""
        await until_async(lambda: self.close_code() or self.reader.done(), f"a close with {code}", patience)
        assert self.close_code() == code, f"not {code}: {bytes(self.received[-200:])!r}"

    def close_code(self) -> int | None:
        """The code of the close frame, if one has come."""
        for opcode, payload in frames(bytes(self.received)):
            if opcode == CLOSE:
                return int(struct.unpack("!H", payload[:2])[0])
        return None

    def messages(self) -> list[dict[str, Any]]:
        """The text frames so far."""
        return [json.loads(payload) for opcode, payload in frames(bytes(self.received)) if opcode == TEXT]

    async def hangs_up_within(self, patience: float) -> bool:
        """Whether the server closes the TCP connection."""
        done, _ = await asyncio.wait([self.reader], timeout=patience)
        return bool(done)

    async def _read(self) -> None:
        with suppress(ConnectionError):
            while data := await self._stream.read(65_536):
                self.received += data

    def stop_reading(self) -> None:
        """Stop reading: data waits in the buffers until they are full."""
        self.reader.cancel()

    def read_on(self) -> None:
        """Read again after `stop_reading`."""
        self.reader = asyncio.create_task(self._read())

    def abort(self) -> None:
        """Drop the connection without a close frame."""
        self.reader.cancel()
        self._writer.transport.abort()


@asynccontextmanager
async def connected(url: str, receive_buffer: int | None = None) -> AsyncIterator[RawPeer]:
    """A TCP connection that has sent nothing."""
    host, port = url.removeprefix("ws://").split(":")
    plain = socket.socket()
    if receive_buffer is not None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.settimeout(0)
    await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
    peer = RawPeer(*await asyncio.open_connection(sock=plain, limit=65_536))
    try:
        yield peer
    finally:
        peer.abort()


@asynccontextmanager
async def upgraded(url: str, receive_buffer: int | None = None) -> AsyncIterator[RawPeer]:
    """A WebSocket that has sent nothing."""
    async with connected(url, receive_buffer) as peer:
        await peer.write(handshake(url.removeprefix("ws://")))
        await until_async(lambda: b"\r\n\r\n" in peer.received, "the handshake")
        assert peer.received.startswith(b"HTTP/1.1 101"), bytes(peer.received)
        del peer.received[: peer.received.index(b"\r\n\r\n") + 4]
        yield peer


def handshake(host: str) -> bytes:
    """An upgrade request for the protocol."""
    lines = ["GET /graphql HTTP/1.1", f"Host: {host}", "Connection: Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += ["Sec-WebSocket-Protocol: graphql-transport-ws", "", ""]
    return "\r\n".join(lines).encode()


def frame(payload: bytes, opcode: int = TEXT, *, final: bool = True) -> bytes:
    """A masked frame: RFC 6455, section 5.2."""
    head, size = bytes([opcode | (0x80 if final else 0)]), len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        length = bytes([0x80 | 127]) + struct.pack("!Q", size)
    mask = os.urandom(4)
    repeated = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    return head + length + mask + masked


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The whole, unmasked frames at the beginning of what a server sent."""
    found, at = [], 0
    while len(data) >= at + 2:
        size, begin = data[at + 1] & 0x7F, at + 2
        if size == 126:
            size, begin = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, begin = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if len(data) < begin + size:
            break
        found.append((data[at] & 0x0F, data[begin : begin + size]))
        at = begin + size
    return found
