"""Managers on the memory bus, served on real sockets: the mounts, and a client that speaks the protocol."""

import asyncio
import contextlib
import json
import time

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rowcast import (
    EventBusConfig,
    SubscriptionManager,
)
from rowcast.asgi import SubscriptionApp
from rowcast.fastapi import subscription_router
from rowcast.starlette import subscription_routes

OFFER = ["graphql-transport-ws"]


def manager(**settings):
    return SubscriptionManager(bus=EventBusConfig.memory(), **settings)


def on_fastapi(manager, authenticate=None, **options):
    app = FastAPI(lifespan=manager.lifespan)
    app.include_router(subscription_router(manager, authenticate=authenticate, **options), prefix="/graphql")
    return app


def on_starlette(manager, authenticate=None, **options):
    routes = subscription_routes(manager, authenticate=authenticate, **options)
    return Starlette(routes=routes, lifespan=manager.lifespan)


def on_asgi(manager, authenticate=None, **options):
    return SubscriptionApp(manager, authenticate, path="/graphql", **options)


MOUNTS = pytest.mark.parametrize("mount", [on_fastapi, on_starlette, on_asgi])


@contextlib.asynccontextmanager
async def served(app):
    """The application on uvicorn, in this event loop; ``host:port/graphql``."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "the application does not start"
        await asyncio.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"{host}:{port}/graphql"
    finally:
        server.should_exit = True
        await serving


class Peer:
    """A graphql-transport-ws client."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def receive(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), 10))

    async def init(self, payload=None):
        await self.send(type="connection_init", payload=payload or {})

    async def enter(self, payload=None):
        await self.init(payload)
        assert (await self.receive())["type"] == "connection_ack"
        return self

    async def subscribe(self, operation, query, **payload):
        await self.send(id=operation, type="subscribe", payload={"query": query} | payload)
        await self.send(type="ping")
        assert await self.receive() == {"type": "pong"}

    async def next(self):
        frame = await self.receive()
        assert frame["type"] == "next", frame
        return frame["payload"]

    async def closed(self):
        async def drain():
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()

        await asyncio.wait_for(drain(), 10)
        return self.socket.close_code, self.socket.close_reason


@contextlib.asynccontextmanager
async def peer(url, **options):
    settings = {"subprotocols": OFFER, "compression": None, "ping_interval": None, "close_timeout": 1, "proxy": None}
    async with connect(f"ws://{url}", **(settings | options)) as socket:
        yield Peer(socket)


async def until(look, what="a condition"):
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.005)
