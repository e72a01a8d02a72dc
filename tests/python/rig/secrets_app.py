"""An application that logs all it can, whose hook puts the client's words in every field of the principal, and whose
resolvers fail with the row's values in the exception."""

import logging
from typing import Any

from fastapi import FastAPI

from rowcast import Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

# Everything except the server's frames, which only the server's own log has.
logging.basicConfig(level=1)
logging.getLogger("websockets").setLevel(logging.WARNING)

manager = SubscriptionManager(resolver_timeout_s=0.5)
manager.subscription("orders", tenant="tenant_id")
manager.subscription("docs")
manager.subscription(topic="alerts")


@manager.subscription("orders", tenant="tenant_id")
async def orders_wrong(event: Any, variables: dict[str, Any]) -> int:
    """Returns what its annotation does not allow, with the row's words in it."""
    wrong: int = event.row["note"]
    return wrong


@manager.subscription("orders", tenant="tenant_id")
async def orders_odd(event: Any, variables: dict[str, Any]) -> str:
    """Returns what has no JSON form."""
    odd: str = {event.row["note"]}  # type: ignore[assignment]
    return odd


async def authenticate(connection: Any) -> Principal:
    """Takes every credential that there is."""
    token = str(connection.payload["token"])
    claims = {"token": token, "header": connection.headers.get("x-secret"), "cookie": connection.cookies.get("secret")}
    logging.getLogger("app").debug("signed in: %r as %r", connection, Principal(claims=claims, settings={"a.b": token}))
    if "nul" in connection.payload:
        return Principal(settings={"a.b": token + "\0"})
    if "list" in connection.payload:
        return Principal(tenant_id=[token])  # type: ignore[arg-type]
    role = connection.payload.get("role")
    return Principal(
        tenant_id=connection.payload["tenant"], role=role, settings={"app.token": token}, claims=claims, scopes=[]
    )


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()
