"""Waiting on a condition: the only way in which these tests let time pass."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds until a condition must hold. Long, since a slow machine is not a failure and success costs nothing."""

PAUSE = 0.02
"""Seconds between two looks."""


def until(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """The first truthy value that ``look`` gives; ``AssertionError`` naming ``what`` when none comes."""
    deadline = time.monotonic() + patience
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        time.sleep(PAUSE)


async def until_async(look: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """``until`` for tests whose sockets must be read while they wait."""
    deadline = time.monotonic() + patience
    while True:
        value = look()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:.0f} s in vain: {what}")
        await asyncio.sleep(PAUSE)
