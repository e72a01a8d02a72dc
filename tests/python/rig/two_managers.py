"""One process with three managers: two on one database, one on another."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rig.lab_app import authenticate
from rowcast import SubscriptionManager
from rowcast.fastapi import subscription_router

first = SubscriptionManager(os.environ["FIRST_URL"], slot="first")
second = SubscriptionManager(os.environ["FIRST_URL"], slot="second", naming="database")
other = SubscriptionManager(os.environ["OTHER_URL"], slot="other")
MANAGERS = {"first": first, "second": second, "other": other}


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """All of them, together."""
    async with first, second, other:
        yield


app = FastAPI(lifespan=lifespan)
for name, manager in MANAGERS.items():
    manager.subscription("orders", tenant="tenant_id")
    app.include_router(subscription_router(manager, authenticate=authenticate), prefix=f"/{name}/graphql")
