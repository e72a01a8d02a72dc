"""From a resolver's return annotation to the GraphQL types it declares.

An annotation comes in, a `Returns` goes out: the type of the field and the object and enum types it needs, as plain
data that the engine builds its schema from. ``dict`` (or no annotation) means «the table's own row type» and gives
``None``.

=====================================  ==================================================================
Python                                 GraphQL
=====================================  ==================================================================
``str`` ``bool`` ``float``             ``String`` ``Boolean`` ``Float``
``int``                                ``Int``, 32 bits: a result beyond is a field error
``rowcast.BigInt``                     ``BigInt``, a JSON string
``Decimal`` ``UUID`` ``bytes``         ``Decimal`` ``UUID`` ``Bytes``
``datetime`` ``date`` ``time``         ``DateTime`` ``Date`` ``Time``
``dict`` ``Mapping`` ``Any`` inside    ``JSON``
``list[T]`` ``Sequence[T]``            ``[T!]``, or ``[T]`` for ``list[T | None]``
``T | None``                           nullable; everything else is ``!``
``Enum``                               an enum of the members' names
``Literal["a", "b"]``                  the type of its values
dataclass, TypedDict, NamedTuple,      an object type of the same name, fields in camelCase
pydantic model
=====================================  ==================================================================

The field itself is always nullable: a resolver that raises gives ``null`` with an error. Nothing is ever guessed:
what is not in the table is refused with `ConfigurationError` when the resolver is declared.
"""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal, NewType, Union
from uuid import UUID

from rowcast.declare.naming import Naming, field_name, is_graphql_name
from rowcast.declare.records import Member, members_of, type_description
from rowcast.errors import ConfigurationError

BigInt = NewType("BigInt", int)
"""A 64-bit integer: GraphQL ``BigInt``, a string in JSON, since JavaScript reads JSON numbers as doubles."""

_SCALARS: tuple[tuple[type, str], ...] = (
    # In order: bool is an int and datetime is a date.
    (bool, "Boolean"),
    (int, "Int"),
    (float, "Float"),
    (str, "String"),
    (bytes, "Bytes"),
    (Decimal, "Decimal"),
    (UUID, "UUID"),
    (dt.datetime, "DateTime"),
    (dt.date, "Date"),
    (dt.time, "Time"),
)
_NAME_START = "a letter or one underscore"
_RESERVED = {name for _, name in _SCALARS} | {
    "BigInt",
    "JSON",
    "ID",
    "LocalDateTime",
    "Query",
    "Mutation",
    "Subscription",
}


@dataclass(frozen=True)
class ObjectField:
    """A field of an object type: ``attribute`` (or key) of the Python value is ``name`` in GraphQL."""

    name: str
    attribute: str
    type: str
    description: str | None = None


@dataclass(frozen=True)
class ObjectType:
    """An object type that a Python class declares."""

    name: str
    description: str | None
    fields: tuple[ObjectField, ...]


@dataclass(frozen=True)
class EnumType:
    """An enum type; values are the names of the Python members."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Returns:
    """What a resolver returns: the field's type in SDL (without ``!``) and the types it needs."""

    type: str
    objects: tuple[ObjectType, ...] = ()
    enums: tuple[EnumType, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The structure that ``SubscriptionExecutor.start`` reads."""
        return asdict(self)


def returns_of(annotation: object, *, naming: Naming = "camel", where: str = "resolver") -> Returns | None:
    """Read a return annotation; ``None`` for the table's row type.

    Args:
        annotation: Evaluated, not text; ``inspect.Signature.empty`` when there is none.
        naming: ``"camel"``, or ``"database"`` to leave names as they are.
        where: What an error message calls the resolver.

    Raises:
        ConfigurationError: ``ANNOTATION_UNSUPPORTED``.
    """
    inner, _ = _without_none(_bare(annotation))
    if _is_row(inner):
        return None
    types_read = _Types(naming)
    reference = types_read.reference(inner, where)
    return Returns(reference, tuple(types_read.objects()), tuple(types_read.enums()))


@dataclass
class _Types:
    """The named types met so far, by Python class: a recursive type refers to itself by name."""

    naming: Naming
    _names: dict[str, type] = field(default_factory=dict)
    _objects: dict[type, ObjectType | None] = field(default_factory=dict)
    _enums: dict[type, EnumType] = field(default_factory=dict)

    def objects(self) -> list[ObjectType]:
        return [found for found in self._objects.values() if found is not None]

    def enums(self) -> list[EnumType]:
        return list(self._enums.values())

    def reference(self, annotation: object, where: str) -> str:
        """The type in SDL, without the ``!`` that `required` adds."""
        annotation = _bare(annotation)
        item = _item(annotation)
        if item is not None:
            return f"[{self.required(item, f'{where}[]')}]"
        if annotation is BigInt:
            return "BigInt"
        if _is_row(annotation) or annotation is Any:
            return "JSON"
        if typing.get_origin(annotation) is Literal:
            return self._literal(annotation, where)
        if isinstance(annotation, type) and not typing.get_args(annotation):
            return self._class(annotation, where)
        raise _unsupported(annotation, where)

    def required(self, annotation: object, where: str) -> str:
        inner, nullable = _without_none(_bare(annotation))
        if inner is None:
            raise _unsupported(annotation, where)
        return self.reference(inner, where) + ("" if nullable else "!")

    def _literal(self, annotation: object, where: str) -> str:
        kinds = {type(value) for value in typing.get_args(annotation)}
        if len(kinds) != 1:
            raise _unsupported(annotation, where)
        return self._class(kinds.pop(), where)

    def _class(self, cls: type, where: str) -> str:
        if issubclass(cls, enum.Enum):
            return self._enum(cls, where)
        members = members_of(cls, where)
        if members is not None:
            return self._object(cls, members, where)
        for python, graphql in _SCALARS:
            if issubclass(cls, python):
                return graphql
        raise _unsupported(cls, where)

    def _enum(self, cls: type[enum.Enum], where: str) -> str:
        name = self._claim(cls, where)
        if cls not in self._enums:
            values = tuple(cls.__members__)
            for value in values:
                _check_name(value, f"{where}: enum {name}")
            if not values:
                raise _invalid(f"{where}: enum {name} has no members; GraphQL needs at least one")
            self._enums[cls] = EnumType(name, values)
        return name

    def _object(self, cls: type, members: Sequence[Member], where: str) -> str:
        name = self._claim(cls, where)
        if cls not in self._objects:
            self._objects[cls] = None
            fields = tuple(self._field(member, f"{where}: {name}.{member.attribute}") for member in members)
            _check_fields(fields, f"{where}: {name}")
            self._objects[cls] = ObjectType(name, type_description(cls), fields)
        return name

    def _field(self, member: Member, where: str) -> ObjectField:
        name = field_name(member.attribute, self.naming)
        _check_name(name, where)
        reference = self.required(member.annotation, where)
        if member.optional:
            reference = reference.removesuffix("!")
        return ObjectField(name, member.attribute, reference, member.description)

    def _claim(self, cls: type, where: str) -> str:
        name = cls.__name__
        _check_name(name, where)
        if name in _RESERVED:
            raise _invalid(f"{where}: the type name {name} is GraphQL's or rowcast's own; rename the class")
        owner = self._names.setdefault(name, cls)
        if owner is not cls:
            raise _invalid(
                f"{where}: two classes are called {name} ({owner.__module__} and {cls.__module__}); rename one"
            )
        return name


def _bare(annotation: object) -> object:
    """Without `Annotated`, ``type X = …`` aliases and NewTypes other than `BigInt`."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, NewType) and annotation is not BigInt:
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = getattr(annotation, "__value__", None)
        else:
            return annotation


def _without_none(annotation: object) -> tuple[object, bool]:
    """The annotation without ``| None``, and whether it had that; ``(None, True)`` for None alone."""
    if annotation is None or annotation is type(None):
        return None, True
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    arguments = typing.get_args(annotation)
    kept = [argument for argument in arguments if argument is not type(None)]
    if len(kept) == 1:
        return _bare(kept[0]), len(kept) < len(arguments)
    return annotation, False


def _is_row(annotation: object) -> bool:
    """Whether it says «a mapping» and no more than that."""
    if annotation in (None, inspect.Signature.empty):
        return True
    origin = typing.get_origin(annotation) or annotation
    return origin in (dict, Mapping, typing.Mapping, typing.Dict)  # noqa: UP006 (a user may write the old name)


def _item(annotation: object) -> object | None:
    """The element type of a list, sequence or ``tuple[T, ...]``; a bare ``list`` holds anything."""
    origin = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    if origin in (list, Sequence):
        return arguments[0] if arguments else Any
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:  # noqa: PLR2004
        item: object = arguments[0]
        return item
    return None


def _check_name(name: str, where: str) -> None:
    if not is_graphql_name(name):
        raise _invalid(f"{where}: {name!r} is not a GraphQL name; it must start with {_NAME_START} and be ASCII")


def _check_fields(fields: Sequence[ObjectField], where: str) -> None:
    if not fields:
        raise _invalid(f"{where} has no fields; GraphQL needs at least one")
    seen: dict[str, str] = {}
    for each in fields:
        other = seen.setdefault(each.name, each.attribute)
        if other != each.attribute:
            raise _invalid(f"{where}: {other} and {each.attribute} are both {each.name} in GraphQL; rename one")


def _unsupported(annotation: object, where: str) -> ConfigurationError:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return _invalid(
        f"{where}: {shown} has no GraphQL type. Return dataclass, TypedDict, NamedTuple, pydantic model, Enum, a list "
        "of these, a plain value (str, int, float, bool, Decimal, UUID, datetime, date, time, bytes), or dict for the "
        "table's own row"
    )


def _invalid(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="ANNOTATION_UNSUPPORTED")
