"""An application for clients that read slowly: one field tells each row's latest, one tells every event,
one what each commit changed.

``SLOW_QUEUE_BYTES`` is what may wait for a client. ``/metrics`` are the engine's counters; after ``/trim`` what the
process holds is what it uses.
"""

import ctypes
import os
from typing import Any

from fastapi import FastAPI

from rig.client import ACME
from rowcast import Principal, SubscriptionManager
from rowcast.fastapi import subscription_router

manager = SubscriptionManager(
    slow_client="coalesce",
    queue_bytes_max=int(os.environ.get("SLOW_QUEUE_BYTES", "200000")),
    # Bytes alone are to end a session here, however slow the machine is.
    queue_age_max_s=600,
    ping_interval_s=600,
    # What is kept for cursors would hide what is kept for clients.
    replay_window_bytes=1 << 20,
)
manager.subscription("orders", tenant="tenant_id")
manager.subscription("orders", tenant="tenant_id", name="ordersEach", slow_client="disconnect")
manager.subscription("orders", tenant="tenant_id", name="orderTransactions", transactions=True)
manager.subscription(topic="alerts")


async def authenticate(_connection: Any) -> Principal:
    """Everybody is Acme."""
    return Principal(tenant_id=ACME)


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()


@app.get("/trim")
def trim() -> int:
    """What glibc keeps for later is not a leak: see malloc_trim(3)."""
    return int(ctypes.CDLL("libc.so.6").malloc_trim(0))
