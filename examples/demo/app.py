"""The demo's application: this page is everything that an application needs to use rowcast."""

from pathlib import Path
from uuid import UUID

from fastapi import FastAPI
from fastapi.responses import FileResponse

from rowcast import Connection, Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

TENANTS = {
    "acme": "11111111-1111-1111-1111-111111111111",
    "globex": "22222222-2222-2222-2222-222222222222",
}

manager = SubscriptionManager()
manager.subscription("orders", tenant="tenant_id")


async def authenticate(connection: Connection) -> Principal:
    """A token is the name or the id of a tenant, which is enough for a demo only.

    A WebSocket sends it in its first message, an event stream in a header.
    """
    bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
    token = bearer or str(connection.payload["token"])
    try:
        return Principal(tenant_id=TENANTS.get(token) or UUID(token))
    except ValueError:
        raise Forbidden(f"unknown tenant {token!r}") from None


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page that shows both tenants' orders."""
    return FileResponse(Path(__file__).with_name("index.html"))
