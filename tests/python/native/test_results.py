"""A resolver's result becomes JSON by its declared type; any other value is an error with a path."""

import enum
import json
import types
from collections import ChainMap, OrderedDict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import BaseModel
from talk import calls, pull, resolver, returning, topic

from rowcast import Principal

pytestmark = pytest.mark.timeout(60)

UUID_1 = UUID("12345678-1234-5678-1234-567812345678")


@pytest.fixture
def respond(started):
    """``respond(result, returns, selection)``: the whole response that one subscriber gets for this result."""

    def respond(result, returns, selection=""):
        engine = started(topic("made", resolver=returns))
        engine.register("1", f"subscription {{ made {selection} }}", principal=Principal())
        engine.publish("made", "1")
        (call,) = calls(engine)
        call.finish(result)
        assert not call.pending
        return pull(engine, "1")

    return respond


@pytest.fixture
def leaf(respond):
    """``leaf("Int!", value)``: the value's JSON, or the code of the error in its place."""

    def leaf(kind, value, **enums):
        response = respond({"x": value}, returning("Made", {"Made": {"x": kind}}, **enums), "{ x }")
        if "errors" not in response:
            return response["data"]["made"]["x"]
        (error,) = response["errors"]
        assert error["path"] == ["made", "x"]
        return error["extensions"]["code"]

    return leaf


class Colour(enum.Enum):
    RED = "r"
    GREEN = "g"


class Level(enum.IntEnum):
    LOW = 1


class Odd(int):
    def __str__(self):
        return '"], "x": ['

    __repr__ = __str__


class OddFloat(float):
    def __str__(self):
        return "NaN"

    __repr__ = __str__


class OddText(str):
    __slots__ = ()

    def __str__(self):
        return '"'

    __repr__ = __str__


class OddDecimal(Decimal):
    def __str__(self):
        return "secret"

    def __format__(self, spec):
        return "secret"


WRONG = "RESOLVER_RESULT_INVALID"


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("Int", 7, 7),
        ("Int", -(2**31), -(2**31)),
        ("Int", Level.LOW, 1),
        ("Int", Odd(5), 5),
        ("Int", 2**31, WRONG),
        ("Int", 1.5, WRONG),
        ("Int", True, WRONG),
        ("Int", "seven", WRONG),
        ("Float", 1.5, 1.5),
        ("Float", 1e300, 1e300),
        ("Float", 5e-324, 5e-324),
        ("Float", -0.0, -0.0),
        ("Float", 7, 7.0),
        ("Float", OddFloat(2.5), 2.5),
        ("Float", Decimal("2.5"), 2.5),
        ("Float", float("nan"), WRONG),
        ("Float", float("inf"), WRONG),
        ("Float", 10**400, WRONG),
        ("Float", "1.5", WRONG),
        ("Boolean", True, True),
        ("Boolean", 1, WRONG),
        ("String", 'a"\\\u2028\x00é🚣', 'a"\\\u2028\x00é🚣'),
        ("String", OddText("text"), "text"),
        ("String", 7, "7"),
        ("String", b"x", WRONG),
        ("String", ["x"], WRONG),
        ("String", "\ud800", WRONG),
        ("ID", 7, "7"),
        ("ID", UUID_1, str(UUID_1)),
        ("BigInt", 2**63 - 1, "9223372036854775807"),
        ("BigInt", Odd(5), "5"),
        ("BigInt", 2**63, WRONG),
        ("BigInt", 1.0, WRONG),
        ("Decimal", Decimal("1.10"), "1.10"),
        ("Decimal", Decimal("12345678901234567890.0123456789"), "12345678901234567890.0123456789"),
        ("Decimal", Decimal("1E-8"), "0.00000001"),
        ("Decimal", Decimal("1E+3"), "1000"),
        ("Decimal", Decimal("-0"), "-0"),
        ("Decimal", Decimal("NaN"), "NaN"),
        ("Decimal", 7, "7"),
        ("Decimal", Odd(7), "7"),
        ("Decimal", OddDecimal("7.5"), "7.5"),
        ("Decimal", 10**30, "1" + "0" * 30),
        ("Decimal", 0.1, "0.1"),
        ("Decimal", "1.50", "1.50"),
        ("Decimal", "a lot", WRONG),
        ("Decimal", True, WRONG),
        ("UUID", UUID_1, str(UUID_1)),
        ("UUID", str(UUID_1), str(UUID_1)),
        ("UUID", "no uuid", WRONG),
        ("UUID", 7, WRONG),
        ("DateTime", datetime(2026, 11, 23, 16, 1, 2, 5, timezone.utc), "2026-11-23T16:01:02.000005+00:00"),
        (
            "DateTime",
            datetime(2026, 11, 23, 16, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-23T16:01:00+02:00",
        ),
        ("DateTime", "infinity", "infinity"),
        ("DateTime", date(2026, 11, 23), WRONG),
        ("DateTime", 7, WRONG),
        ("Date", date(2026, 11, 23), "2026-11-23"),
        ("Date", datetime(2026, 11, 23, tzinfo=timezone.utc), WRONG),
        ("Time", time(16, 1, 2), "16:01:02"),
        ("Time", timedelta(hours=1), WRONG),
        ("Bytes", b"\x00\xff", "\\x00ff"),
        ("Bytes", bytearray(b"\x01"), "\\x01"),
        ("Bytes", memoryview(b"\x01\x02"), "\\x0102"),
        ("Bytes", 7, WRONG),
        ("JSON", {"a": [1, 2.5, None, True, "x"], "b": {}}, {"a": [1, 2.5, None, True, "x"], "b": {}}),
        ("JSON", 10**30, 10**30),
        ("JSON", Odd(5), 5),
        ("JSON", OddFloat(2.5), 2.5),
        ("JSON", Level.LOW, 1),
        ("JSON", (1, 2), [1, 2]),
        ("JSON", types.MappingProxyType({"a": 1}), {"a": 1}),
        ("JSON", ChainMap({"a": 1}), {"a": 1}),
        ("JSON", OrderedDict(a=1), {"a": 1}),
        ("JSON", [UUID_1, date(2026, 1, 2), Decimal("1.50")], [str(UUID_1), "2026-01-02", "1.50"]),
        ("JSON", b"\x01", "\\x01"),
        ("JSON", float("nan"), WRONG),
        ("JSON", {1: "a"}, WRONG),
        ("JSON", object(), WRONG),
        ("JSON", {"a": {"b": object()}}, WRONG),
    ],
)
def test_a_value_has_its_types_json_form(leaf, kind, value, told):
    found = leaf(kind, value)
    assert found == told
    assert type(found) is type(told)


@pytest.mark.parametrize(
    ("value", "told"),
    [(Colour.RED, "RED"), ("GREEN", "GREEN"), ("r", WRONG), ("BLUE", WRONG), (7, WRONG)],
)
def test_an_enum_member_is_told_by_its_name(leaf, value, told):
    assert leaf("Colour", value, Colour=["RED", "GREEN"]) == told


def test_a_json_value_that_never_ends_is_an_error(leaf):
    endless = []
    endless.append(endless)
    assert leaf("JSON", endless) == WRONG


def test_half_a_megabyte_of_bytes_is_written_at_once(leaf):
    value = bytes((1 << 19) - 1000)
    assert leaf("Bytes", value) == "\\x" + value.hex()


ITEM = {"Item": {"id": "Int!", "note": "String"}}


class Plain:
    def __init__(self, **values):
        self.__dict__.update(values)


@dataclass
class Item:
    id: int
    note: str | None = None


class Model(BaseModel):
    id: int
    note: str | None = None


class Slots:
    __slots__ = ("id", "note")

    def __init__(self, id, note):  # noqa: A002
        self.id, self.note = id, note


class Lazy(Mapping):
    def __init__(self, **values):
        self._values = values

    def __getitem__(self, key):
        return self._values[key]

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)


@pytest.mark.parametrize(
    "value",
    [
        {"id": 1, "note": "a", "more": object()},
        Item(1, "a"),
        Model(id=1, note="a"),
        namedtuple("Named", "id note")(1, "a"),  # noqa: PYI024
        Plain(id=1, note="a"),
        Slots(1, "a"),
        Lazy(id=1, note="a"),
        types.MappingProxyType({"id": 1, "note": "a"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_may_be_any_mapping_or_anything_with_attributes(respond, value):
    response = respond(value, returning("Item", ITEM), "{ note again: note id __typename }")
    assert response["data"] == {"made": {"note": "a", "again": "a", "id": 1, "__typename": "Item"}}
    assert list(response["data"]["made"]) == ["note", "again", "id", "__typename"]
    assert "errors" not in response


def test_a_mappings_items_come_before_its_methods(respond):
    columns = {"Item": {"items": "Int!", "keys": "Int!", "get": "Int!"}}
    response = respond(Lazy(items=1, keys=2, get=3), returning("Item", columns), "{ items keys get }")
    assert response["data"] == {"made": {"items": 1, "keys": 2, "get": 3}}


def test_null_goes_up_to_the_nearest_place_that_may_be_null(respond):
    objects = {"Outer": {"inner": "Inner", "ok": "Int!"}, "Inner": {"must": "Int!", "may": "Int"}}
    response = respond(
        {"ok": 1, "inner": {"must": None, "may": 2}}, returning("Outer", objects), "{ ok inner { may must } }"
    )
    assert response["data"] == {"made": {"ok": 1, "inner": None}}
    (error,) = response["errors"]
    assert error["path"] == ["made", "inner", "must"]
    assert error["extensions"]["code"] == "NULL_IN_NON_NULL"


def test_a_root_that_has_no_value_is_null_with_an_error(respond):
    response = respond({"id": None}, returning("Item", ITEM), "{ id }")
    assert response["data"] == {"made": None}
    assert response["errors"][0]["path"] == ["made", "id"]
    assert response["extensions"]["rowcast"]["cursor"]


def test_an_error_in_a_list_names_its_place(respond):
    response = respond([{"id": 1}, {"id": "x"}, {"id": 3}], returning("[Item]", ITEM), "{ id }")
    assert response["data"] == {"made": [{"id": 1}, None, {"id": 3}]}
    assert [error["path"] for error in response["errors"]] == [["made", 1, "id"]]


def test_a_path_speaks_of_aliases(respond):
    response = respond({"note": 7.5}, returning("Item", ITEM), "{ text: note }")
    assert response["data"] == {"made": {"text": None}}
    assert response["errors"][0]["path"] == ["made", "text"]


def test_a_key_that_is_missing_is_an_error_and_never_a_quiet_null(respond):
    response = respond({"id": 1}, returning("Item", ITEM), "{ id note }")
    assert response["data"] == {"made": {"id": 1, "note": None}}
    assert response["errors"][0]["path"] == ["made", "note"]
    assert response["errors"][0]["extensions"]["code"] == WRONG


def test_a_property_that_raises_is_an_error_of_its_field_alone(respond):
    class Failing:
        id = 1

        @property
        def note(self):
            raise LookupError("secret")

    response = respond(Failing(), returning("Item", ITEM), "{ id note }")
    assert response["data"] == {"made": {"id": 1, "note": None}}
    assert response["errors"][0]["path"] == ["made", "note"]
    assert "LookupError" in response["errors"][0]["message"]
    assert "secret" not in json.dumps(response)


@pytest.mark.parametrize("value", ["text", 7, [1], (1, 2), b"x", {"id"}, object()])
def test_what_is_no_object_is_an_error_that_does_not_repeat_the_value(respond, value):
    response = respond(value, returning("Item", ITEM), "{ id }")
    assert response["data"] == {"made": None}
    assert response["errors"][0]["extensions"]["code"] == WRONG
    assert "text" not in response["errors"][0]["message"]


@pytest.mark.parametrize("value", ["text", {"a": 1}, 7, b"xy"])
def test_what_is_no_list_is_an_error(respond, value):
    response = respond(value, returning("[Int!]"))
    assert response["data"] == {"made": None}
    assert response["errors"][0]["path"] == ["made"]


@pytest.mark.parametrize("value", [[1, 2], (1, 2), range(1, 3), (n for n in (1, 2))])
def test_a_list_may_be_anything_that_is_iterated(respond, value):
    assert respond(value, returning("[Int!]"))["data"] == {"made": [1, 2]}


def test_a_list_that_raises_half_way_is_an_error(respond):
    def half():
        yield 1
        raise RuntimeError("secret")

    response = respond(half(), returning("[Int!]"))
    assert response["data"] == {"made": None}
    assert "secret" not in json.dumps(response)


def test_a_plain_value_is_the_fields_value(respond):
    assert respond(Decimal("1.50"), returning("Decimal"))["data"] == {"made": "1.50"}
    assert respond({"any": ["thing"]}, resolver())["data"] == {"made": {"any": ["thing"]}}


def test_finish_tells_what_was_wrong_with_the_result(started):
    engine = started(topic("made", resolver=returning("Item", ITEM)))
    engine.register("1", "subscription { made { id } }", principal=Principal())
    engine.publish("made", "1")
    engine.publish("made", "2")
    wrong, right = calls(engine)
    assert "32-bit integer" in wrong.finish({"id": "x"})
    assert right.finish({"id": 1}) is None
