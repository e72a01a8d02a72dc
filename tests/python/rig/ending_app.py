"""The lab's application for servers other than ours: it prints when its lifespan begins and ends.

``LAB_PORT`` is where its server listens.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from rig.lab_app import app, manager


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """The manager's lifespan, which prints when it starts and stops."""
    async with manager.lifespan(application):
        print(f"ready http://127.0.0.1:{os.environ['LAB_PORT']}", flush=True)  # noqa: T201 - awaited by the starter
        yield
    print("stopped", flush=True)  # noqa: T201 - asserted by tests


app.router.lifespan_context = lifespan
