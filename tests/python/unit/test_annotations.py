"""A return annotation becomes GraphQL types, or is refused while the resolver is declared."""

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Dict, List, Literal, NamedTuple, NewType, Optional, TypedDict, Union  # noqa: UP035
from uuid import UUID

import pydantic
import pytest
from typing_extensions import NotRequired, Required

from rowcast import BigInt, ConfigurationError
from rowcast.declare.annotations import returns_of


class Status(enum.Enum):
    OPEN = "open"
    DONE = "done"


class Level(str, enum.Enum):
    HIGH = "high"


@dataclass
class Item:
    """One line of an order."""

    unit_price: Decimal
    note: str | None = field(default=None, metadata={"description": "What the customer wrote."})


@dataclass
class OrderView:
    id: UUID
    status: Status
    items: list[Item]
    total: BigInt
    tags: list[str | None]
    placed_at: dt.datetime
    extra: dict[str, Any]


@dataclass
class Tree:
    name: str
    children: "list[Tree]"


class OrderDict(TypedDict):
    id: int
    placed_on: Required[dt.date]
    note: NotRequired[str]


class Partial(TypedDict, total=False):
    note: str
    id: Required[int]


class Point(NamedTuple):
    x: float
    y: float


class Base(pydantic.BaseModel):
    id: int


class Model(Base):
    """A model."""

    unit_price: Decimal = pydantic.Field(description="Net.", alias="price")
    level: Level | None = None
    status: Annotated[Status, "any"] = Status.OPEN
    points: tuple[Point, ...] = ()


Email = NewType("Email", str)


def shape(annotation, **options):
    returns = returns_of(annotation, **options)
    objects = {each.name: {f.name: f.type for f in each.fields} for each in returns.objects}
    return returns.type, objects


@pytest.mark.parametrize(
    "annotation",
    [None, dict, dict[str, Any], Dict, Dict[str, int], Mapping, Mapping[str, Any], dict | None],  # noqa: UP006
)
def test_a_mapping_means_the_tables_row(annotation):
    assert returns_of(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "graphql"),
    [
        (str, "String"),
        (int, "Int"),
        (BigInt, "BigInt"),
        (float, "Float"),
        (bool, "Boolean"),
        (Decimal, "Decimal"),
        (UUID, "UUID"),
        (bytes, "Bytes"),
        (dt.datetime, "DateTime"),
        (dt.date, "Date"),
        (dt.time, "Time"),
        (Email, "String"),
        (Annotated[int, "doc"], "Int"),
        (Literal["a", "b"], "String"),
        (Literal[1, 2], "Int"),
        (Any, "JSON"),
        (str | None, "String"),
        (Optional[str], "String"),  # noqa: UP045
        (Union[None, str], "String"),  # noqa: UP007
        (list[str], "[String!]"),
        (List[str], "[String!]"),  # noqa: UP006
        (list[str | None], "[String]"),
        (list[list[int]], "[[Int!]!]"),
        (Sequence[int], "[Int!]"),
        (tuple[int, ...], "[Int!]"),
        (list, "[JSON!]"),
        (list[dict], "[JSON!]"),
        (list[BigInt], "[BigInt!]"),
    ],
)
def test_plain_values_have_a_type(annotation, graphql):
    assert returns_of(annotation).type == graphql


def test_a_dataclass_is_an_object_with_camel_case_fields():
    type_, objects = shape(OrderView)
    assert type_ == "OrderView"
    assert objects == {
        "Item": {"unitPrice": "Decimal!", "note": "String"},
        "OrderView": {
            "id": "UUID!",
            "status": "Status!",
            "items": "[Item!]!",
            "total": "BigInt!",
            "tags": "[String]!",
            "placedAt": "DateTime!",
            "extra": "JSON!",
        },
    }


def test_the_python_attribute_is_told_beside_the_graphql_name():
    item = next(each for each in returns_of(OrderView).objects if each.name == "Item")
    assert [(f.name, f.attribute) for f in item.fields] == [("unitPrice", "unit_price"), ("note", "note")]


def test_database_naming_leaves_names_alone():
    assert shape(Item, naming="database")[1]["Item"] == {"unit_price": "Decimal!", "note": "String"}


def test_descriptions_come_from_docstrings_and_field_metadata():
    item = returns_of(Item).objects[0]
    assert item.description == "One line of an order."
    assert [f.description for f in item.fields] == [None, "What the customer wrote."]


@pytest.mark.parametrize("annotation", [OrderView, Point, OrderDict, Tree])
def test_generated_docstrings_are_no_descriptions(annotation):
    described = {each.name: each.description for each in returns_of(annotation).objects}
    assert described[annotation.__name__] is None


def test_an_enum_has_its_members_names():
    enums = returns_of(OrderView).enums
    assert [(each.name, each.values) for each in enums] == [("Status", ("OPEN", "DONE"))]


def test_a_text_enum_is_an_enum_not_a_text():
    assert returns_of(Level).type == "Level"


def test_a_type_may_contain_itself():
    assert shape(Tree) == ("Tree", {"Tree": {"name": "String!", "children": "[Tree!]!"}})


def test_typed_dict_keys_that_may_be_missing_are_nullable():
    assert shape(OrderDict)[1]["OrderDict"] == {"id": "Int!", "placedOn": "Date!", "note": "String"}
    assert shape(Partial)[1]["Partial"] == {"note": "String", "id": "Int!"}


def test_a_named_tuple_is_an_object():
    assert shape(list[Point]) == ("[Point!]", {"Point": {"x": "Float!", "y": "Float!"}})


def test_a_pydantic_model_is_an_object_by_attribute_names():
    type_, objects = shape(Model)
    assert type_ == "Model"
    assert objects["Model"] == {
        "id": "Int!",
        "unitPrice": "Decimal!",
        "level": "Level",
        "status": "Status!",
        "points": "[Point!]!",
    }
    model = next(each for each in returns_of(Model).objects if each.name == "Model")
    assert (model.description, model.fields[1].description) == ("A model.", "Net.")


def test_the_structure_is_what_the_engine_reads():
    assert returns_of(list[Item]).as_json() == {
        "type": "[Item!]",
        "objects": (
            {
                "name": "Item",
                "description": "One line of an order.",
                "fields": (
                    {"name": "unitPrice", "attribute": "unit_price", "type": "Decimal!", "description": None},
                    {
                        "name": "note",
                        "attribute": "note",
                        "type": "String",
                        "description": "What the customer wrote.",
                    },
                ),
            },
        ),
        "enums": (),
    }


class Plain: ...


@dataclass
class Holder:
    inner: Plain


@dataclass
class Empty: ...


@dataclass
class Clash:
    a_b: int
    aB: int  # noqa: N815


@dataclass
class Query:
    x: int


@dataclass
class Lost:
    x: "Nowhere"  # noqa: F821


class NoMembers(enum.Enum): ...


def _other_item():
    @dataclass
    class Item:
        x: int

    return Item


@dataclass
class TwoItems:
    one: Item
    two: _other_item()


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Plain, "Plain has no GraphQL type"),
        (Holder, r"Holder\.inner: Plain"),
        (int | str, "has no GraphQL type"),
        (Item | Tree, "has no GraphQL type"),
        (set[str], "has no GraphQL type"),
        (tuple[int, str], "has no GraphQL type"),
        (complex, "has no GraphQL type"),
        (object, "has no GraphQL type"),
        (dt.timedelta, "has no GraphQL type"),
        (Literal[1, "a"], "has no GraphQL type"),
        (list[None], "has no GraphQL type"),
        (Empty, "no fields"),
        (Clash, "a_b and aB are both aB"),
        (Query, "rename the class"),
        (Lost, "cannot be evaluated"),
        (NoMembers, "no members"),
        (TwoItems, "two classes are called Item"),
    ],
)
def test_what_has_no_type_is_refused_with_its_place(annotation, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        returns_of(annotation, where="app.orders")
    assert caught.value.code == "ANNOTATION_UNSUPPORTED"
    assert "app.orders" in str(caught.value)
