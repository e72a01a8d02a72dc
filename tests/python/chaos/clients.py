"""Clients: one socket each with an operation on every table, which come back whatever happens and resume if they can.

A client keeps the cursor of the last event of each operation. When its socket or an operation ends, it subscribes again
after that cursor; told that this is not possible any more, it begins afresh and says so in its transcript.
"""

import asyncio
import hashlib
import json
import random
import re
import socket as socket_module
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from chaos.checker import AFRESH, Heard, Segment, Transcript
from chaos.history import Told, View
from rig.proxy import BUFFER

Position = Callable[[], Awaitable[int]]
"""The position in the WAL behind everything that has committed by now."""

RESUME_PROBE = '{ __type(name: "Subscription") { fields { args { name } } } }'


@dataclass
class Operation:
    """One subscription through all of its reconnects."""

    id: str
    transcript: Transcript
    cursor: str | None = None
    live: bool = False
    body: str = ""
    """What the last row said that came."""
    trouble: str = "began"
    """Why the next segment begins."""

    @property
    def segment(self) -> Segment:
        """The one at hand."""
        return self.transcript.segments[-1]

    def query(self, *, argument: bool) -> str:
        """The document; ``argument`` declares the cursor as a variable of the field."""
        view = self.transcript.view
        states = f"where: {{state: {{in: {json.dumps(view.states)}}}}}" if view.states else ""
        arguments = " ".join(["after: $after"] * argument + [states] * bool(states))
        shape = "operation transition key { id } row { id rev body } cursor"
        name = "subscription($after: String)" if argument else "subscription"
        return f"{name} {{ it: {view.table}{f'({arguments})' if arguments else ''} {{ {shape} }} }}"

    def begin(self, *, resumed: bool) -> None:
        """A new segment."""
        self.transcript.segments.append(Segment(resumed, self.trouble))
        self.live = True

    def end(self, why: str) -> None:
        """The segment is over, if one is open."""
        if self.live:
            self.segment.end = self.trouble = why
            self.live = False


@dataclass
class Ledger:
    """What clients count together, and what the rig sends them."""

    counts: Counter[str] = field(default_factory=Counter)
    policies: int = 0
    """Changes of the policy that have been begun."""


class Client:
    """One client of one owner."""

    def __init__(self, name: str, views: list[View], chance: random.Random, ledger: Ledger, position: Position) -> None:
        self.name = name
        self.operations = [Operation(f"{name}-{view.table}", Transcript(f"{name} {view}", view)) for view in views]
        self.socket: ClientConnection | None = None
        self._owner = views[0].owner
        self._chance = chance
        self._ledger = ledger
        self._position = position
        self._resumes = False
        self._fences: dict[str, list[tuple[Operation, Segment]]] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._together = chance.random() < 0.5
        self._reading = asyncio.Event()
        self._reading.set()

    async def run(self, url: Callable[[], str]) -> None:
        """Be connected until cancelled."""
        while True:
            try:
                await self._session(url())
            except (OSError, WebSocketException, TimeoutError) as lost:
                self._lost(type(lost).__name__)
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))

    def abort(self) -> None:
        """Die without a word, as far as the server can see."""
        if self.socket is not None:
            self.socket.transport.abort()

    async def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        self._reading.clear()
        if self.socket is not None:
            self.socket.transport.pause_reading()
        await asyncio.sleep(seconds)
        self._reading.set()
        with suppress(Exception):
            if self.socket is not None:
                self.socket.transport.resume_reading()

    async def _session(self, url: str) -> None:
        options: dict[str, Any] = {"compression": None, "proxy": None, "max_size": None, "ping_interval": None}
        options |= {"subprotocols": [Subprotocol("graphql-transport-ws")], "open_timeout": 10, "close_timeout": 1}
        host, _, port = url.removeprefix("ws://").rpartition(":")
        plain = socket_module.socket()
        plain.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, BUFFER)
        plain.settimeout(0)
        await asyncio.get_running_loop().sock_connect(plain, (host, int(port)))
        async with connect(f"{url}/graphql", sock=plain, **options) as socket:
            self.socket = socket
            try:
                await self._open(socket)
                async for frame in socket:
                    await self._reading.wait()
                    await self._frame(socket, json.loads(frame))
                self._lost(f"closed {socket.close_code} {socket.close_reason}")
            except WebSocketException:
                self._lost(f"closed {socket.close_code} {socket.close_reason}")
            finally:
                self.socket = None
                self._fences.clear()

    async def _open(self, socket: ClientConnection) -> None:
        await self._send(socket, type="connection_init", payload={"token": self._owner})
        await self._receive(socket, "connection_ack")
        if not self._resumes:
            await self._send(socket, type="subscribe", id="probe", payload={"query": RESUME_PROBE})
            self._resumes = '"after"' in json.dumps(await self._receive(socket, "next"))
        for operation in self.operations:
            await self._subscribe(socket, operation)

    async def _subscribe(self, socket: ClientConnection, operation: Operation) -> None:
        resumes = self._resumes and operation.cursor is not None
        argument = resumes and self._chance.random() < 0.5
        payload: dict[str, Any] = {"query": operation.query(argument=argument)}
        if argument:
            payload["variables"] = {"after": operation.cursor}
        elif resumes:
            payload["extensions"] = {"rowcast": {"after": operation.cursor}}
        operation.begin(resumed=resumes)
        await self._send(socket, type="subscribe", id=operation.id, payload=payload)
        if not resumes:
            fence = f"{operation.id}/{len(operation.transcript.segments)}"
            self._fences[fence] = [(operation, operation.segment)]
            await self._send(socket, type="ping", payload={"fence": fence})

    async def _frame(self, socket: ClientConnection, message: dict[str, Any]) -> None:
        operation = next((each for each in self.operations if each.id == message.get("id")), None)
        match message["type"]:
            case "next" if operation is not None:
                self._next(operation, message["payload"])
            case "error" if operation is not None:
                await self._failed(socket, operation, message["payload"])
            case "complete" if operation is not None:
                self._ledger.counts["completed by the server"] += 1
                operation.end("completed by the server")
            case "pong":
                self._fenced((message.get("payload") or {}).get("fence", ""))
            case "ping":
                await self._send(socket, type="pong")

    def _next(self, operation: Operation, payload: dict[str, Any]) -> None:
        if payload.get("errors"):
            self._ledger.counts[f"error in next: {payload['errors'][0].get('extensions', {}).get('code')}"] += 1
        event = payload["data"]["it"]
        operation.cursor = payload.get("extensions", {}).get("rowcast", {}).get("cursor") or event["cursor"]
        operation.segment.heard.append(Heard(told(event), operation.cursor or "", self._ledger.policies))
        operation.body = event["row"]["body"] if event["row"] is not None else ""

    async def _failed(self, socket: ClientConnection, operation: Operation, errors: list[dict[str, Any]]) -> None:
        extensions = errors[0].get("extensions", {})
        code = extensions.get("code", "?")
        self._ledger.counts[f"error {code}"] += 1
        if not operation.segment.heard and operation.segment.resumed and code not in AFRESH:
            # Nothing was begun: the resume is still to come.
            self._ledger.counts["resumes refused for a while"] += 1
        operation.end(f"error {code}")
        if code in AFRESH:
            operation.cursor = None
        elif self._chance.random() < 0.5:
            operation.cursor = extensions.get("rowcast", {}).get("cursor") or operation.cursor
        await asyncio.sleep(self._chance.uniform(0.05, 0.3))
        await self._subscribe(socket, operation)

    def _fenced(self, fence: str) -> None:
        """The server has taken up what stood before the fence: from now on everything is owed."""
        for _, segment in self._fences.pop(fence, []):
            self._note(segment)

    def _note(self, segment: Segment) -> None:
        task = asyncio.create_task(self._note_position(segment))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _note_position(self, segment: Segment) -> None:
        ended = segment.end
        position = await self._position()
        if not ended:
            segment.since = position

    def _lost(self, why: str) -> None:
        """A close may name one cursor for all operations. Whether a client takes that or each one's own is up to it."""
        self._ledger.counts[why.partition(" resume after ")[0]] += 1
        named = re.search(r"resume after (\S+)", why)
        for operation in self.operations:
            operation.end(why)
            if named and self._together:
                operation.cursor = named[1]
        self._together = self._chance.random() < 0.5

    async def _send(self, socket: ClientConnection, **message: Any) -> None:
        await socket.send(json.dumps(message))

    async def _receive(self, socket: ClientConnection, kind: str) -> dict[str, Any]:
        """The next message of this type, before anything that matters has come."""
        while True:
            message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if message["type"] == kind:
                return message


def told(event: dict[str, Any]) -> Told:
    """What an event says, in the form that the checker compares."""
    key, row = event["key"], event["row"]
    digest = None if row is None else hashlib.md5(row["body"].encode(), usedforsecurity=False).hexdigest()
    if row is not None:
        assert key is not None
        assert row["id"] == key["id"]
    return (event["operation"], event["transition"], key and key["id"], row and row["rev"], digest)
