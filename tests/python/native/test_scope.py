"""Scope and federation before the gate: what a token, a variable or a service name refuses, over WebSocket and HTTP."""

import json
from collections.abc import Callable, Iterator
from typing import ClassVar

import psycopg
import pytest
from talk import pull, topic

from rig.client import ACME, GLOBEX
from rig.postgres import Database
from rig.shop import Shop
from rowcast import (
    ConfigurationError,
    EventBusConfig,
    MigrationError,
    Principal,
    PrincipalError,
    RequestRefused,
    SubscriptionExecutor,
)

ALERTS = "subscription { alerts { payload } }"
ORDERS = "subscription { orders { operation row { id } } }"
NAMED = "subscription ($tenantId: UUID) { orders(where: {tenantId: {eq: $tenantId}}) { operation row { id } } }"


def refusal(engine: SubscriptionExecutor, principal: Principal, query: str = ALERTS, variables: object = None) -> str:
    """The code that refuses a subscription."""
    with pytest.raises(RequestRefused) as refused:
        engine.register("refused", query, None if variables is None else json.dumps(variables), principal=principal)
    return refused.value.code


def test_a_field_wants_all_of_its_scopes_and_names_those_that_are_missing(started, client):
    engine = started(topic("alerts") | {"scopes": ["alerts:read", "live"]})
    assert refusal(engine, Principal(scopes=["live"])) == "SCOPE_REQUIRED"
    engine.register("1", ALERTS, principal=Principal(scopes=["live", "alerts:read"]))
    talk = client(engine).enter(Principal(scopes=["live"]))
    talk.subscribe("1", ALERTS)
    (error,) = talk.frames()[0]["payload"]
    assert error["extensions"]["code"] == "SCOPE_REQUIRED"
    assert "alerts:read" in error["message"]
    assert engine.metrics()["scope_refusals_total"] == 2


@pytest.fixture
def shop(database: Database) -> Iterator[Callable[..., tuple[Shop, SubscriptionExecutor]]]:
    """``shop(declared, setting=value)``: a shop on real PostgreSQL and an engine that serves `orders` as declared."""
    engines: list[SubscriptionExecutor] = []

    def open_shop(declared: dict[str, object] | None = None, **settings: object) -> tuple[Shop, SubscriptionExecutor]:
        opened = Shop(database).open()
        engines.append(SubscriptionExecutor(EventBusConfig.postgresql(database.url), settings=json.dumps(settings)))
        engines[-1].start(json.dumps([{"table": "orders", "tenant": "tenant_id"} | (declared or {})]))
        return opened, engines[-1]

    yield open_shop
    for engine in engines:
        engine.stop(5.0)


def test_a_variable_that_names_a_tenant_must_name_the_principals(shop):
    _, engine = shop()
    acme = Principal(tenant_id=ACME)
    engine.register("own", NAMED, json.dumps({"tenantId": ACME}), principal=acme)
    engine.register("none", NAMED, principal=acme)
    engine.register("undeclared", ORDERS, json.dumps({"tenantId": GLOBEX}), principal=acme)
    for principal, value in ((acme, GLOBEX), (acme, None), (Principal(), ACME)):
        assert refusal(engine, principal, NAMED, {"tenantId": value}) == "SCOPE_VARIABLE_FORBIDDEN"


def test_the_protected_names_are_the_developers_choice(shop):
    _, engine = shop(protected_variables={"owner": "user_id"})
    acme = Principal(tenant_id=ACME, user_id=7)
    engine.register("1", NAMED, json.dumps({"tenantId": GLOBEX}), principal=acme)
    owned = "subscription ($owner: BigInt) { orders(where: {id: {eq: $owner}}) { operation } }"
    engine.register("2", owned, json.dumps({"owner": 7}), principal=acme)
    assert refusal(engine, acme, owned, {"owner": 8}) == "SCOPE_VARIABLE_FORBIDDEN"


def test_a_field_gives_the_operations_that_it_was_declared_with(shop):
    opened, engine = shop({"operations": ["INSERT", "DELETE"]})
    acme = Principal(tenant_id=ACME)
    engine.register("all", ORDERS, principal=acme)
    engine.register("some", ORDERS.replace("orders {", "orders(operations: [DELETE]) {"), principal=acme)
    asked = ORDERS.replace("orders {", "orders(operations: [INSERT, UPDATE]) {")
    assert refusal(engine, acme, asked) == "OPERATION_FORBIDDEN"
    order = opened.insert()
    opened.update(order, status="paid")
    opened.delete(order)
    told = [pull(engine, "all")["data"]["orders"]["operation"] for _ in range(2)]
    assert told == ["INSERT", "DELETE"]
    assert pull(engine, "some")["data"]["orders"]["operation"] == "DELETE"


def test_a_field_of_another_service_and_a_principal_of_others_are_refused(started):
    engine = started(topic("alerts"), topic("bills") | {"service": "billing"}, service="orders")
    engine.register("1", ALERTS, principal=Principal(services=["orders", "billing"]))
    bills = "subscription { bills { payload } }"
    assert refusal(engine, Principal(services=["billing"]), bills) == "SERVICE_FOREIGN"
    assert refusal(engine, Principal(services=["billing"])) == "SERVICE_FORBIDDEN"
    assert engine.metrics()["federation_refusals_total"] == 2


def test_a_declaration_with_a_key_that_nobody_knows_is_refused_by_that_key():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    with pytest.raises(ConfigurationError, match="tenat") as refused:
        engine.start(json.dumps([topic("alerts") | {"tenat": "tenant_id"}]))
    assert refused.value.code == "FIELDS_INVALID"


def test_what_the_database_refuses_is_not_called_a_migration(database: Database) -> None:
    engine = SubscriptionExecutor(EventBusConfig.postgresql(database.url))
    with pytest.raises(MigrationError) as missing:
        engine.watch("orders")
    assert missing.value.code == "NOT_MIGRATED"
    engine.migrate()
    with pytest.raises(ConfigurationError) as unknown:
        engine.watch("orders")
    assert unknown.value.code == "UNKNOWN_TABLE"
    database.execute("create view orders as select 1 as id")
    with pytest.raises(ConfigurationError) as unwatchable:
        engine.watch("orders")
    assert unwatchable.value.code == "NOT_WATCHABLE"
    engine.stop(0.0)


def test_every_name_that_a_principals_setting_may_have_is_one_that_postgresql_takes(database: Database) -> None:
    for name in ("app.tenant_id", "request.jwt.claims", "_a._b", "a.b$1", "größe.ü"):
        assert list(Principal(settings={name: "x"}).settings) == [name]
        assert database.execute("select set_config(%s, 'x', false)", name) == [("x",)]
    for name in ("a.", "a..b", "1a.b", "a.1", "a.b c", "a.b;"):
        with pytest.raises(PrincipalError):
            Principal(settings={name: "x"})
        with pytest.raises(psycopg.Error):
            database.execute("select set_config(%s, 'x', false)", name)


def test_an_object_that_only_looks_like_a_principal_cannot_set_a_role(started, client):
    class Forged:
        user_id = tenant_id = role = expires_at_us = None
        settings: ClassVar[dict[str, str]] = {"role": "postgres"}
        claims: ClassVar[dict[str, str]] = {}
        scopes = services = ()

    engine = started(topic("alerts"))
    with pytest.raises(ValueError, match="not a custom setting"):
        engine.register("1", ALERTS, principal=Forged())
