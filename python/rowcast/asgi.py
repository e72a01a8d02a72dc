"""rowcast as an ASGI application: ``SubscriptionApp(manager, authenticate)``; ``uvicorn module:app`` runs it."""

from rowcast.transport.asgi import ASGIAdapter, ASGIExchange, SubscriptionApp

__all__ = ["ASGIAdapter", "ASGIExchange", "SubscriptionApp"]
