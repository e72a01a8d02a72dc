"""An application for slow clients: one field delivers the latest state of each row, one every event, one each commit.

``SLOW_QUEUE_BYTES`` is what may wait for a client. ``/metrics`` are the engine's counters; ``/trim`` makes the
process return unused memory.
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
    # Only bytes end a session here, not time: the machine may be slow.
    queue_age_max_s=600,
    ping_interval_s=600,
    # The replay window's memory would hide the memory that waits for clients.
    replay_window_bytes=1 << 20,
)
manager.subscription("orders", tenant="tenant_id")
manager.subscription("orders", tenant="tenant_id", name="ordersEach", slow_client="disconnect")
manager.subscription("orders", tenant="tenant_id", name="orderTransactions", transactions=True)
manager.subscription(topic="alerts")


async def authenticate(_connection: Any) -> Principal:
    """Every client is Acme."""
    return Principal(tenant_id=ACME)


app = FastAPI(lifespan=manager.lifespan)
app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")


@app.get("/metrics")
def metrics() -> dict[str, int]:
    """The engine's counters."""
    return manager.metrics()


@app.get("/trim")
def trim() -> int:
    """Return unused memory. What glibc keeps is not a leak: see malloc_trim(3)."""
    return int(ctypes.CDLL("libc.so.6").malloc_trim(0))
