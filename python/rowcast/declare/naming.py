"""From Python's and the catalog's names to GraphQL's, by one rule: that of ``src/graphql/naming.rs``.

``order_items`` becomes ``orderItems``; what GraphQL does not allow in a name becomes ``_``, and a leading digit gets
``_`` in front. With ``naming="database"`` only the second half applies. It holds for tables, columns, functions and
``name=`` alike.
"""

from __future__ import annotations

import re
import string
from typing import Literal

Naming = Literal["camel", "database"]

_INVALID = re.compile(r"[^A-Za-z0-9_]")
_RESERVED = re.compile("^__+")
_CAPITALS = string.ascii_uppercase


def field_name(name: str, naming: Naming = "camel") -> str:
    """The GraphQL name of an attribute, a function or a column."""
    legal = _INVALID.sub("_", name)
    converted = _camel(legal) if naming == "camel" else _RESERVED.sub("_", legal)
    return f"_{converted}" if converted[:1].isdigit() else converted


def table_field_name(table: str, naming: Naming = "camel") -> str:
    """The GraphQL name of a table's field; the schema is left out: ``sales.order_items`` is ``orderItems``."""
    return field_name(table.rpartition(".")[2].strip('"'), naming)


def is_graphql_name(name: str) -> bool:
    """Whether a schema may define it: ASCII letters, digits and ``_``, no leading digit, no leading ``__``."""
    return name.isascii() and name.isidentifier() and not name.startswith("__")


def _camel(name: str) -> str:
    """A leading underscore stays, since ``_id`` and ``id`` are often neighbours."""
    first, *others = [word for word in name.split("_") if word] or [""]
    return ("_" if name.startswith("_") else "") + _lower_first(first) + "".join(map(_upper_first, others))


def _lower_first(word: str) -> str:
    """``ID`` is ``id``, ``UserName`` is ``userName``, ``URLPath`` is ``urlPath``."""
    capitals = len(word) - len(word.lstrip(_CAPITALS))
    is_next_lower = word[capitals : capitals + 1].islower()
    lowered = capitals - 1 if is_next_lower and capitals > 1 else capitals
    return word[:lowered].lower() + word[lowered:]


def _upper_first(word: str) -> str:
    """``id`` is ``Id``, and so is ``ID``; ``userName`` is ``UserName``."""
    shouted = not any(letter.islower() for letter in word)
    word = word.lower() if shouted else word
    return word[:1].upper() + word[1:]
