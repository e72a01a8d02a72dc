"""The lab's application for several workers: each result tells which process has delivered it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from rig.lab_app import app, manager


@dataclass
class Delivered:
    """An order's number and the process that delivered it."""

    id: str
    pid: int


@manager.subscription("orders", tenant="tenant_id")
async def orders_delivered(event: Any, variables: dict[str, Any]) -> Delivered:
    """Runs in the process that holds the socket."""
    return Delivered(str(event.row["id"]), os.getpid())


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """The manager's lifespan, which prints when it starts and stops."""
    async with manager.lifespan(application):
        print(f"serving {os.getpid()}", flush=True)  # noqa: T201 - awaited by the tests
        yield


app.router.lifespan_context = lifespan
