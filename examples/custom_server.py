"""rowcast without ASGI: a server on the `websockets` package.

Run:        python custom_server.py
Database:   none; a message is published every second
Subscribe:  any graphql-transport-ws client on ws://127.0.0.1:8000: subscription { ticks { payload cursor } }

`rowcast.custom_server` is one readable file: copy its adapter to carry rowcast on any other server.
"""

from __future__ import annotations

import asyncio
import contextlib

from rowcast import EventBusConfig, SubscriptionManager, subscription
from rowcast.custom_server import address, serve

manager = SubscriptionManager(bus=EventBusConfig.memory(), subscriptions=[subscription(topic="ticks", public=True)])


async def tick() -> None:
    """Publish a number every second."""
    number = 0
    while True:
        await manager.publish("ticks", {"number": number})
        number += 1
        await asyncio.sleep(1)


async def main() -> None:
    """Serve until Ctrl-C."""
    async with manager, serve(manager, "127.0.0.1", 8000) as server:
        print(f"subscribe at {address(server)}")
        await tick()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
