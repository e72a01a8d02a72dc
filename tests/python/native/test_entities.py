"""`_entities` on real PostgreSQL: which principal gets which rows, and which rows are hidden from all."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from talk import Client, wait_for

from rig.client import ACME, GLOBEX
from rig.postgres import Database
from rowcast import Connection, EventBusConfig, Forbidden, Principal, SubscriptionExecutor, SubscriptionManager
from rowcast.transport import http
from rowcast.transport.connection import Headers
from rowcast.transport.conversation import Rules

BY_KEY = (
    "query ($r: [_Any!]!) { _entities(representations: $r) { __typename ... on Orders { id total paid at tags } } }"
)
NOTES = "query ($r: [_Any!]!) { rows: _entities(representations: $r) { ... on Notes { no text } } }"

TABLES = """
create table orders (
    id bigint primary key, tenant_id uuid not null, total numeric, paid boolean, at timestamptz, tags text[], raw bytea
);
insert into orders values
    (1, '11111111-1111-1111-1111-111111111111', 12.50, true, '2026-11-23 12:00:00+02', '{a,"b c"}', '\\x01'),
    (2, '22222222-2222-2222-2222-222222222222', 1, false, null, null, null),
    (3, '11111111-1111-1111-1111-111111111111', null, null, null, '{}', null);
create table notes (no integer, part text, owner text, text text, secret text, primary key (part, no));
alter table notes enable row level security;
create policy own on notes using (owner = current_setting('app.user', true) and length(text) < 100);
insert into notes values
    (1, 'x', 'alice', 'hers', 's'), (2, 'x', 'bob', 'his', 's'), (3, 'x', 'alice', repeat('l', 100), 's');
"""


@dataclass(frozen=True)
class Served:
    """An engine of service `shop`: `orders` by tenant, `notes` by row policy."""

    engine: SubscriptionExecutor
    role: str

    def ask(self, principal: Principal | None, query: str, *representations: Any) -> dict[str, Any]:
        """The response to references."""
        variables = json.dumps({"r": representations})
        answer: dict[str, Any] = json.loads(self.engine.execute(query, variables, principal=principal))
        return answer

    def user(self, name: str) -> Principal:
        """A principal to which the policy of `notes` shows its own notes."""
        return Principal(user_id=name, role=self.role, settings={"app.user": name})


@pytest.fixture
def shop(database: Database) -> Iterator[Served]:
    """See `Served`."""
    role = f"reader_{uuid4().hex}"
    database.execute(f"create role {role}")
    database.execute(TABLES)
    database.execute(f"grant select (no, part, owner, text) on notes to {role}")
    database.execute(f"grant select on orders to {role}")
    engine = SubscriptionExecutor(EventBusConfig.postgresql(database.url), settings='{"service": "shop"}')
    fields = [{"table": "orders", "tenant": "tenant_id", "scopes": ["orders:read"]}, {"table": "notes"}]
    engine.start(json.dumps(fields))
    yield Served(engine, role)
    engine.stop(5.0)
    database.execute(f"drop owned by {role}")
    database.execute(f"drop role {role}")


def code(answer: dict[str, Any]) -> str:
    """The code of an answer without data."""
    assert "data" not in answer, answer
    found: str = answer["errors"][0]["extensions"]["code"]
    return found


def orders(*ids: Any) -> list[dict[str, Any]]:
    """References to orders."""
    return [{"__typename": "Orders", "id": each} for each in ids]


def notes(*numbers: int, part: str = "x") -> list[dict[str, Any]]:
    """References to notes."""
    return [{"__typename": "Notes", "part": part, "no": each} for each in numbers]


ACME_READER = Principal(tenant_id=ACME, scopes=["orders:read"])


def test_rows_come_in_the_order_of_their_references_and_what_is_not_ones_own_is_null(shop):
    answer = shop.ask(ACME_READER, BY_KEY, *orders("3", "2", 1, "99", "1"))
    first = {
        "__typename": "Orders",
        "id": "1",
        "total": "12.50",
        "paid": True,
        "at": "2026-11-23T10:00:00+00:00",
        "tags": ["a", "b c"],
    }
    third = {"__typename": "Orders", "id": "3", "total": None, "paid": None, "at": None, "tags": []}
    assert answer == {"data": {"_entities": [third, None, first, None, first]}}
    (other,) = shop.ask(Principal(tenant_id=GLOBEX, scopes=["orders:read"]), BY_KEY, *orders(2))["data"]["_entities"]
    assert (other["id"], other["paid"]) == ("2", False)
    assert shop.ask(ACME_READER, BY_KEY) == {"data": {"_entities": []}}


def test_policies_and_grants_are_postgresqls_own(shop):
    alice = shop.ask(shop.user("alice"), NOTES, *notes(1, 2, 3, 4), *notes(1, part="y"))
    assert alice == {"data": {"rows": [{"no": 1, "text": "hers"}, None, None, None, None]}}
    bob = shop.ask(shop.user("bob"), NOTES, *notes(1, 2))
    assert bob == {"data": {"rows": [None, {"no": 2, "text": "his"}]}}
    nobody = Principal(role=shop.role)
    assert shop.ask(nobody, NOTES, *notes(1, 2)) == {"data": {"rows": [None, None]}}
    secret = NOTES.replace("text }", "secret }")
    assert code(shop.ask(shop.user("alice"), secret, *notes(1))) == "COLUMN_FORBIDDEN"


def test_the_modules_are_asked_as_for_a_subscription(shop):
    asked = orders(1)
    assert code(shop.ask(None, BY_KEY, *asked)) == "PRINCIPAL_REQUIRED"
    assert code(shop.ask(Principal(tenant_id=ACME), BY_KEY, *asked)) == "SCOPE_REQUIRED"
    assert code(shop.ask(Principal(scopes=["orders:read"]), BY_KEY, *asked)) == "TENANT_REQUIRED"
    foreign = Principal(tenant_id=ACME, scopes=["orders:read"], services=["billing"])
    assert code(shop.ask(foreign, BY_KEY, *asked)) == "SERVICE_FORBIDDEN"
    late = Principal(tenant_id=ACME, scopes=["orders:read"], expires_at=1)
    assert code(shop.ask(late, BY_KEY, *asked)) == "TOKEN_EXPIRED"
    assert code(shop.ask(Principal(user_id="alice"), NOTES, *notes(1))) == "ROLE_REQUIRED"
    assert code(shop.ask(Principal(role="no such role"), NOTES, *notes(1))) == "ROLE_UNKNOWN"


@pytest.mark.parametrize("part", ["'", "x' or true --", "\\", '"', "\0", "x\u2028", "$1", "é"])
def test_a_key_is_a_value_whatever_it_holds(shop, part):
    answer = shop.ask(shop.user("alice"), NOTES, *notes(1, part=part), *notes(1))
    assert answer == {"data": {"rows": [None, {"no": 1, "text": "hers"}]}}


def test_the_socket_answers_too_and_nobody_waits_for_it(shop):
    talk = Client(shop.engine).enter(ACME_READER)
    talk.subscribe("1", BY_KEY.replace("total paid at tags", ""), variables={"r": orders(1, 2)})
    talk.send(type="ping")
    frames: list[dict[str, Any]] = []
    wait_for(lambda: frames.extend(talk.frames()) or len(frames) == 3, "the answer")
    told = [frame for frame in frames if frame["type"] != "pong"]
    assert told == [
        {"type": "next", "id": "1", "payload": {"data": {"_entities": [{"__typename": "Orders", "id": "1"}, None]}}},
        {"type": "complete", "id": "1"},
    ]
    talk.subscribe("1", BY_KEY, variables={"r": orders(1)})
    talk.send(type="complete", id="1")
    talk.subscribe("1", "subscription { notes { operation } }")
    wait_for(lambda: frames.extend(talk.frames()) or frames[-1]["type"] == "error", "the refusal")
    assert [frame["type"] for frame in frames[3:]] == ["error"], "what was completed is not answered"
    talk.session.disconnect()


def test_the_schema_is_a_subgraph(shop):
    sdl = shop.engine.schema()
    assert sdl.startswith("extend schema @link(")
    assert '@key(fields: "part no")' in sdl
    assert json.loads(shop.engine.execute("{ _service { sdl } }")) == {"data": {"_service": {"sdl": sdl}}}


def test_an_engine_without_a_database_has_no_entities(started: Callable[..., SubscriptionExecutor]) -> None:
    engine = started({"name": "alerts", "topic": "alerts", "public": True}, service="shop")
    answer = json.loads(engine.execute("{ _entities(representations: []) { __typename } }", principal=Principal()))
    assert code(answer) == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize("public_introspection", [False, True])
async def test_a_gateway_asks_over_http_and_the_hook_says_who_it_is(
    database: Database, *, public_introspection: bool
) -> None:
    database.execute(TABLES)
    manager = SubscriptionManager(database.url, service="shop", public_introspection=public_introspection)
    manager.subscription("orders", tenant="tenant_id")

    def authenticate(connection: Connection) -> Principal:
        if connection.headers.get("authorization") != "acme":
            raise Forbidden("no token")
        assert (dict(connection.payload), connection.client) == ({}, ("192.0.2.1", 7))
        return Principal(tenant_id=ACME)

    body = json.dumps({"query": BY_KEY, "variables": {"r": orders(2, 1)}}).encode()
    rules = Rules(authenticate, 5.0, debug=False)

    async def post(token: str, rules: Rules = rules) -> tuple[int, dict[str, Any]]:
        headers = Headers([("authorization", token), ("content-type", "application/json")])
        request = http.Request("POST", headers, client=("192.0.2.1", 7))
        answer = await http.answer(manager, request, body, rules)
        return answer.status, json.loads(answer.body)

    async with manager:
        status, answer = await post("acme")
        assert (status, [row and row["id"] for row in answer["data"]["_entities"]]) == (200, [None, "1"])
        status, answer = await post("globex")
        assert (status, code(answer)) == (403, "FORBIDDEN")
        assert code((await post("acme", Rules(None, 5.0, debug=False)))[1]) == "TENANT_REQUIRED"
        assert code((await post("acme", Rules(lambda _: 1 / 0, 5.0, debug=False)))[1]) == "INTERNAL_SERVER_ERROR"
