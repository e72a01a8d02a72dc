"""What an ``authenticate`` hook receives about a connection: headers, cookies, query and the connection_init payload.

Values here are credentials, so `repr` shows names alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rowcast.errors import CredentialMissing


class Headers(Mapping[str, str]):
    """HTTP headers by case-insensitive name; repeated headers are joined as in RFC 9110."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for raw_name, value in pairs:
            name = raw_name.lower()
            joint = "; " if name == "cookie" else ", "
            self._values[name] = self._values[name] + joint + value if name in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({sorted(self._values)})"


class Payload(dict[str, Any]):
    """The connection_init payload, ``{}`` when the client sent none.

    Reading a key that is not there refuses the connection (4403) instead of looking like a server fault:
    a client without a token is not an error of the hook.
    """

    def __missing__(self, key: str) -> Any:
        raise CredentialMissing(f"the connection_init payload has no {key!r}")

    def __repr__(self) -> str:
        return f"Payload({sorted(self)})"


@dataclass(frozen=True, repr=False)
class Connection:
    """One WebSocket or event stream before it is authenticated.

    Attributes:
        headers: The upgrade request's headers; names are case-insensitive.
        cookies: The upgrade request's cookies. If you trust them, check ``headers["origin"]`` or set
            ``allowed_origins``: browsers send cookies from any site.
        payload: The connection_init payload; empty for an event stream.
        query: The URL's parameters; if a name is repeated, its last value.
        client: Address and port of the peer, if the server reports them.
    """

    headers: Mapping[str, str] = field(default_factory=Headers)
    cookies: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=Payload)
    query: Mapping[str, str] = field(default_factory=dict)
    client: tuple[str, int] | None = None

    def __repr__(self) -> str:
        names = {"headers": self.headers, "cookies": self.cookies, "payload": self.payload, "query": self.query}
        shown = ", ".join(f"{name}={sorted(values)}" for name, values in names.items() if values)
        return f"Connection({shown})"


def parse_cookies(header: str) -> dict[str, str]:
    """Cookies of a ``Cookie`` header, lenient as browsers are: a broken pair is skipped, the first of a name wins."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator and name:
            cookies.setdefault(name.strip(), value.strip().strip('"'))
    return cookies
