"""How large one request may be: what each bound stops, and what it costs to raise it.

A request beyond a bound ends with an error that names the bound, before anything is built from it; the socket and its
other operations go on. The engine has the same bounds under the same names.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from rowcast.errors import ConfigurationError

_DEPTH_MOST = 64
_REQUEST = frozenset(
    ("query_bytes_max", "tokens_max", "depth_max", "fields_max", "introspection_lists_max", "values_bytes_max")
)


@dataclass(frozen=True)
class RequestLimits:
    """Bounds of one GraphQL request: ``SubscriptionManager(request_limits=RequestLimits(depth_max=12))``.

    Attributes:
        query_bytes_max: Bytes of the document.
        tokens_max: Tokens of the document.
        depth_max: Nesting of selections and values, 64 at most.
        fields_max: Fields of one operation with its fragments spread out; aliases count.
        introspection_lists_max: Lists of the schema that one introspection query reads.
        values_bytes_max: Bytes that variables and extensions take once parsed, by estimate (some 64 for each value
            beside its text), and one argument with its variables put in. A live subscription keeps them.
        filter_depth_max: Nesting of ``AND``, ``OR`` and ``NOT`` in ``where``, 64 at most.
        filter_conditions_max: Operators of one ``where``: the most that one subscription costs per event.
        filter_members_max: Members of its lists in all, such as those of ``in``.

    Raises:
        ConfigurationError: ``SETTING_INVALID``, naming the bound.
    """

    query_bytes_max: int = 64 * 1024
    tokens_max: int = 10_000
    depth_max: int = 64
    fields_max: int = 2_000
    introspection_lists_max: int = 32
    values_bytes_max: int = 512 * 1024
    filter_depth_max: int = 16
    filter_conditions_max: int = 256
    filter_members_max: int = 1_024

    def __post_init__(self) -> None:
        for bound in fields(self):
            value = getattr(self, bound.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise _invalid(bound.name, "must be a whole number of at least 1")
        for name in ("depth_max", "filter_depth_max"):
            if getattr(self, name) > _DEPTH_MOST:
                raise _invalid(name, f"must be at most {_DEPTH_MOST}")

    def as_settings(self) -> dict[str, dict[str, int]]:
        """The engine's two groups of them."""
        bounds: dict[str, int] = asdict(self)
        return {
            "request": {name: value for name, value in bounds.items() if name in _REQUEST},
            "filter": {name.removeprefix("filter_"): value for name, value in bounds.items() if name not in _REQUEST},
        }


def _invalid(name: str, rule: str) -> ConfigurationError:
    return ConfigurationError(f"request_limits: {name} {rule}", code="SETTING_INVALID")
