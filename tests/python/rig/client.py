"""A graphql-transport-ws client that hides nothing: it keeps frames as they come, and answers only pings."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PATIENCE = 60.0
"""Seconds to wait for a frame that must come: on a busy machine a server's process may not run for many of them."""

ACME = "11111111-1111-1111-1111-111111111111"
GLOBEX = "22222222-2222-2222-2222-222222222222"

Message = dict[str, Any]

AUTHENTICATE_AGAIN = (1012, "Changes were lost: authenticate again")
"""How the sockets close that a revoke among lost changes could name."""


class Socket:
    """One open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Message] = []
        """Every message received, oldest first."""
        self._taken: dict[str, int] = {}

    async def send(self, message: Message | str | bytes) -> None:
        """Send a message; text and bytes go out as they are."""
        await self.connection.send(json.dumps(message) if isinstance(message, dict) else message)

    async def receive(self, patience: float = PATIENCE) -> Message:
        """The next frame. Raises ``ConnectionClosed`` when the socket closes instead."""
        frame = await asyncio.wait_for(self.connection.recv(), patience)
        assert isinstance(frame, str), f"a binary frame, which stock clients refuse: {frame!r}"
        message: Message = json.loads(frame)
        self.frames.append(message)
        if message["type"] == "ping":
            await self.send({"type": "pong"})
        return message

    async def receive_type(self, kind: str, operation: str | None = None, patience: float = PATIENCE) -> Message:
        """The next frame of this type (and id); others are kept in ``frames`` and skipped."""
        return await asyncio.wait_for(self._receive_type(kind, operation, patience), patience)

    async def _receive_type(self, kind: str, operation: str | None, patience: float) -> Message:
        while True:
            message = await self.receive(patience)
            if message["type"] == kind and (operation is None or message.get("id") == operation):
                return message

    async def closed(self, patience: float = PATIENCE) -> tuple[int, str]:
        """Code and reason of the close, once the server has closed; frames before it are kept."""
        with suppress(ConnectionClosed):
            await asyncio.wait_for(self._receive_type("", None, patience), patience)
        return self.connection.close_code or 0, self.connection.close_reason or ""

    async def init(self, token: str | None = "acme") -> Message:  # noqa: S107 - a name
        """connection_init and its ack."""
        payload = {} if token is None else {"payload": {"token": token}}
        await self.send({"type": "connection_init"} | payload)
        return await self.receive_type("connection_ack")

    async def subscribe(self, operation: str, query: str, **payload: Any) -> None:
        """Start an operation and return once the server has handled it: when it answers a ping sent after it."""
        await self.send({"id": operation, "type": "subscribe", "payload": {"query": query} | payload})
        await self.fence(operation)

    async def fence(self, label: str = "") -> None:
        """Return when the server has handled everything sent so far."""
        await self.send({"type": "ping", "payload": {"fence": label}})
        while (await self.receive_type("pong")).get("payload") != {"fence": label}:
            pass

    async def next(self, operation: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The payload of the next ``next`` frame of this operation that has not been returned yet."""
        taken = self._taken.get(operation, 0)
        self._taken[operation] = taken + 1
        while len(self.nexts(operation)) <= taken:
            await self.receive_type("next", operation, patience)
        payload: dict[str, Any] = self.nexts(operation)[taken]
        return payload

    async def error(self, operation: str) -> list[Message]:
        """The errors with which this operation ends, before its first result."""
        while not (received := self.of(operation)):
            await self.receive()
        assert [message["type"] for message in received] == ["error"], "an `error` comes alone"
        errors: list[Message] = received[0]["payload"]
        assert isinstance(errors, list)
        assert errors
        return errors

    def nexts(self, operation: str) -> list[dict[str, Any]]:
        """Payloads of the ``next`` frames received so far for this operation."""
        return [frame["payload"] for frame in self.of(operation) if frame["type"] == "next"]

    def of(self, operation: str) -> list[Message]:
        """Every frame received so far for this operation."""
        return [frame for frame in self.frames if frame.get("id") == operation]


@asynccontextmanager
async def raw_socket(
    url: str, subprotocols: tuple[str, ...] | None = ("graphql-transport-ws",), **options: Any
) -> AsyncIterator[Socket]:
    """A socket that has sent nothing yet. ``url`` is the server's ``ws://…`` address without the path."""
    names = None if subprotocols is None else [Subprotocol(name) for name in subprotocols]
    settings: dict[str, Any] = {"subprotocols": names, "compression": None, "proxy": None}
    # A test that leaves frames unread does not wait for the close frame after them.
    settings |= {"max_size": None, "ping_interval": None, "close_timeout": 1}
    async with connect(f"{url}/graphql", **(settings | options)) as connection:
        yield Socket(connection)


@asynccontextmanager
async def signed_in(url: str, token: str = "acme") -> AsyncIterator[Socket]:  # noqa: S107 - a name
    """A socket whose connection_init has been acknowledged."""
    async with raw_socket(url) as socket:
        await socket.init(token)
        yield socket
