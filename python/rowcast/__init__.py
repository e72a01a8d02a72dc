"""PostgreSQL row changes as live GraphQL subscriptions: a Rust engine inside your Python process.

::

    from fastapi import FastAPI
    from rowcast import Principal, SubscriptionManager
    from rowcast.fastapi import subscription_router

    manager = SubscriptionManager()

    @manager.subscription("orders", tenant="tenant_id")
    async def orders(event, variables) -> dict:
        return event.row

    async def authenticate(connection) -> Principal:
        claims = verify(connection.payload["token"])
        return Principal(user_id=claims["sub"], tenant_id=claims["tenant"], expires_at=claims["exp"])

    app = FastAPI(lifespan=manager.lifespan)
    app.include_router(subscription_router(manager, authenticate=authenticate), prefix="/graphql")

Mounts: `rowcast.fastapi`, `rowcast.starlette`, `rowcast.asgi`; other servers: `rowcast.WebSocketAdapter`,
`rowcast.custom_server`.
"""

from rowcast._engine import Event, EventBusConfig, SubscriptionExecutor, __version__
from rowcast.declare.annotations import BigInt
from rowcast.declare.declaration import subscription
from rowcast.engine_log import drain_log
from rowcast.errors import (
    AuthenticationFailed,
    CaptureError,
    ConfigurationError,
    ConnectionFailed,
    CredentialMissing,
    DatabaseError,
    Forbidden,
    MigrationError,
    NotStarted,
    PrincipalError,
    PublishError,
    RateLimited,
    RequestRefused,
    RowcastError,
    SchemaError,
    SubscriptionEnded,
)
from rowcast.limits import RequestLimits
from rowcast.manager import SubscriptionManager
from rowcast.principal import Principal
from rowcast.transport.adapter import WebSocketAdapter
from rowcast.transport.connection import Connection
from rowcast.transport.protocol import GraphQLTransportWSHandler

__all__ = [
    "AuthenticationFailed",
    "BigInt",
    "CaptureError",
    "ConfigurationError",
    "Connection",
    "ConnectionFailed",
    "CredentialMissing",
    "DatabaseError",
    "Event",
    "EventBusConfig",
    "Forbidden",
    "GraphQLTransportWSHandler",
    "MigrationError",
    "NotStarted",
    "Principal",
    "PrincipalError",
    "PublishError",
    "RateLimited",
    "RequestLimits",
    "RequestRefused",
    "RowcastError",
    "SchemaError",
    "SubscriptionEnded",
    "SubscriptionExecutor",
    "SubscriptionManager",
    "WebSocketAdapter",
    "__version__",
    "drain_log",
    "subscription",
]
