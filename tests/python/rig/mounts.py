"""The lab's application on the other mounts: Starlette, plain ASGI, and a server that is not ASGI at all."""

import asyncio
import signal

from starlette.applications import Starlette

from rig.lab_app import authenticate, manager
from rowcast.asgi import SubscriptionApp
from rowcast.custom_server import address, serve
from rowcast.starlette import subscription_routes

starlette = Starlette(routes=subscription_routes(manager, authenticate=authenticate), lifespan=manager.lifespan)
asgi = SubscriptionApp(manager, authenticate, path="/graphql")


async def custom() -> None:
    """The ``websockets`` package's own server, until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with manager, serve(manager, "127.0.0.1", 0, authenticate=authenticate) as server:
        print(f"ready {address(server).replace('ws', 'http')}", flush=True)  # noqa: T201 - awaited by the starter
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(custom())
