"""Fixtures for pytest, found by the entry point ``pytest11``: nothing has to be imported or configured.

Override `rowcast_app` and `rowcast_tables` (and, where they matter, `rowcast_roles` and `rowcast_settings`) in a
``conftest.py``, and use `rowcast_client`, `rowcast_manager` and `rowcast_clock` in tests. The fixtures are plain
functions, so they go with pytest-asyncio, with anyio on asyncio, and with ``asyncio.run``: the manager starts on the
event loop of the test that first connects a client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest

from rowcast.manager import SubscriptionManager
from rowcast.testing import Client, Clock, MemoryManager, Table


@pytest.fixture
def rowcast_app() -> object:
    """What is tested: a `SubscriptionManager`, or what its ``subscriptions=`` takes. Override it.

    Raises:
        pytest.UsageError: Always.
    """
    raise pytest.UsageError(
        "rowcast: override the fixture rowcast_app in conftest.py; let it return the application's "
        "SubscriptionManager, or a list of functions marked with @subscription"
    )


@pytest.fixture
def rowcast_tables() -> Iterable[Table]:
    """The tables that subscriptions are declared on, each a `Table`. By default none."""
    return ()


@pytest.fixture
def rowcast_roles() -> Iterable[str]:
    """Database roles that principals may have. By default those that grants and policies name."""
    return ()


@pytest.fixture
def rowcast_settings() -> Mapping[str, Any]:
    """Arguments of `SubscriptionManager` that tests need otherwise than the application. By default none."""
    return {}


@pytest.fixture
def rowcast_clock() -> Clock:
    """The manager's `Clock`; it stands still until the test moves it."""
    return Clock()


@pytest.fixture
def rowcast_manager(
    rowcast_app: object,
    rowcast_tables: Iterable[Table],
    rowcast_roles: Iterable[str],
    rowcast_settings: Mapping[str, Any],
    rowcast_clock: Clock,
) -> Iterator[MemoryManager]:
    """A `MemoryManager` of `rowcast_app`; it is stopped when the test is over."""
    given: dict[str, Any] = {"tables": rowcast_tables, "roles": rowcast_roles, "clock": rowcast_clock}
    given.update(rowcast_settings)
    if isinstance(rowcast_app, SubscriptionManager):
        manager = MemoryManager.of(rowcast_app, **given)
    else:
        subscriptions = rowcast_app if isinstance(rowcast_app, Iterable) else [rowcast_app]
        manager = MemoryManager(subscriptions=subscriptions, **given)
    yield manager
    manager.close()


@pytest.fixture
def rowcast_client(rowcast_manager: MemoryManager) -> Callable[..., Awaitable[Client]]:
    """Connect a client: `MemoryManager.client`, as in ``await connect(tenant_id="acme")``."""
    return rowcast_manager.client
