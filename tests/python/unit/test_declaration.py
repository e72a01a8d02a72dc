"""Invalid declarations fail where they are written, with the fix in the message."""

from __future__ import annotations

import functools
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from rowcast import ConfigurationError, subscription
from rowcast.declare.declaration import Declaration, declarations_in
from rowcast.declare.fields import Fields
from rowcast.settings import Settings

if TYPE_CHECKING:
    from rowcast import Event


@dataclass
class View:
    order_id: int


async def order_changes(event: Event, variables: dict[str, Any]) -> View | None:
    return None


def fields_of(*declarations, **settings):
    found = [each for source in declarations for each in declarations_in(source)]
    return Fields.of(found, Settings(**settings))


def test_a_marked_function_stays_the_function_it_was():
    assert subscription("orders")(order_changes) is order_changes


def test_parameters_may_name_types_for_the_type_checker_alone():
    declared = declarations_in(subscription("orders")(order_changes))[0]
    assert declared.resolver.returns("camel").type == "View"


def test_a_function_can_be_declared_for_several_tables():
    @subscription("a", name="first")
    @subscription("b", name="second")
    async def both(event, variables) -> dict: ...

    assert [each.field() for each in declarations_in(both)] == ["second", "first"]


def test_a_mark_without_a_function_is_a_field_of_events():
    assert declarations_in([subscription("sales.order_items", tenant="tenant_id")])[0].field() == "orderItems"


def test_fields_are_named_by_name_then_function_then_table():
    @subscription("orders", name="explicit")
    async def first(event, variables): ...

    @subscription("orders")
    async def second_one(event, variables): ...

    names = [declarations_in(each)[0].field() for each in (first, second_one, subscription(topic="big_alerts"))]
    assert names == ["explicit", "secondOne", "bigAlerts"]


@pytest.mark.parametrize(("naming", "name"), [("camel", "taskCards"), ("database", "task_cards")])
def test_one_rule_makes_names_whoever_gave_them(naming, name):
    @subscription("orders")
    async def task_cards(event, variables): ...

    given = (
        task_cards,
        subscription("orders", name="task_cards"),
        subscription("task_cards"),
        subscription(topic="task_cards"),
    )
    assert {declarations_in(each)[0].field(naming) for each in given} == {name}


def test_a_module_gives_what_it_contains_each_once():
    @subscription("orders")
    async def orders(event, variables): ...

    module = types.ModuleType("app")
    vars(module).update(orders=orders, same=orders, users=subscription("users"), other=print, number=7)
    assert [each.field() for each in declarations_in(module)] == ["orders", "users"]


@pytest.mark.parametrize("nothing", [print, types.ModuleType("empty"), "orders", 7, []])
def test_what_declares_nothing_is_refused(nothing):
    with pytest.raises(ConfigurationError, match="declares no subscription"):
        declarations_in(nothing)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "either a table or a topic"),
        ({"table": "a", "topic": "b"}, "either a table or a topic"),
        ({"table": print}, r'@subscription\("orders"\)'),
        ({"table": ""}, "table must be non-empty"),
        ({"table": 7}, "table must be non-empty"),
        ({"topic": "t", "tenant": "c"}, "publish"),
        ({"table": "a", "tenant": "c", "public": True}, "choose one"),
        ({"topic": "a", "transactions": True}, "need a table"),
        ({"table": "a", "transactions": True, "slow_client": "coalesce"}, "choose one"),
        ({"table": "a", "name": "no good"}, "not a GraphQL name"),
        ({"table": "a", "name": "__x"}, "not a GraphQL name"),
        ({"table": "a", "timeout": 0}, "positive"),
        ({"table": "a", "timeout": float("inf")}, "positive"),
        ({"table": "a", "replica_identity": "index"}, "replica_identity"),
        ({"table": "a", "scopes": "orders:read"}, "scopes must be a list"),
        ({"table": "a", "scopes": [""]}, "scopes must be a list"),
        ({"table": "a", "operations": "INSERT"}, "operations must be a list"),
        ({"table": "a", "operations": []}, "operations must be a list"),
        ({"table": "a", "operations": ["INSERT", "MERGE"]}, "not 'MERGE'"),
        ({"topic": "a", "operations": ["INSERT"]}, "need a table"),
        ({"table": "a", "service": ""}, "service must be non-empty"),
    ],
)
def test_a_wrong_declaration_is_refused_with_the_fix(arguments, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        subscription(**arguments)
    assert caught.value.code == "DECLARATION_INVALID"


async def generator(event, variables):
    yield 1


def sync_generator(event, variables):
    yield 1


async def one(event): ...
async def three(event, variables, context): ...
async def keywords(*, event, variables): ...
async def varied(*arguments): ...


class Methods:
    async def method(self, event, variables) -> dict: ...

    async def __call__(self, event, variables) -> dict: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, "is a generator"),
        (sync_generator, "is a generator"),
        (one, "exactly two arguments"),
        (three, "does not receive the principal"),
        (keywords, "exactly two arguments"),
        (varied, "exactly two arguments"),
        (Methods.method, "declared on an instance"),
        (Methods, "is not a function"),
        (7, "is not a function"),
    ],
)
def test_a_wrong_resolver_is_refused_with_the_fix(function, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        subscription("orders")(function)
    assert caught.value.code == "RESOLVER_INVALID"


def test_an_annotation_that_cannot_be_evaluated_is_refused():
    async def lost(event, variables) -> Nowhere: ...  # noqa: F821

    with pytest.raises(ConfigurationError, match="define the type at module level"):
        subscription("orders")(lost)


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (order_changes, True),
        (Methods().method, True),
        (Methods(), True),
        (functools.partial(three, context=1), None),
        (lambda event, variables: None, False),
    ],
)
def test_every_kind_of_function_with_two_arguments_may_resolve(function, is_async):
    if is_async is None:
        function = functools.partial(lambda context, event, variables: None, 1)
    completed: list[Declaration] = []
    mark = subscription("orders", name="orders")
    mark._taken = completed.append
    mark(function)
    assert completed[0].resolver.is_async is bool(is_async)


def test_the_engine_is_told_every_field():
    @subscription(
        "orders",
        tenant="tenant_id",
        leave=True,
        timeout=2,
        scopes=["orders:read"],
        operations=["INSERT", "UPDATE"],
        service="orders",
        slow_client="coalesce",
    )
    async def order_views(event, variables) -> View: ...

    told = fields_of(subscription(topic="alerts"), order_views)
    assert told.structures == (
        {
            "name": "alerts",
            "table": None,
            "topic": "alerts",
            "tenant": None,
            "public": False,
            "replica_identity": "full",
            "scopes": (),
            "operations": None,
            "service": None,
            "resolver": None,
            "slow_client": None,
            "transactions": False,
        },
        {
            "name": "orderViews",
            "table": "orders",
            "topic": None,
            "tenant": "tenant_id",
            "public": False,
            "replica_identity": "full",
            "scopes": ("orders:read",),
            "operations": ("INSERT", "UPDATE"),
            "service": "orders",
            "resolver": {
                "index": 0,
                "returns": {
                    "type": "View",
                    "objects": (
                        {
                            "name": "View",
                            "description": None,
                            "fields": (
                                {"name": "orderId", "attribute": "order_id", "type": "Int!", "description": None},
                            ),
                        },
                    ),
                    "enums": (),
                },
                "leave": True,
            },
            "slow_client": "coalesce",
            "transactions": False,
        },
    )
    assert told.as_json().startswith('[{"name": "alerts"')


def test_a_resolver_has_its_own_time_limit_or_the_managers():
    @subscription("a", timeout=2)
    async def a(event, variables): ...

    @subscription("b")
    async def b(event, variables): ...

    assert [task.timeout_s for task in fields_of(a, b, resolver_timeout_s=9.0).tasks] == [2, 9.0]


def test_database_naming_leaves_names_alone():
    assert fields_of(subscription("order_items"), naming="database").structures[0]["name"] == "order_items"


def test_two_fields_of_one_name_are_refused():
    with pytest.raises(ConfigurationError, match=r"table a\.orders and on table b\.orders"):
        fields_of(subscription("a.orders"), subscription("b.orders"))


def returning(view):
    async def resolver(event, variables): ...

    resolver.__annotations__ = {"return": view}
    return resolver


def test_resolvers_may_share_a_type():
    first, second = (subscription("orders", name=name)(returning(View)) for name in ("first", "second"))
    assert [each["resolver"]["index"] for each in fields_of(first, second).structures] == [0, 1]


def test_two_types_of_one_name_are_refused():
    other = dataclass(type("View", (), {"__annotations__": {"y": int}}))
    first = subscription("a", name="first")(returning(View))
    with pytest.raises(ConfigurationError, match="two different types are called View"):
        fields_of(first, subscription("b", name="second")(returning(other)))
