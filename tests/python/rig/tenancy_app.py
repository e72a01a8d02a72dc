"""The application of the tenancy fuzz: tables with tenant columns of different types, with and without resolvers.

The token of connection_init is the tenant. All that rowcast can log goes to the output.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from rowcast import Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

TENANT_TYPES = {"by_uuid": "uuid", "by_text": "text", "by_name": "varchar(60)", "by_big": "bigint", "by_int": "integer"}
"""Tables by name, with the type of their tenant column."""

logging.basicConfig(level=logging.INFO)
logging.getLogger("rowcast").setLevel(logging.DEBUG)

manager = SubscriptionManager(naming="database", operations_max=100, queue_bytes_max=1 << 26, queue_age_max_s=120.0)


@dataclass
class Told:
    """What a resolver makes of an event."""

    transition: str
    ref: str
    body: str | None


async def told(event: Any, variables: dict[str, Any]) -> Told:
    """The event again; raises for rows of kind `boom`."""
    await asyncio.sleep(0)
    row = event.row or {}
    if row.get("kind") == "boom":
        raise RuntimeError("asked for")
    return Told(event.transition, (event.key or {}).get("ref", ""), row.get("body"))


for table in TENANT_TYPES:
    manager.subscription(table, tenant="tenant")
    manager.subscription(table, tenant="tenant", name=f"{table}_told")(told)
    manager.subscription(table, tenant="tenant", name=f"{table}_left", leave=True)(told)
manager.subscription(topic="news")
manager.subscription(topic="fence", public=True)


async def authenticate(connection: Any) -> Principal:
    """The tenant named by the token, with its own canary in every field of the principal."""
    token = str(connection.payload["token"])
    secret = str(connection.payload["secret"])
    return Principal(secret, token, settings={"app.secret": secret}, claims={"secret": secret})


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()
