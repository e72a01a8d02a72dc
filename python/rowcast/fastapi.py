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
from starlette.websockets import WebSocket

from rowcast.asgi import ASGIAdapter, answer_http
from rowcast.conversation import Authenticate
from rowcast.manager import SubscriptionManager
from rowcast.protocol import GraphQLTransportWSHandler


def subscription_router(
    manager: SubscriptionManager,
    authenticate: Authenticate | None = None,
    *,
    path: str = "",
    allowed_origins: Collection[str] | None = None,
) -> APIRouter:
    """A router with the WebSocket and the HTTP endpoint of a manager.

    Args:
        manager: Start it with the application: ``FastAPI(lifespan=manager.lifespan)``.
        authenticate: See `rowcast.GraphQLTransportWSHandler`.
        path: Below the prefix that the router is included with; leave it empty when there is a prefix.
        allowed_origins: See `rowcast.GraphQLTransportWSHandler`.
    """
    handler = GraphQLTransportWSHandler(manager, authenticate, allowed_origins=allowed_origins)
    router = APIRouter()

    async def subscriptions(websocket: WebSocket) -> None:
        # Starlette's own receive and send check a state for each frame that the adapter keeps already.
        receive = getattr(websocket, "_receive", websocket.receive)
        send = getattr(websocket, "_send", websocket.send)
        await handler.handle(ASGIAdapter(websocket.scope, receive, send))

    async def schema(request: Request) -> Response:
        answer = await answer_http(manager, request.scope, request.receive, handler.rules)
        return Response(answer.body, answer.status, dict(answer.headers))

    router.add_api_websocket_route(path, subscriptions, name="rowcast-subscriptions")
    router.add_api_route(path, schema, methods=["GET", "POST"], name="rowcast-schema", include_in_schema=False)
    return router
