"""Mounts on Starlette.

::

    app = Starlette(routes=subscription_routes(manager, authenticate=authenticate), lifespan=manager.lifespan)
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.routing import BaseRoute, Route, WebSocketRoute

from rowcast.asgi import SubscriptionApp
from rowcast.manager import SubscriptionManager
from rowcast.transport.hook import Authenticate


def subscription_routes(
    manager: SubscriptionManager,
    authenticate: Authenticate | None = None,
    *,
    path: str = "/graphql",
    allowed_origins: Collection[str] | None = None,
) -> list[BaseRoute]:
    """The WebSocket and HTTP routes of a manager at one path.

    Args:
        manager: Start it with the application: ``Starlette(lifespan=manager.lifespan)``.
        authenticate: See `rowcast.GraphQLTransportWSHandler`.
        path: Starts with ``/``.
        allowed_origins: See `rowcast.GraphQLTransportWSHandler`.
    """
    app = SubscriptionApp(manager, authenticate, allowed_origins=allowed_origins)
    return [WebSocketRoute(path, app, name="rowcast-subscriptions"), Route(path, app, name="rowcast-http")]
