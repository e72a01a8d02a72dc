"""The application of the event streams' tests, on FastAPI, as a user would write it.

A caller is named by ``Authorization: Bearer acme``, by the cookie ``caller`` or by the parameter ``caller`` (all that
an ``EventSource`` can send): ``acme`` and ``globex`` are tenants, ``acme:1.5`` is valid for that many seconds.
"""

import json
import os
import time

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from rig.client import ACME, GLOBEX
from rowcast import Connection, Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

TENANTS = {"acme": ACME, "globex": GLOBEX}
ORIGIN = "https://shop.example"

manager = SubscriptionManager(
    ping_interval_s=1.0, init_wait_s=2.0, operations_max=3, limits=json.loads(os.environ.get("STREAM_LIMITS", "{}"))
)
manager.subscription("orders", tenant="tenant_id")

refused: set[str] = set()


async def authenticate(connection: Connection) -> Principal:
    """See the module's text."""
    bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
    caller = bearer or connection.cookies.get("caller") or connection.query.get("caller") or ""
    name, _, seconds = caller.partition(":")
    if name not in TENANTS or name in refused:
        raise Forbidden
    expires_at = time.time() + float(seconds) if seconds else None
    return Principal(user_id=name, tenant_id=TENANTS[name], expires_at=expires_at)


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")
app.include_router(subscription_router(manager, authenticate=authenticate, allowed_origins=[ORIGIN]), prefix="/guarded")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()


@app.post("/revoke/{user}")
async def revoke(user: str) -> int:
    """Revokes the user."""
    refused.add(user)
    return await manager.revoke(user_id=user)


@app.post("/disconnect/{user}")
async def disconnect(user: str) -> int:
    """Ends the user's streams; they may reconnect."""
    return await manager.disconnect(user_id=user)


@app.get("/page")
def page() -> HTMLResponse:
    """A page without anything on it, for a browser's own EventSource."""
    return HTMLResponse("<!doctype html><title>stream</title>")
