"""An event stream as it comes over the wire, and the application that gives it."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from rig.client import PATIENCE
from rig.lab import Lab
from rig.postgres import Database
from rig.server import serve
from rig.shop import ORDERS, Shop

EVENTS = "text/event-stream"
TOKEN = "x-graphql-event-stream-token"


@dataclass(frozen=True)
class Event:
    """One event; a missing field is empty."""

    event: str = ""
    data: str = ""
    id: str = ""

    @property
    def json(self) -> Any:
        """Its data."""
        return json.loads(self.data)


class Stream:
    """One open response, read line by line as the HTML standard says."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self.last_id = ""
        self._lines = response.aiter_lines()

    async def block(self) -> Event | None:
        """The next block of lines; a comment is an empty event. ``None`` at the end."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line:
                return self._noted(fields)
            name, _, value = line.partition(":")
            assert name not in fields, f"more than one line of {name}"
            fields[name] = value.removeprefix(" ")
        assert not fields, f"cut off: {fields}"
        return None

    async def event(self) -> Event | None:
        """The next event that is delivered to the client."""
        while (block := await self.block()) is not None:
            if block.event:
                return block
        return None

    async def next(self) -> dict[str, Any]:
        """The next result."""
        event = await self.event()
        assert event is not None, "the stream has ended"
        assert event.event == "next", event
        payload: dict[str, Any] = event.json
        return payload

    async def rest(self) -> list[Event]:
        """Everything up to the end."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events

    def _noted(self, fields: dict[str, str]) -> Event:
        self.comments += "" in fields
        self.last_id = fields.get("id", self.last_id)
        return Event(**{name: value for name, value in fields.items() if name})


@dataclass(frozen=True)
class Streams(Lab):
    """A running `rig.stream_app` on a shop."""

    @property
    def endpoint(self) -> str:
        """The address of GraphQL."""
        return f"{self.server.url()}/graphql"

    def client(self, caller: str = "acme", **headers: str) -> httpx.AsyncClient:
        """A client with its caller's credentials."""
        signed = {"authorization": f"Bearer {caller}"} | headers
        return httpx.AsyncClient(base_url=self.server.url(), headers=signed, timeout=PATIENCE, trust_env=False)

    @asynccontextmanager
    async def stream(
        self, query: str = ORDERS, caller: str = "acme", method: str = "POST", **headers: str
    ) -> AsyncIterator[Stream]:
        """A stream of one live operation."""
        asked = {"json": {"query": query}} if method == "POST" else {"params": {"query": query}}
        headers = {"accept": EVENTS} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            self.client(caller) as client,
            client.stream(method, "/graphql", headers=headers, **asked) as response,  # type: ignore[arg-type]
        ):
            assert response.status_code == 200, await response.aread()
            yield Stream(response)

    async def post(self, path: str) -> Any:
        """Send a request to the application."""
        async with self.client() as client:
            return (await client.post(path)).json()


@contextmanager
def streaming(database: Database, **environment: str) -> Iterator[Streams]:
    """A started application on a new shop."""
    shop = Shop(database).open()
    server = serve("rig.stream_app:app", {"ROWCAST_DATABASE_URL": shop.database.url} | environment)
    try:
        server.line("ready ")
        yield Streams(server, shop)
    finally:
        server.stop()
        print(server.output)  # noqa: T201 - what pytest captures, it shows beside the failure
