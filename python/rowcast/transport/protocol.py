"""graphql-transport-ws over any adapter: the door of a mount.

`GraphQLTransportWSHandler.handle` takes one adapter, completes the handshake, opens a session in the engine and
returns when the socket is done. Sockets that cannot be served are accepted first and then closed with a code, since a
browser shows no reason for a refused handshake.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from rowcast.errors import ConfigurationError, NotStarted, RateLimited, RowcastError
from rowcast.transport.adapter import WebSocketAdapter, pick_subprotocol
from rowcast.transport.conversation import HIDDEN, Conversation, Rules, shut
from rowcast.transport.hook import Authenticate, checked

if TYPE_CHECKING:
    from rowcast.manager import SubscriptionManager

_log = logging.getLogger("rowcast")


class GraphQLTransportWSHandler:
    """Serves sockets of one manager.

    Args:
        manager: Running, or started before the first socket comes.
        authenticate: ``async def`` (or ``def``, then in a thread): takes a `Connection`, returns a `Principal`. Raising
            `Forbidden` closes with 4403, and so do ``HTTPException`` with 401 or 403 and ``WebSocketException`` with
            1008 of FastAPI and Starlette; anything else closes with 4500, its text hidden unless the manager has
            ``debug``. Without a hook every client is admitted as ``Principal()`` and sees public tables.
        allowed_origins: Values of the ``Origin`` header that may connect, such as ``"https://app.example.com"``;
            requests without that header do not come from browsers and may connect. ``None`` allows all: set it if
            the hook trusts cookies.
        authenticate_timeout_s: Seconds that the hook may take; then the socket closes with 1013.

    Raises:
        ConfigurationError: ``AUTHENTICATE_INVALID``: the hook does not take one argument.
    """

    def __init__(
        self,
        manager: SubscriptionManager,
        authenticate: Authenticate | None = None,
        *,
        allowed_origins: Collection[str] | None = None,
        authenticate_timeout_s: float = 30.0,
    ) -> None:
        if isinstance(allowed_origins, str):
            raise ConfigurationError(f"allowed_origins must be a list: [{allowed_origins!r}]")
        self._manager = manager
        self.rules = Rules(checked(authenticate), authenticate_timeout_s, manager.settings.debug)
        self._origins = None if allowed_origins is None else frozenset(allowed_origins)

    async def handle(self, adapter: WebSocketAdapter) -> None:
        """Serve one socket until it is closed; raises nothing but cancellation."""
        subprotocol = pick_subprotocol(adapter.subprotocols)
        try:
            await adapter.accept(subprotocol)
        except Exception:
            _log.debug("the client left during the handshake", exc_info=True)
            return
        if subprotocol is None:
            await shut(adapter, 4406, "Subprotocol not acceptable")
        elif not self._may_come_from(adapter.headers.get("origin")):
            await shut(adapter, 4403, "Forbidden")
        else:
            await self._converse(adapter)

    async def _converse(self, adapter: WebSocketAdapter) -> None:
        try:
            bridge = self._manager.bridge()
            peer = adapter.client
            session = self._manager.executor.connect(bridge.hub, peer[0] if peer else None)
        except NotStarted as error:
            await self._turn_away(adapter, error)
        except RateLimited as error:
            await shut(adapter, 1013, f"{error.code}: try again in {error.retry_after_s} s")
        except RowcastError as error:
            _log.warning("connection refused: %s [%s]", error, error.code)
            await shut(adapter, 1013, "Try again later")
        else:
            conversation = Conversation(session, adapter, self.rules)
            token = session.token
            bridge.add(token, conversation)
            bridge.follow_stop(getattr(adapter, "stopping", None))
            try:
                await conversation.run()
            finally:
                bridge.remove(token)

    async def _turn_away(self, adapter: WebSocketAdapter, error: NotStarted) -> None:
        """Clients of a stopped manager reconnect; a manager that never ran is a mistake to report."""
        if self._manager.has_run:
            await shut(adapter, 1001, "Going away")
        else:
            _log.error("%s", error)
            await shut(adapter, 4500, HIDDEN)

    def _may_come_from(self, origin: str | None) -> bool:
        return self._origins is None or origin is None or origin in self._origins
