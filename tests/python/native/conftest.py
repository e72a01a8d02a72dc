"""Fixtures of the tests against the native module: engines on the in-memory bus, stopped when their test is over."""

import asyncio
import gc
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from talk import Client

from rowcast import EventBusConfig, SubscriptionExecutor


@pytest.fixture
def started() -> Iterator[Callable[..., SubscriptionExecutor]]:
    """``started(field, …, setting=value)``: an engine that serves these fields."""
    engines: list[SubscriptionExecutor] = []

    def start(*fields: object, **settings: object) -> SubscriptionExecutor:
        engine = SubscriptionExecutor(EventBusConfig.memory(), settings=json.dumps(settings))
        engines.append(engine)
        engine.start(json.dumps(fields))
        return engine

    yield start
    for engine in engines:
        engine.stop(0.0)


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """``client(engine)``: one accepted socket's session, disconnected in the end."""
    clients: list[Client] = []

    def connect(engine: SubscriptionExecutor, hub: object = None) -> Client:
        clients.append(Client(engine, hub))
        return clients[-1]

    yield connect
    for each in clients:
        each.session.disconnect()


@pytest.fixture
def run() -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    """Run a coroutine function in its own loop, in which no callback and no forgotten task may fail."""

    def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        complaints: list[object] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            await asyncio.wait_for(work(), 30)
            gc.collect()
            await asyncio.sleep(0)

        asyncio.run(main())
        gc.collect()
        assert complaints == []

    return run
