"""Mounts on FastAPI.

::

    app = FastAPI(lifespan=manager.lifespan)
    app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")

Dependencies of a WebSocket route stay open as long as the socket, which drains connection pools: authenticate in the
hook, take what it needs and give it back before it returns.
"""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from rowcast.asgi import ASGIAdapter, ASGIExchange
from rowcast.manager import SubscriptionManager
from rowcast.transport.hook import Authenticate
from rowcast.transport.protocol import GraphQLTransportWSHandler
from rowcast.transport.sse.handler import GraphQLHTTPHandler


def subscription_router(
    manager: SubscriptionManager,
    authenticate: Authenticate | None = None,
    *,
    path: str = "",
    allowed_origins: Collection[str] | None = None,
) -> APIRouter:
    """A router with the WebSocket and the HTTP endpoint (queries and event streams) of a manager.

    Args:
        manager: Start it with the application: ``FastAPI(lifespan=manager.lifespan)``.
        authenticate: See `rowcast.GraphQLTransportWSHandler`.
        path: Below the prefix that the router is included with; leave it empty when there is a prefix.
        allowed_origins: See `rowcast.GraphQLTransportWSHandler`.
    """
    handler = GraphQLTransportWSHandler(manager, authenticate, allowed_origins=allowed_origins)
    http_handler = GraphQLHTTPHandler(manager, handler.rules, allowed_origins=allowed_origins)
    router = APIRouter()

    async def subscriptions(websocket: WebSocket) -> None:
        # Starlette's own receive and send check a state for each frame that the adapter keeps already.
        receive = getattr(websocket, "_receive", websocket.receive)
        send = getattr(websocket, "_send", websocket.send)
        await handler.handle(ASGIAdapter(websocket.scope, receive, send))

    async def requests(_request: Request) -> Response:
        return _Handled(http_handler)

    router.add_api_websocket_route(path, subscriptions, name="rowcast-subscriptions")
    methods = ["GET", "POST", "PUT", "DELETE"]
    router.add_api_route(path, requests, methods=methods, name="rowcast-http", include_in_schema=False)
    return router


class _Handled(Response):
    """A response that writes itself: whether it is a stream is known when the request was read."""

    def __init__(self, handler: GraphQLHTTPHandler) -> None:
        super().__init__()
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handler.handle(ASGIExchange(scope, receive, send))
