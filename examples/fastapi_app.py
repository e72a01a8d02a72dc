"""rowcast on FastAPI: one table, one resolver, one authenticate hook.

Run:        uvicorn fastapi_app:app --ws websockets-sansio --ws-per-message-deflate False --ws-max-size 262144
Database:   ROWCAST_DATABASE_URL, or an embedded PostgreSQL in .rowcast (pip install 'rowcast[fastapi,embedded]')
Subscribe:  any graphql-transport-ws client on ws://127.0.0.1:8000/graphql with connectionParams {"token": "acme"}:
            subscription { orders { id note total } }
Change:     curl -X POST 'http://127.0.0.1:8000/orders?tenant=acme&note=hello'
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg
from fastapi import FastAPI

from rowcast import Connection, Event, Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

TENANTS = {"acme", "globex"}
TABLE = """
create table if not exists orders (
    id bigint generated always as identity primary key,
    tenant_id text not null,
    note text not null,
    total numeric(12, 2) not null default 0
)
"""

manager = SubscriptionManager(debug=True)


@dataclass
class OrderView:
    """An order as subscribers see it."""

    id: str
    note: str
    total: Decimal


@manager.subscription("orders", tenant="tenant_id")
async def orders(event: Event, variables: dict[str, Any]) -> OrderView | None:
    """Called once for each change, and shared by all subscribed clients."""
    if event.row is None:
        return None
    return OrderView(id=str(event.row["id"]), note=event.row["note"].upper(), total=event.row["total"])


async def authenticate(connection: Connection) -> Principal:
    """The token is the tenant's name. In production, verify a signed token."""
    token = connection.payload["token"]
    if token not in TENANTS:
        raise Forbidden(f"unknown tenant {token!r}")
    return Principal(user_id="demo", tenant_id=token, settings={"app.tenant_id": token})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the table before the manager watches it: a fresh embedded database is empty."""
    async with manager.database() as url:
        await asyncio.to_thread(execute, url, TABLE)
        async with manager.lifespan(app):
            yield


app = FastAPI(lifespan=lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.post("/orders")
def place(tenant: str, note: str) -> dict[str, str]:
    """An ordinary transaction: nothing here knows of subscriptions."""
    execute(manager.database_url or "", "insert into orders (tenant_id, note) values (%s, %s)", tenant, note)
    return {"placed": note}


def execute(url: str, sql: str, *arguments: object) -> None:
    """One statement in a transaction of its own."""
    with psycopg.connect(url) as connection:
        connection.execute(sql, arguments)
