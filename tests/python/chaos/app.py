"""The application under chaos, served by ``rig.serve``. The token of connection_init, or of the
authorization header, is the name of an owner."""

import logging
import os

from fastapi import FastAPI

from chaos.world import TENANTS
from rowcast import Connection, Forbidden, Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
logging.getLogger("rowcast").setLevel(os.environ.get("CHAOS_LOG", "INFO"))

ROLE = os.environ["CHAOS_ROLE"]

manager = SubscriptionManager(
    replay_window_bytes=int(os.environ["CHAOS_WINDOW_BYTES"]),
    replay_window_s=float(os.environ["CHAOS_WINDOW_S"]),
    # Little patience and little room, so that a minute sees what in earnest takes a day.
    queue_bytes_max=128 << 10,
    queue_age_max_s=4.0,
    ping_interval_s=6.0,
    pong_timeout_s=6.0,
)
manager.subscription("tasks", tenant="owner")
manager.subscription("notes")
manager.subscription("files")


async def authenticate(connection: Connection) -> Principal:
    """Whom the token names."""
    bearer = connection.headers.get("authorization", "").removeprefix("Bearer ")
    name = bearer or str(connection.payload.get("token"))
    if name not in TENANTS:
        raise Forbidden
    return Principal(user_id=name, tenant_id=name, role=ROLE, settings={"app.user": name})


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()
