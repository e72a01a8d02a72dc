"""rowcast on Starlette: messages of a topic, published by the application itself.

Run:        uvicorn starlette_app:app
Database:   none; events live in this process alone
Subscribe:  any graphql-transport-ws client on ws://127.0.0.1:8000/graphql: subscription { alerts { payload cursor } }
            or over plain HTTP: curl -N -H 'Accept: text/event-stream' --get
            --data-urlencode 'query=subscription { alerts { payload cursor } }' http://127.0.0.1:8000/graphql
Publish:    curl -X POST -d '{"text": "hello"}' http://127.0.0.1:8000/alerts
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rowcast import EventBusConfig, SubscriptionManager, subscription
from rowcast.starlette import subscription_routes

manager = SubscriptionManager(bus=EventBusConfig.memory(), subscriptions=[subscription(topic="alerts", public=True)])


async def alert(request: Request) -> JSONResponse:
    """Publish the request's body to all subscribers."""
    await manager.publish("alerts", await request.json())
    return JSONResponse({"published": True})


app = Starlette(
    routes=[*subscription_routes(manager), Route("/alerts", alert, methods=["POST"])],
    lifespan=manager.lifespan,
)
