"""Every adapter in the package passes the published suite on real sockets."""

import asyncio
import contextlib

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from rowcast.adapter_suite import PROMISES, run
from rowcast.asgi import ASGIAdapter
from rowcast.custom_server import address, serve_adapters
from rowcast.transport.adapter import WebSocketAdapter


def asgi_app(handle):
    async def app(scope, receive, send):
        await handle(ASGIAdapter(scope, receive, send))

    return app


def starlette_app(handle):
    class Endpoint:
        async def __call__(self, scope, receive, send):
            await handle(ASGIAdapter(scope, receive, send))

    return Starlette(routes=[WebSocketRoute("/", Endpoint())])


def fastapi_app(handle):
    app = FastAPI()

    @app.websocket("/")
    async def endpoint(websocket: WebSocket):
        await handle(ASGIAdapter(websocket.scope, websocket._receive, websocket._send))

    return app


def on_uvicorn(make_app, ws):
    @contextlib.asynccontextmanager
    async def serve(handle):
        config = uvicorn.Config(make_app(handle), port=0, ws=ws, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        with contextlib.ExitStack() as signals:
            signals.callback(lambda: None)
            task = asyncio.create_task(server.serve())
            while not server.started:  # noqa: ASYNC110 (uvicorn reports it only through this flag)
                await asyncio.sleep(0.005)
            host, port = server.servers[0].sockets[0].getsockname()
            yield f"ws://{host}:{port}/"
            server.should_exit = server.force_exit = True
            await task

    return serve


@contextlib.asynccontextmanager
async def on_websockets(handle):
    async with serve_adapters(handle, port=0) as server:
        yield f"{address(server)}/"


SERVERS = {
    "asgi on uvicorn/websockets-sansio": on_uvicorn(asgi_app, "websockets-sansio"),
    "asgi on uvicorn/wsproto": on_uvicorn(asgi_app, "wsproto"),
    "starlette": on_uvicorn(starlette_app, "websockets-sansio"),
    "fastapi": on_uvicorn(fastapi_app, "websockets-sansio"),
    "websockets": on_websockets,
}


@pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS.keys())
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_adapter_keeps_the_promise(promise, serve):
    run(promise, serve)


def test_the_asgi_adapter_is_an_adapter():
    assert isinstance(ASGIAdapter({"headers": []}, None, None), WebSocketAdapter)
