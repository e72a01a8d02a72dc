"""The manager's settings, checked once; the engine's part goes to it as JSON. Every bound has a unit in its name.

``None`` means the engine's own default; such settings are left out of the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from rowcast.declare.naming import Naming
from rowcast.errors import ConfigurationError
from rowcast.limits import RequestLimits

# A slot's name ends up in a file name: PostgreSQL allows lower case letters, digits and underscores, 63 bytes.
_SLOT_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
SLOT_RULE = "may have lower case letters, digits and underscores, 63 at most"
_IDENTIFIER_BYTES_MAX = 63
_SECONDS_MAX = 86_400
# The rest is used on this side: the engine refuses settings that it does not know.
_ENGINES = frozenset(
    (
        "naming",
        "auto_migrate",
        "serve_watched",
        "slow_client",
        "queue_bytes_max",
        "queue_age_max_s",
        "init_wait_s",
        "ping_interval_s",
        "pong_timeout_s",
        "operations_max",
        "message_bytes_max",
        "held_bytes_max",
        "resolver_backlog_bytes_max",
        "introspection",
        "service",
        "protected_variables",
        "limits",
        "policy_sessions",
        "policy_timeout_s",
        "policy_backlog_bytes_max",
        "replay_window_bytes",
        "replay_window_s",
        "slot_idle_s",
    )
)
_ATTRIBUTES = ("tenant_id", "user_id")
CAPTURES = ("auto", "wal", "outbox")
_LIMITED = ("connects", "subscribes", "messages", "delegated")
_POLICY_SESSIONS = range(2, 65)
_PER_S_MIN, _PER_S_MAX, _BURST_MAX = 0.001, 1_000_000, 2**32 - 1

Attribute = Literal["tenant_id", "user_id"]
SlowClient = Literal["disconnect", "coalesce"]
Capture = Literal["auto", "wal", "outbox"]


class Rate(TypedDict):
    """So many in a second for ever (``per_s``), and so many at once after a pause (``burst``)."""

    per_s: float
    burst: int


@dataclass(frozen=True)
class Settings:
    """What `SubscriptionManager` documents, in one value.

    Raises:
        ConfigurationError: ``SETTING_INVALID``, naming the setting.
    """

    naming: Naming = "camel"
    auto_migrate: bool = True
    queue_bytes_max: int | None = None
    queue_age_max_s: float | None = None
    init_wait_s: float = 3.0
    ping_interval_s: float = 12.0
    pong_timeout_s: float = 12.0
    operations_max: int = 100
    message_bytes_max: int | None = None
    resolver_backlog_bytes_max: int | None = None
    resolver_concurrency: int = 32
    resolver_timeout_s: float = 30.0
    introspection: bool = True
    public_introspection: bool = False
    serve_watched: bool = False
    slot: str | None = None
    publication: str = "rowcast"
    debug: bool = False
    service: str | None = None
    protected_variables: Mapping[str, Attribute] | None = None
    limits: Mapping[str, Rate | None] | None = None
    policy_sessions: int | None = None
    policy_timeout_s: float | None = None
    policy_backlog_bytes_max: int | None = None
    replay_window_bytes: int | None = None
    replay_window_s: float | None = None
    slot_idle_s: float | None = None
    held_bytes_max: int | None = None
    request_limits: RequestLimits = field(default_factory=RequestLimits)
    slow_client: SlowClient = "disconnect"
    capture: Capture | None = None

    def __post_init__(self) -> None:
        if self.naming not in ("camel", "database"):
            raise _invalid("naming", 'must be "camel" or "database"')
        if self.slow_client not in ("disconnect", "coalesce"):
            raise _invalid("slow_client", 'must be "disconnect" or "coalesce"')
        if self.capture not in (None, *CAPTURES):
            raise _invalid("capture", 'must be "auto", "wal" or "outbox"')
        for name in (
            "queue_bytes_max",
            "operations_max",
            "message_bytes_max",
            "held_bytes_max",
            "resolver_backlog_bytes_max",
            "resolver_concurrency",
            "policy_sessions",
            "policy_backlog_bytes_max",
            "replay_window_bytes",
        ):
            self._check_count(name)
        for name in (
            "queue_age_max_s",
            "init_wait_s",
            "ping_interval_s",
            "pong_timeout_s",
            "resolver_timeout_s",
            "policy_timeout_s",
            "replay_window_s",
            "slot_idle_s",
        ):
            self._check_seconds(name)
        if self.policy_sessions is not None and self.policy_sessions not in _POLICY_SESSIONS:
            raise _invalid("policy_sessions", f"must be from {_POLICY_SESSIONS[0]} to {_POLICY_SESSIONS[-1]}")
        for name in ("auto_migrate", "introspection", "public_introspection", "serve_watched", "debug"):
            if not isinstance(getattr(self, name), bool):
                raise _invalid(name, "must be True or False")
        if not isinstance(self.request_limits, RequestLimits):
            raise _invalid("request_limits", "must be a rowcast.RequestLimits")
        self._check_names()
        self._check_scope()
        self._check_limits()

    def as_json(self) -> str:
        """The JSON object that ``SubscriptionExecutor`` takes."""
        told: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self) if each.name in _ENGINES}
        told = {name: value for name, value in told.items() if value is not None}
        return json.dumps(told | self.request_limits.as_settings(), default=dict)

    def _check_count(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise _invalid(name, "must be a whole number of at least 1")

    def _check_seconds(self, name: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _SECONDS_MAX:
            raise _invalid(name, f"must be a positive number of seconds, {_SECONDS_MAX} at most")

    def _check_names(self) -> None:
        if self.slot is not None and not is_slot(self.slot):
            raise _invalid("slot", SLOT_RULE)
        if not self.publication or len(self.publication.encode()) > _IDENTIFIER_BYTES_MAX or "\0" in self.publication:
            raise _invalid("publication", "must be a PostgreSQL identifier, 63 bytes at most")

    def _check_scope(self) -> None:
        service: object = self.service
        if service is not None and (not isinstance(service, str) or not service):
            raise _invalid("service", "must be a name, or be left out")
        variables: object = self.protected_variables
        if variables is None:
            return
        if not isinstance(variables, Mapping) or not all(isinstance(name, str) for name in variables):
            raise _invalid("protected_variables", 'must be a mapping such as {"tenantId": "tenant_id"}')
        for name, attribute in variables.items():
            if attribute not in _ATTRIBUTES:
                raise _invalid(f"protected_variables[{name!r}]", 'must be "tenant_id" or "user_id"')

    def _check_limits(self) -> None:
        limits: object = self.limits
        if limits is None:
            return
        if not isinstance(limits, Mapping):
            raise _invalid("limits", 'must be a mapping such as {"subscribes": {"per_s": 10, "burst": 100}}')
        for name, rate in limits.items():
            if name not in _LIMITED:
                raise _invalid(f"limits[{name!r}]", f"limits nothing; choose of {', '.join(_LIMITED)}")
            if rate is not None and not _is_rate(rate):
                raise _invalid(
                    f"limits[{name!r}]",
                    f'must be None or {{"per_s": {_PER_S_MIN} to {_PER_S_MAX}, "burst": 1 or more}}',
                )


def is_slot(name: str) -> bool:
    """Whether PostgreSQL takes it for a slot's name."""
    return 0 < len(name) <= _IDENTIFIER_BYTES_MAX and _SLOT_LETTERS.issuperset(name)


def _is_rate(rate: object) -> bool:
    if not isinstance(rate, Mapping) or set(rate) != {"per_s", "burst"}:
        return False
    per_s, burst = rate["per_s"], rate["burst"]
    return (
        isinstance(per_s, int | float)
        and _PER_S_MIN <= per_s <= _PER_S_MAX
        and isinstance(burst, int)
        and not isinstance(burst, bool)
        and 1 <= burst <= _BURST_MAX
    )


def _invalid(name: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {rule}", code="SETTING_INVALID")
