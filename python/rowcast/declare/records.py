"""The fields of a Python class, whichever way it was written: dataclass, TypedDict, NamedTuple or pydantic model.

Pydantic is recognized by what its models have, never imported. A class that is none of these has no members (``None``).
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rowcast.errors import ConfigurationError


@dataclass(frozen=True)
class Member:
    """One attribute or key of a record.

    Attributes:
        attribute: The Python name.
        annotation: Its evaluated type.
        description: What the class says of it.
        optional: The key may be missing (``NotRequired``).
    """

    attribute: str
    annotation: object
    description: str | None = None
    optional: bool = False


def members_of(cls: type, where: str) -> Sequence[Member] | None:
    """The members in order, or ``None`` if the class is not a record.

    Raises:
        ConfigurationError: ``ANNOTATION_UNSUPPORTED`` for an annotation that cannot be evaluated.
    """
    if typing.is_typeddict(cls):
        return _typed_dict(cls, where)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, where)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _named_tuple(cls, where)
    if _is_pydantic(cls):
        return _pydantic(cls, where)
    return None


def type_description(cls: type) -> str | None:
    """The docstring somebody wrote; what `dataclass`, `NamedTuple` and pydantic generate is none."""
    text = cls.__dict__.get("__doc__")
    if not text or text.startswith(f"{cls.__name__}("):
        return None
    return inspect.cleandoc(text)


def _typed_dict(cls: type, where: str) -> list[Member]:
    required: frozenset[str] = getattr(cls, "__required_keys__", frozenset())
    members = []
    for name, hint in _hints(cls, where).items():
        annotation, marked = _without_qualifier(hint)
        optional = marked == "NotRequired" or (name not in required and marked != "Required")
        members.append(Member(name, annotation, optional=optional))
    return members


def _without_qualifier(hint: object) -> tuple[object, str | None]:
    """Without ``Required``, ``NotRequired`` and ``ReadOnly``, `typing`'s or `typing_extensions`', and which it was."""
    marked: str | None = None
    while (name := str(getattr(typing.get_origin(hint), "_name", ""))) in ("Required", "NotRequired", "ReadOnly"):
        marked = name if name != "ReadOnly" else marked
        hint = typing.get_args(hint)[0]
    return hint, marked


def _dataclass(cls: type, where: str) -> list[Member]:
    hints = _hints(cls, where)
    fields = dataclasses.fields(cls)
    return [Member(each.name, hints[each.name], _text(each.metadata.get("description"))) for each in fields]


def _named_tuple(cls: type, where: str) -> list[Member]:
    hints = _hints(cls, where)
    names: tuple[str, ...] = getattr(cls, "_fields", ())
    missing = [name for name in names if name not in hints]
    if missing:
        raise _invalid(f"{where}: {cls.__name__}.{missing[0]} has no type; use typing.NamedTuple")
    return [Member(name, hints[name]) for name in names]


def _is_pydantic(cls: type) -> bool:
    return hasattr(cls, "model_dump") and isinstance(_pydantic_fields(cls), Mapping)


def _pydantic_fields(cls: type) -> Mapping[str, Any] | None:
    fields: Mapping[str, Any] | None = getattr(cls, "__pydantic_fields__", None) or getattr(cls, "model_fields", None)
    return fields


def _pydantic(cls: type, where: str) -> list[Member]:
    """The fields as pydantic read them; an incomplete model still has text there, and is evaluated here."""
    fields = _pydantic_fields(cls) or {}
    if getattr(cls, "__pydantic_complete__", True):
        return [Member(name, info.annotation, _text(info.description)) for name, info in fields.items()]
    hints = _hints(cls, where)
    return [Member(name, hints[name], _text(info.description)) for name, info in fields.items()]


def _hints(cls: type, where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise _invalid(
            f"{where}: the annotations of {cls.__name__} cannot be evaluated ({error}); "
            "define the types it names at module level and import them outside `if TYPE_CHECKING`"
        ) from error


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="ANNOTATION_UNSUPPORTED")
