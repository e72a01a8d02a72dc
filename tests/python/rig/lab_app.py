"""The application under test: served by ``rig.serve`` in its own process, as a user would write it.

The token of the connection_init payload says what the authenticate hook does: `acme`, `globex` or a UUID sign in as
that tenant; `slow:0.5` takes half a second; `expires:1` is valid for a second; `raise` raises; anything else is
refused. No token is an anonymous caller.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import FastAPI

from rig.client import ACME, GLOBEX
from rig.lab import INIT_TIMEOUT, OPERATIONS_MAX
from rowcast import Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

TENANTS = {"acme": ACME, "globex": GLOBEX}

manager = SubscriptionManager(
    init_wait_s=INIT_TIMEOUT,
    operations_max=OPERATIONS_MAX,
    ping_interval_s=float(os.environ.get("LAB_PING_S", "12")),
    pong_timeout_s=float(os.environ.get("LAB_PING_S", "12")),
)
manager.subscription("orders", tenant="tenant_id")
manager.subscription(topic="alerts")


@dataclass
class Noted:
    """An order's number with its note changed."""

    id: str
    note: str | None


@manager.subscription("orders", tenant="tenant_id")
async def orders_noted(event: Any, variables: dict[str, Any]) -> Noted:
    """Awaits, then answers in capitals."""
    await asyncio.sleep(0)
    return Noted(str(event.row["id"]), f"{event.row['note']}{variables.get('suffix', '')}".upper())


@manager.subscription("orders", tenant="tenant_id")
def orders_sync(event: Any, variables: dict[str, Any]) -> Noted:
    """A plain function."""
    return Noted(str(event.row["id"]), event.row["note"])


@manager.subscription("orders", tenant="tenant_id")
async def orders_raising(event: Any, variables: dict[str, Any]) -> Noted:
    """Raises for the note `raise`."""
    if event.row["note"] == "raise":
        raise RuntimeError("a secret of the resolver")
    return Noted(str(event.row["id"]), event.row["note"])


@manager.subscription("orders", tenant="tenant_id")
async def orders_slow(event: Any, variables: dict[str, Any]) -> Noted:
    """Sleeps for the seconds in the note."""
    await asyncio.sleep(float(event.row["note"]))
    return Noted(str(event.row["id"]), event.row["note"])


@manager.subscription("orders", tenant="tenant_id")
async def orders_picked(event: Any, variables: dict[str, Any]) -> Noted | None:
    """Skips orders without a note."""
    return None if event.row["note"] is None else Noted(str(event.row["id"]), event.row["note"])


async def authenticate(connection: Any) -> Principal:
    """See the module's text."""
    token = str(connection.payload.get("token", ""))
    kind, _, argument = token.partition(":")
    if kind == "raise":
        raise RuntimeError("a secret of the hook")
    if kind == "slow":
        await asyncio.sleep(float(argument))
        return Principal(tenant_id=ACME)
    if kind == "expires":
        return Principal(tenant_id=ACME, expires_at=time.time() + float(argument))
    return Principal(tenant_id=tenant_of(token))


def tenant_of(token: str) -> str | None:
    """The tenant that a plain token names."""
    if not token:
        return None
    try:
        return TENANTS.get(token) or str(UUID(token))
    except ValueError:
        raise Forbidden from None


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters, for tests that wait for something to be freed."""
    return manager.metrics()
