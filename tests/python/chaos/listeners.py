"""Clients of event streams: a stream of its own for each operation, and `Last-Event-ID` when one has ended.

They do as an ``EventSource`` does, with one difference: an id that came before the first result is not taken up, since
the checker could not tell from what position on they are owed everything.
"""

import asyncio
import json
import random
import socket as socket_module
from collections.abc import Callable

import httpx

from chaos.checker import AFRESH
from chaos.clients import Client, Ledger, Operation, Position
from chaos.history import View
from rig.proxy import BUFFER
from rig.stream import EVENTS

SILENCE_S = 20.0
"""Seconds without a byte after which a client takes its stream for dead; the application's comments come more often."""


class Listener(Client):
    """One client of one owner."""

    def __init__(self, name: str, views: list[View], chance: random.Random, ledger: Ledger, position: Position) -> None:
        super().__init__(name, views, chance, ledger, position)
        self._streams: set[asyncio.Task[str]] = set()

    async def run(self, url: Callable[[], str]) -> None:
        """Have a stream for each operation until cancelled."""
        await asyncio.gather(*(self._follow(operation, url) for operation in self.operations))

    def abort(self) -> None:
        """All streams are gone."""
        for stream in self._streams:
            stream.cancel()

    async def stall(self, seconds: float) -> None:
        """Read nothing for a while."""
        self._reading.clear()
        await asyncio.sleep(seconds)
        self._reading.set()

    async def _follow(self, operation: Operation, url: Callable[[], str]) -> None:
        while True:
            stream = asyncio.create_task(self._stream(operation, url().replace("ws://", "http://")))
            self._streams.add(stream)
            try:
                await asyncio.wait([stream])
                why = self._ended(stream)
            finally:
                stream.cancel()
                self._streams.discard(stream)
            self._ledger.counts[f"stream {why}"] += 1
            operation.end(f"stream {why}")
            await asyncio.sleep(self._chance.uniform(0.05, 0.4))

    def _ended(self, stream: "asyncio.Task[str]") -> str:
        if stream.cancelled():
            return "left"
        error = stream.exception()
        if error is None:
            return stream.result()
        if isinstance(error, httpx.HTTPError | OSError):
            return type(error).__name__
        raise error

    async def _stream(self, operation: Operation, url: str) -> str:
        resumes = {} if operation.cursor is None else {"last-event-id": operation.cursor}
        operation.begin(resumed=bool(resumes))
        headers = {"accept": EVENTS, "authorization": f"Bearer {self._owner}"} | resumes
        small = [(socket_module.SOL_SOCKET, socket_module.SO_RCVBUF, BUFFER)]
        transport = httpx.AsyncHTTPTransport(socket_options=small)
        async with (
            httpx.AsyncClient(transport=transport, timeout=SILENCE_S, trust_env=False) as client,
            client.stream(
                "GET", f"{url}/graphql", params={"query": operation.query(argument=False)}, headers=headers
            ) as response,
        ):
            if response.status_code != 200:
                return f"refused {response.status_code}"
            return await self._read(operation, response)

    async def _read(self, operation: Operation, response: httpx.Response) -> str:
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            await self._reading.wait()
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            match fields.pop("event", "id" if "id" in fields else ""):
                case "next":
                    if end := self._told(operation, fields):
                        return end
                case "complete":
                    return "completed"
                case "id" if not operation.segment.resumed:
                    # The operation is in force: from now on everything is owed.
                    self._note(operation.segment)
            fields = {}
        return "ended"

    def _told(self, operation: Operation, fields: dict[str, str]) -> str:
        """A result, or the error that ends the operation: then its code."""
        payload = json.loads(fields["data"])
        if payload.get("data") is not None:
            self._next(operation, payload)
            assert fields["id"] == operation.cursor, "the id of a result is its cursor"
            return ""
        extensions = payload["errors"][0].get("extensions", {})
        code = extensions.get("code", "?")
        if code in AFRESH:
            operation.cursor = None
        elif self._chance.random() < 0.5:
            operation.cursor = extensions.get("rowcast", {}).get("cursor") or operation.cursor
        return f"error {code}"
