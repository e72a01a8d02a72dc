"""rowcast without ASGI: a server on the `websockets` package.

Run:        python custom_server.py   (another port: python custom_server.py 8001)
Database:   none; a message is published every second
Subscribe:  any graphql-transport-ws client on ws://127.0.0.1:8000: subscription { ticks { payload cursor } }

`rowcast.custom_server` is one readable file: copy its adapter to carry rowcast on any other server.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

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
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    async with manager, serve(manager, "127.0.0.1", port) as server:
        print(f"subscribe at {address(server)}", flush=True)
        await tick()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
