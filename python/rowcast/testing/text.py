"""Python's values in PostgreSQL's text output format, as the replication stream would carry them.

A value comes back from the engine as it would from a database: a ``Decimal`` keeps its digits, a ``datetime`` becomes
UTC. A value that does not fit its column's type is refused, and the error does not contain its text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any
from uuid import UUID

from rowcast.errors import ConfigurationError

_ALIASES = {
    "bool": "boolean",
    "int8": "bigint",
    "bigserial": "bigint",
    "int2": "smallint",
    "smallserial": "smallint",
    "int": "integer",
    "int4": "integer",
    "serial": "integer",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}
_INTEGER_BITS = {"smallint": 16, "integer": 32, "bigint": 64}
_QUOTED_IN_ARRAYS = frozenset('{}," \\\t\n\r\v\f')


def text_of(value: object, type_name: str, where: str) -> str | None:
    """The text of a value for a column of this type; ``None`` is NULL.

    Args:
        value: ``bool``, ``int``, ``float``, ``Decimal``, ``UUID``, ``datetime``, ``date``, ``time``, ``bytes``, an
            ``Enum`` member, a list for an array, any JSON value for ``json`` and ``jsonb``, or ``str``, which is taken
            as what SQL would read.
        type_name: As SQL calls it, in lower case.
        where: The column, for the error.

    Raises:
        ConfigurationError: ``ROW_INVALID``: the value is none of the type.
    """
    base, is_array = base_type(type_name)
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    try:
        return _array(value, base) if is_array else _scalar(value, base)
    except (TypeError, ValueError, InvalidOperation, RecursionError) as error:
        raise ConfigurationError(
            f"{where} is {type_name}: the given {type(value).__name__} does not fit", code="ROW_INVALID"
        ) from error


def base_type(type_name: str) -> tuple[str, bool]:
    """A type's one name, without modifiers, and whether it is an array of that."""
    name = type_name.strip().lower()
    is_array = name.endswith("[]")
    name = name.removesuffix("[]").split("(")[0].strip()
    return _ALIASES.get(name, name), is_array


def _scalar(value: Any, base: str) -> str:
    if base in _INTEGER_BITS:
        return _integer(value, _INTEGER_BITS[base])
    return _WRITERS.get(base, _text)(value)


def _integer(value: Any, bits: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    number = int(value)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise ValueError
    return str(number)


def _boolean(value: Any) -> str:
    if not isinstance(value, bool):
        raise TypeError
    return "t" if value else "f"


def _numeric(value: Any) -> str:
    if isinstance(value, bool | float) or not isinstance(value, int | str | Decimal):
        raise TypeError
    number = Decimal(value)
    return format(number, "f") if number.is_finite() else _not_finite(float(number))


def _float(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    number = float(value)
    return repr(number).removesuffix(".0") if math.isfinite(number) else _not_finite(number)


def _not_finite(number: float) -> str:
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _uuid(value: Any) -> str:
    return str(value if isinstance(value, UUID) else UUID(value))


def _timestamptz(value: Any) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_with_offset(value))
    if moment.tzinfo is None:
        raise ValueError
    return _moment(moment.astimezone(timezone.utc)) + "+00"


def _with_offset(text: str) -> str:
    return text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text


def _timestamp(value: Any) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        raise ValueError
    return _moment(moment)


def _moment(moment: datetime) -> str:
    return f"{moment.date().isoformat()} {_time(moment.time())}"


def _date(value: Any) -> str:
    if isinstance(value, datetime):
        raise TypeError
    return (value if isinstance(value, date) else date.fromisoformat(value)).isoformat()


def _time(value: Any) -> str:
    moment = value if isinstance(value, time) else time.fromisoformat(value)
    whole, _, fraction = moment.isoformat().partition(".")
    return f"{whole}.{fraction.rstrip('0')}" if fraction else whole


def _bytea(value: Any) -> str:
    if isinstance(value, str):
        bytes.fromhex(value.removeprefix("\\x"))
        return value
    return "\\x" + bytes(memoryview(value)).hex()


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    return value


def _array(values: Any, base: str) -> str:
    if not isinstance(values, list | tuple):
        raise TypeError
    return "{" + ",".join(_element(each, base) for each in values) + "}"


def _element(value: Any, base: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple) and base not in ("json", "jsonb"):
        return _array(value, base)
    text = _scalar(value, base)
    if text and text.upper() != "NULL" and not _QUOTED_IN_ARRAYS & set(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_WRITERS: dict[str, Callable[[Any], str]] = {
    "boolean": _boolean,
    "numeric": _numeric,
    "real": _float,
    "double precision": _float,
    "uuid": _uuid,
    "timestamptz": _timestamptz,
    "timestamp": _timestamp,
    "date": _date,
    "time": _time,
    "bytea": _bytea,
    "json": _json,
    "jsonb": _json,
}
