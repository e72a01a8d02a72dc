"""The manager's settings, checked once; the engine's part goes to it as JSON. Every bound has a unit in its name.

``None`` means the engine's own default; such settings are left out of the JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from rowcast.errors import ConfigurationError
from rowcast.limits import RequestLimits
from rowcast.naming import Naming

# A slot's name ends up in a file name: PostgreSQL allows lower case letters, digits and underscores, 63 bytes.
_SLOT_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_IDENTIFIER_BYTES_MAX = 63
_SECONDS_MAX = 86_400
# The rest is used on this side: the engine refuses settings that it does not know.
_ENGINES = frozenset(
    (
        "naming",
        "auto_migrate",
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
    )
)


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
    slot: str = "rowcast"
    publication: str = "rowcast"
    debug: bool = False
    held_bytes_max: int | None = None
    request_limits: RequestLimits = field(default_factory=RequestLimits)

    def __post_init__(self) -> None:
        if self.naming not in ("camel", "database"):
            raise _invalid("naming", 'must be "camel" or "database"')
        for name in (
            "queue_bytes_max",
            "operations_max",
            "message_bytes_max",
            "held_bytes_max",
            "resolver_backlog_bytes_max",
            "resolver_concurrency",
        ):
            self._check_count(name)
        for name in ("queue_age_max_s", "init_wait_s", "ping_interval_s", "pong_timeout_s", "resolver_timeout_s"):
            self._check_seconds(name)
        for name in ("auto_migrate", "introspection", "debug"):
            if not isinstance(getattr(self, name), bool):
                raise _invalid(name, "must be True or False")
        if not isinstance(self.request_limits, RequestLimits):
            raise _invalid("request_limits", "must be a rowcast.RequestLimits")
        self._check_names()

    def as_json(self) -> str:
        """The JSON object that ``SubscriptionExecutor`` takes."""
        told = {name: value for name, value in asdict(self).items() if name in _ENGINES and value is not None}
        return json.dumps(told | self.request_limits.as_settings())

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
        if not self.slot or len(self.slot) > _IDENTIFIER_BYTES_MAX or not _SLOT_LETTERS.issuperset(self.slot):
            raise _invalid("slot", "may have lower case letters, digits and underscores, 63 at most")
        if not self.publication or len(self.publication.encode()) > _IDENTIFIER_BYTES_MAX or "\0" in self.publication:
            raise _invalid("publication", "must be a PostgreSQL identifier, 63 bytes at most")


def _invalid(name: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {rule}", code="SETTING_INVALID")
