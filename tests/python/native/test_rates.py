"""Rate limits: a refusal gives the wait, and other clients are not affected. The clock is tested in Rust."""

import json

import pytest
from talk import Client, topic

from rowcast import Principal, RateLimited, RequestRefused, SubscriptionExecutor
from rowcast._engine import Hub

ALERTS = "subscription { alerts { payload } }"
ONCE = {"per_s": 0.001, "burst": 1}
TWICE = {"per_s": 0.001, "burst": 2}


def talk_from(engine: SubscriptionExecutor, principal: Principal, address: str | None = None) -> Client:
    """An authenticated client that connected from this address."""
    client = Client(engine)
    client.session.disconnect()
    client.session = engine.connect(client.hub, address)
    return client.enter(principal)


def test_connections_of_one_address_are_limited_and_tell_the_wait(started):
    engine = started(topic("alerts"), limits={"connects": TWICE})
    sessions = [engine.connect(Hub(), "192.0.2.1") for _ in range(2)]
    with pytest.raises(RateLimited, match="try again in 1000 s") as refused:
        engine.connect(Hub(), "192.0.2.1")
    assert (refused.value.code, refused.value.retry_after_s) == ("RATE_LIMITED", 1000)
    sessions.append(engine.connect(Hub(), "192.0.2.2"))
    sessions += [engine.connect(Hub()) for _ in range(3)]
    assert engine.metrics()["rate_limited_connects_total"] == 1
    assert engine.metrics()["sessions"] == len(sessions)


def test_a_thousand_connections_of_one_address_at_once_are_let_in_by_default(started):
    engine = started(topic("alerts"))
    hub = Hub()
    sessions = [engine.connect(hub, "192.0.2.1") for _ in range(1000)]
    for session in sessions:
        session.receive_text('{"type":"connection_init"}')
        session.accept(Principal())
        session.receive_text(json.dumps({"type": "subscribe", "id": "1", "payload": {"query": ALERTS}}))
    assert engine.metrics()["subscriptions"] == 1000


def test_operations_of_one_principal_are_limited_and_the_socket_goes_on(started):
    engine = started(topic("alerts"), limits={"subscribes": ONCE})
    alice, again, bob = (talk_from(engine, Principal(user_id=name)) for name in ("alice", "alice", "bob"))
    for each in (alice, again, bob):
        each.subscribe("1", ALERTS)
    assert alice.frames() == bob.frames() == []
    (refused,) = again.frames()
    assert (refused["type"], refused["id"]) == ("error", "1")
    assert refused["payload"][0]["extensions"] == {"code": "RATE_LIMITED", "retryAfter": 1000}
    again.send(type="ping")
    assert again.frames() == [{"type": "pong"}]
    with pytest.raises(RequestRefused) as registered:
        engine.register("1", ALERTS, principal=Principal(user_id="bob"))
    assert registered.value.code == "RATE_LIMITED"
    assert registered.value.errors[0]["extensions"]["retryAfter"] == 1000
    assert engine.metrics()["rate_limited_subscribes_total"] == 2


def test_whoever_is_anonymous_counts_by_address(started):
    engine = started(topic("alerts"), limits={"subscribes": ONCE})
    here, same, there = (
        talk_from(engine, Principal(), f"2001:db8:0:{net}::{host}") for net, host in ("11", "12", "21")
    )
    for each in (here, same, there):
        each.subscribe("1", ALERTS)
    assert here.frames() == there.frames() == []
    assert [frame["type"] for frame in same.frames()] == ["error"], "one network of IPv6 is one address"


def test_messages_of_one_principal_are_limited_over_all_of_its_sockets(started):
    engine = started(topic("alerts"), limits={"messages": {"per_s": 0.5, "burst": 4}})
    alice, again = (talk_from(engine, Principal(user_id="alice"), "192.0.2.1") for _ in range(2))
    bob = talk_from(engine, Principal(user_id="bob"), "192.0.2.1")
    for each in (alice, again, alice, again):
        each.send(type="pong")
    assert alice.session.closing() is again.session.closing() is None
    again.send(type="pong")
    assert again.session.closing() == (4429, "RATE_LIMITED: try again in 2 s", True)
    again.send(type="pong")
    bob.send(type="pong")
    assert bob.session.closing() is None
    assert engine.metrics()["rate_limited_messages_total"] == 1


def test_requests_for_the_schema_count_without_a_socket_too(started):
    engine = started(topic("alerts"), limits={"subscribes": {"per_s": 0.001, "burst": 25}})
    ask = "{ __schema { queryType { name } } }"
    first, second = (
        json.loads(engine.execute(ask, None, None, principal=Principal(user_id="alice"))) for _ in range(2)
    )
    assert "data" in first
    assert second["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
    assert "data" in json.loads(engine.execute(ask, None, None, principal=Principal(user_id="bob")))


def test_a_rate_may_be_switched_off(started):
    engine = started(topic("alerts"), limits={"messages": None, "subscribes": None, "delegated": None})
    talk = talk_from(engine, Principal(user_id="alice"))
    for _ in range(10_000):
        talk.send(type="pong")
    assert talk.session.closing() is None
