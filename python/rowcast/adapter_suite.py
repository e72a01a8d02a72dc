"""Promises that every `WebSocketAdapter` must keep, as tests that any adapter can run.

You supply one thing, an async context manager that serves sockets with your adapter and gives the address::

    @asynccontextmanager
    async def serve(handle):                      # handle: async function that takes one adapter
        async with my_server(on_socket=lambda raw: handle(MyAdapter(raw))) as server:
            yield f"ws://127.0.0.1:{server.port}/"

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_adapter(promise):
        run(promise, serve)

A broken promise raises AssertionError. The client is the ``websockets`` package (``pip install rowcast[custom]``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from rowcast.transport.adapter import GRAPHQL_TRANSPORT_WS, Abortable, WebSocketAdapter, pick_subprotocol

Handle = Callable[[WebSocketAdapter], Awaitable[None]]
Serve = Callable[[Handle], AbstractAsyncContextManager[str]]
Promise = Callable[[Serve], Awaitable[None]]

PATIENCE_S = 5.0
_STALLED_BYTES = 64 * 1024
_OFFER = [Subprotocol("graphql-ws"), Subprotocol(GRAPHQL_TRANSPORT_WS)]


def run(promise: Promise, serve: Serve) -> None:
    """Run one promise in an event loop of its own, within a time limit: a hanging adapter fails."""

    async def within_limit() -> None:
        await asyncio.wait_for(promise(serve), 4 * PATIENCE_S)

    asyncio.run(within_limit())


async def accept_echoes_the_chosen_subprotocol(serve: Serve) -> None:
    async with serve(_echo) as url, connect(url, subprotocols=_OFFER) as client:
        assert client.subprotocol == GRAPHQL_TRANSPORT_WS


async def accept_without_a_subprotocol_echoes_none(serve: Serve) -> None:
    async with serve(_echo) as url, connect(url) as client:
        assert client.subprotocol is None


async def text_arrives_unchanged_and_leaves_as_text(serve: Serve) -> None:
    async with serve(_echo) as url, connect(url, subprotocols=_OFFER, max_size=None) as client:
        for text in ("{}", "", "grüße 🚣 \x00 \u2028", "x" * 300_000):
            await client.send(text)
            assert await _next(client) == text


async def frames_keep_their_order(serve: Serve) -> None:
    async with serve(_echo) as url, connect(url, subprotocols=_OFFER) as client:
        for number in range(200):
            await client.send(str(number))
        assert [await _next(client) for _ in range(200)] == [str(number) for number in range(200)]


async def a_binary_frame_arrives_as_bytes(serve: Serve) -> None:
    received: list[object] = []

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        received.append(await adapter.receive())
        await adapter.send_text("seen")

    async with serve(handle) as url, connect(url, subprotocols=_OFFER) as client:
        await client.send(b"\x00\xff")
        assert await _next(client) == "seen"
    assert received == [b"\x00\xff"]


async def code_and_reason_of_a_close_reach_the_client(serve: Serve) -> None:
    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        await adapter.close(4403, "Verboten: ä")
        assert not adapter.is_connected

    async with serve(handle) as url, connect(url, subprotocols=_OFFER) as client:
        with contextlib.suppress(ConnectionClosed):
            await _next(client)
        await client.wait_closed()
        assert (client.close_code, client.close_reason) == (4403, "Verboten: ä")


async def closing_twice_is_harmless(serve: Serve) -> None:
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        await adapter.close(1000, "")
        await adapter.close(1000, "")
        outcome.set_result(None)

    async with serve(handle) as url, connect(url, subprotocols=_OFFER):
        await asyncio.wait_for(outcome, PATIENCE_S)


async def receive_gives_none_for_ever_once_the_client_left(serve: Serve) -> None:
    outcome: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        outcome.set_result([await adapter.receive(), await adapter.receive(), adapter.is_connected])

    async with serve(handle) as url:
        async with connect(url, subprotocols=_OFFER):
            pass
        assert await asyncio.wait_for(outcome, PATIENCE_S) == [None, None, False]


async def receive_gives_none_after_a_reset(serve: Serve) -> None:
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        outcome.set_result(await adapter.receive())

    async with serve(handle) as url:
        client = await connect(url, subprotocols=_OFFER)
        client.transport.abort()
        assert await asyncio.wait_for(outcome, PATIENCE_S) is None


async def sending_to_a_client_that_left_does_not_hang(serve: Serve) -> None:
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        await adapter.receive()
        with contextlib.suppress(Exception):
            await adapter.send_text("too late")
        outcome.set_result(None)

    async with serve(handle) as url:
        async with connect(url, subprotocols=_OFFER):
            pass
        await asyncio.wait_for(outcome, PATIENCE_S)


async def sending_goes_on_while_receive_waits(serve: Serve) -> None:
    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        reading = asyncio.ensure_future(adapter.receive())
        await asyncio.sleep(0)
        await adapter.send_text("pushed")
        await reading

    async with serve(handle) as url, connect(url, subprotocols=_OFFER) as client:
        assert await _next(client) == "pushed"


async def a_cancelled_receive_loses_no_connection(serve: Serve) -> None:
    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        reading = asyncio.ensure_future(adapter.receive())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await adapter.close(4408, "Connection initialisation timeout")

    async with serve(handle) as url, connect(url, subprotocols=_OFFER) as client:
        await client.wait_closed()
        assert client.close_code == 4408  # noqa: PLR2004


async def the_request_can_be_read(serve: Serve) -> None:
    seen: dict[str, object] = {}

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        seen.update(one=adapter.headers["x-one"], cookie=adapter.cookies["a"], query=adapter.query["token"])
        seen.update(
            same=adapter.headers["X-One"], client=adapter.client and adapter.client[0], open=adapter.is_connected
        )
        await adapter.send_text("seen")
        await adapter.receive()

    headers = {"X-One": "1", "Cookie": "a=b; c=d"}
    async with serve(handle) as url:
        client = await connect(f"{url}?token=x%20y", subprotocols=_OFFER, additional_headers=headers)
        assert await _next(client) == "seen"
        await client.close()
    assert seen == {"one": "1", "cookie": "b", "query": "x y", "same": "1", "client": "127.0.0.1", "open": True}


async def abort_frees_a_client_that_does_not_read(serve: Serve) -> None:
    """Kept by adapters without ``abort`` as well: they promise nothing here."""
    outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def handle(adapter: WebSocketAdapter) -> None:
        await _accept(adapter)
        if isinstance(adapter, Abortable):
            await _send_until_blocked(adapter)
            adapter.abort()
            adapter.abort()
            assert await adapter.receive() is None
        outcome.set_result(None)

    async with serve(handle) as url:
        # Compressed, this text would be nothing.
        client = await connect(url, subprotocols=_OFFER, max_queue=1, compression=None)
        client.transport.pause_reading()
        await asyncio.wait_for(outcome, 2 * PATIENCE_S)
        client.transport.abort()


PROMISES: tuple[Promise, ...] = (
    accept_echoes_the_chosen_subprotocol,
    accept_without_a_subprotocol_echoes_none,
    text_arrives_unchanged_and_leaves_as_text,
    frames_keep_their_order,
    a_binary_frame_arrives_as_bytes,
    code_and_reason_of_a_close_reach_the_client,
    closing_twice_is_harmless,
    receive_gives_none_for_ever_once_the_client_left,
    receive_gives_none_after_a_reset,
    sending_to_a_client_that_left_does_not_hang,
    sending_goes_on_while_receive_waits,
    a_cancelled_receive_loses_no_connection,
    the_request_can_be_read,
    abort_frees_a_client_that_does_not_read,
)


async def _accept(adapter: WebSocketAdapter) -> None:
    await adapter.accept(pick_subprotocol(adapter.subprotocols))


async def _echo(adapter: WebSocketAdapter) -> None:
    await _accept(adapter)
    while (frame := await adapter.receive()) is not None:
        await adapter.send_text(str(frame))


async def _next(client: ClientConnection) -> str | bytes:
    return await asyncio.wait_for(client.recv(), PATIENCE_S)


async def _send_until_blocked(adapter: WebSocketAdapter) -> None:
    """Kernels take megabytes before a send waits; that one is what an eviction finds."""
    text = "x" * _STALLED_BYTES
    with contextlib.suppress(asyncio.TimeoutError):
        for _ in range(1024):
            await asyncio.wait_for(adapter.send_text(text), 0.5)
        raise AssertionError("send_text never waits for a client that does not read")


def free_port() -> int:
    """A TCP port on 127.0.0.1 that is free now, for servers that cannot choose one by themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
