"""The identity of a client. An ``authenticate`` hook makes one `Principal` per connection; the engine only reads it.

A wrong principal would show rows to the wrong client, so everything is checked here, where the traceback still
points at the hook. An unknown attribute is ``None`` and hides all rows that depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from rowcast.errors import PrincipalError

# Unix seconds reach this in the year 5138; today's Unix milliseconds are above it.
_SECONDS_MAX = 100_000_000_000
# As `valid_custom_variable_name` of PostgreSQL's guc.c reads it: every byte beyond ASCII is a letter.
_IDENTIFIER = re.compile("[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")


@dataclass(frozen=True, init=False, repr=False)
class Principal:
    """An authenticated caller; ``Principal()`` is an anonymous one.

    Args:
        user_id: The user, for rate limits and revocation. Numbers and UUIDs become text.
        tenant_id: Compared with the tenant column; without one no tenant-scoped row is visible.
        role: The database role whose policies and grants apply.
        settings: What ``current_setting('app.tenant_id')`` and its like give in row policies. Names have a dot, as
            PostgreSQL wants of custom settings: ``role`` or ``search_path`` cannot be set this way. Values become text.
        claims: Token claims, JSON values. Policies do not see them: what they read goes into ``settings``, as in
            ``settings={"request.jwt.claims": json.dumps(claims)}``.
        scopes: What the token grants.
        services: Services that the principal may use; empty means all.
        expires_at: When the socket is closed with 4403, or the stream ended: an aware ``datetime`` or Unix seconds, as
            in a token's ``exp``.

    Raises:
        PrincipalError: ``PRINCIPAL_INVALID``; a `ConfigurationError`.
    """

    user_id: str | None = None
    tenant_id: str | None = None
    role: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    expires_at: datetime | float | None = None

    def __init__(
        self,
        user_id: str | UUID | int | None = None,
        tenant_id: str | UUID | int | None = None,
        role: str | None = None,
        settings: Mapping[str, str | UUID | int | bool] | None = None,
        claims: Mapping[str, Any] | None = None,
        scopes: Iterable[str] = (),
        services: Iterable[str] = (),
        expires_at: datetime | float | None = None,
    ) -> None:
        keep = object.__setattr__
        keep(self, "user_id", _identity("user_id", user_id))
        keep(self, "tenant_id", _identity("tenant_id", tenant_id))
        keep(self, "role", _identity("role", role))
        keep(self, "settings", _settings(settings))
        keep(self, "claims", _claims(claims))
        keep(self, "scopes", _names("scopes", scopes))
        keep(self, "services", _names("services", services))
        keep(self, "expires_at", _expiry(expires_at))

    @property
    def expires_at_us(self) -> int | None:
        """`expires_at` in microseconds since 1970-01-01 UTC; what the engine reads."""
        if self.expires_at is None:
            return None
        seconds = self.expires_at.timestamp() if isinstance(self.expires_at, datetime) else self.expires_at
        return round(seconds * 1_000_000)

    def __repr__(self) -> str:
        """Names of settings and claims only: their values are credentials."""
        parts = [f"{name}={value!r}" for name, value in self._shown() if value]
        return f"Principal({', '.join(parts)})"

    def _shown(self) -> Iterable[tuple[str, object]]:
        yield "user_id", self.user_id
        yield "tenant_id", self.tenant_id
        yield "role", self.role
        yield "settings", sorted(self.settings)
        yield "claims", sorted(self.claims)
        yield "scopes", self.scopes
        yield "services", self.services
        yield "expires_at", self.expires_at


def _identity(name: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | UUID | int):
        raise _invalid(f"{name} must be str, UUID or int, not {type(value).__name__}")
    text = str(value)
    if not text or "\0" in text:
        raise _invalid(f"{name} must be non-empty text without NUL; leave it out when it is not known")
    return text


def _settings(settings: object) -> dict[str, str]:
    if settings is None:
        return {}
    if not isinstance(settings, Mapping):
        raise _invalid(f'settings must be a mapping such as {{"app.tenant_id": "…"}}, not {type(settings).__name__}')
    return {_setting_name(name): _setting_value(name, value) for name, value in settings.items()}


def _setting_name(name: object) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise _invalid(f"a setting's name must be non-empty text, not {type(name).__name__}")
    if "." not in name:
        raise _invalid(
            f"setting {name!r} has no dot: only custom settings such as app.tenant_id are a principal's; "
            "a database role is given as role="
        )
    if not all(_IDENTIFIER.fullmatch(part) for part in name.split(".")):
        raise _invalid(
            f"setting {name!r} is not a name that PostgreSQL accepts: use identifiers (letters, digits, _ and $, no "
            "leading digit) with dots between them"
        )
    return name


def _setting_value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | UUID | int):
        raise _invalid(f"setting {name!r} must be str, UUID, int or bool, not {type(value).__name__}")
    text = str(value)
    if "\0" in text:
        raise _invalid(f"setting {name!r} contains NUL, which PostgreSQL cannot store")
    return text


def _claims(claims: object) -> dict[str, Any]:
    if claims is None:
        return {}
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        raise _invalid("claims must be a mapping with text keys, as a decoded token is")
    return dict(claims)


def _names(what: str, names: object) -> tuple[str, ...]:
    if isinstance(names, str):
        raise _invalid(
            f'{what} must be a list of names, not one text; for a token\'s scope: scopes=claims["scope"].split()'
        )
    if not isinstance(names, Iterable):
        raise _invalid(f"{what} must be a list of names, not {type(names).__name__}")
    collected = tuple(names)
    if not all(isinstance(name, str) and name for name in collected):
        raise _invalid(f"{what} must contain non-empty text only")
    return collected


def _expiry(moment: object) -> datetime | float | None:
    if moment is None:
        return None
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise _invalid("expires_at has no time zone; use datetime.now(timezone.utc) or Unix seconds")
        return moment
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        raise _invalid(f"expires_at must be a datetime or Unix seconds, not {type(moment).__name__}")
    if not 0 <= moment < _SECONDS_MAX:
        raise _invalid("expires_at must be Unix seconds; this number looks like milliseconds or is negative")
    return moment


def _invalid(message: str) -> PrincipalError:
    return PrincipalError(f"Principal: {message}")
