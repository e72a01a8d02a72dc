"""From Python's and the catalog's names to GraphQL's, by one rule.

``order_items`` becomes ``orderItems``; what GraphQL does not allow in a name becomes ``_``, and a leading digit gets
``_`` in front. With ``naming="database"`` only the second half applies.
"""

from __future__ import annotations

import re
from typing import Literal

Naming = Literal["camel", "database"]

_INVALID = re.compile(r"[^A-Za-z0-9_]")


def field_name(name: str, naming: Naming = "camel") -> str:
    """The GraphQL name of an attribute, a function or a column."""
    legal = _INVALID.sub("_", name)
    converted = _camel(legal) if naming == "camel" else legal
    return f"_{converted}" if converted[:1].isdigit() else converted


def table_field_name(table: str, naming: Naming = "camel") -> str:
    """The GraphQL name of a table's field; the schema is left out: ``sales.order_items`` is ``orderItems``."""
    return field_name(table.rpartition(".")[2].strip('"'), naming)


def is_graphql_name(name: str) -> bool:
    """Whether a schema may define it: ASCII letters, digits and ``_``, no leading digit, no leading ``__``."""
    return name.isascii() and name.isidentifier() and not name.startswith("__")


def _camel(name: str) -> str:
    bare = name.lstrip("_")
    first, *others = [word for word in bare.split("_") if word] or [""]
    leading = name[: len(name) - len(bare)]
    return leading + first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in others)
