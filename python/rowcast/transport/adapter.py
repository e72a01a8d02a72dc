"""The contract between rowcast and a WebSocket server: moving text frames, nothing else.

The whole graphql-transport-ws conversation is the engine's; an adapter only carries it. An adapter for
another server implements `WebSocketAdapter` and passes ``rowcast.adapter_suite``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

GRAPHQL_TRANSPORT_WS = "graphql-transport-ws"
_REASON_BYTES_MAX = 123


@runtime_checkable
class WebSocketAdapter(Protocol):
    """One client's socket, before and after it is accepted. One task calls ``receive``, another one sends.

    An adapter may also have ``abort() -> None``: drop the TCP connection at once without waiting for the peer.
    Without it a client that stopped reading keeps its socket (not its queue, that is freed) until the server notices.

    And it may have ``stopping``: an event (an object with ``async wait()``) of the server, shared by its sockets, that
    is set when it begins to stop and leaves it to them to close. ``None`` where the server closes them itself.
    """

    @property
    def subprotocols(self) -> Sequence[str]:
        """What the client offered, in its order."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the upgrade request; names in any case."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """Cookies of the upgrade request."""

    @property
    def query(self) -> Mapping[str, str]:
        """Parameters of the URL."""

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer, if known; its address is what ``limits["connects"]`` counts.

        Behind a proxy this is the proxy, unless the server reads the proxy's headers (uvicorn: ``--proxy-headers`` with
        ``--forwarded-allow-ips``).
        """

    @property
    def is_connected(self) -> bool:
        """Whether it was accepted and neither side has closed it, as far as is known."""

    async def accept(self, subprotocol: str | None) -> None:
        """Complete the handshake. Called once, first, with what `pick_subprotocol` chose of ``subprotocols``."""

    async def receive(self) -> str | bytes | None:
        """The next frame, text as ``str``; ``None``, not an exception, once the client is gone, and ever after."""

    async def send_text(self, text: str) -> None:
        """Send one text frame (stock clients close on a binary one). May wait until the client reads.

        When the client is gone it returns or raises whatever the server raises; both are understood.
        """

    async def close(self, code: int, reason: str) -> None:
        """Close with a code and a reason of at most 123 bytes. May wait; harmless when the socket is closed already."""


@runtime_checkable
class Abortable(Protocol):
    """An adapter that can drop its TCP connection."""

    def abort(self) -> None:
        """Drop the connection at once. Idempotent, never waits, never raises."""


def pick_subprotocol(offered: Sequence[str]) -> str | None:
    """``graphql-transport-ws`` if the client offered it, else ``None``. Values joined by commas are taken apart."""
    names = (name.strip() for value in offered for name in value.split(","))
    return GRAPHQL_TRANSPORT_WS if GRAPHQL_TRANSPORT_WS in names else None


def close_reason(text: str) -> str:
    """As much of the text as a close frame holds (123 bytes), never cut inside a character."""
    return text.encode("utf-8", "replace")[:_REASON_BYTES_MAX].decode("utf-8", "ignore")
