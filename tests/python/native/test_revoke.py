"""`revoke`, `disconnect` and tokens that expire: what happens to sockets and to registered subscriptions."""

import threading
import time
from datetime import datetime, timedelta, timezone

import pytest
from talk import pull, topic, wait_for

from rowcast import (
    ConfigurationError,
    EventBusConfig,
    NotStarted,
    Principal,
    RequestRefused,
    SubscriptionEnded,
    SubscriptionExecutor,
    SubscriptionManager,
)

ALERTS = "subscription { alerts { payload } }"


def people(engine, client):
    """One socket for each of three principals, subscribed."""
    principals = {
        "alice": Principal(user_id="alice", tenant_id="acme", role="shop"),
        "bob": Principal(user_id="bob", tenant_id="acme"),
        "eve": Principal(user_id="eve", tenant_id="globex", role="shop"),
    }
    talks = {}
    for name, principal in principals.items():
        talks[name] = client(engine).enter(principal)
        talks[name].subscribe("1", ALERTS)
        engine.register(name, ALERTS, principal=principal)
    return talks


def closed(talks):
    return {name: talk.session.closing()[0] for name, talk in talks.items() if talk.session.closing()}


@pytest.mark.parametrize(
    ("who", "met"),
    [
        ({"user_id": "alice"}, {"alice"}),
        ({"tenant_id": "acme"}, {"alice", "bob"}),
        ({"role": "shop"}, {"alice", "eve"}),
        ({"role": "shop", "tenant_id": "globex"}, {"eve"}),
        ({"user_id": "alice", "tenant_id": "globex"}, set()),
        ({"user_id": ""}, set()),
    ],
)
def test_revoke_meets_those_of_whom_all_that_is_given_is_true(started, client, who, met):
    engine = started(topic("alerts"))
    talks = people(engine, client)
    engine.publish("alerts", "1")
    assert engine.revoke(**who) == len(met)
    assert closed(talks) == dict.fromkeys(met, 4403)
    for name, talk in talks.items():
        if name in met:
            assert talk.frames() == [], "what waits is dropped"
            with pytest.raises(SubscriptionEnded) as ended:
                engine.next_event(name, 5.0)
            assert ended.value.code == "REVOKED"
        else:
            assert [frame["type"] for frame in talk.frames()] == ["next"]
            assert pull(engine, name)["data"]["alerts"]["payload"] == 1
    assert engine.metrics()["subscriptions"] == 2 * (3 - len(met))
    assert engine.revoke(**who) == 0


def test_disconnect_closes_behind_what_waits_and_leaves_registered_subscriptions(started, client):
    engine = started(topic("alerts"))
    talks = people(engine, client)
    engine.publish("alerts", "1")
    assert engine.disconnect(tenant_id="acme") == 2
    assert closed(talks) == {"alice": 1012, "bob": 1012}
    assert talks["alice"].session.closing() == (1012, "Service restart", False)
    assert [frame["type"] for frame in talks["alice"].frames()] == ["next"]
    assert engine.disconnect(user_id="eve", code=4321, reason="grüße " * 40) == 1
    code, reason, _ = talks["eve"].session.closing()
    assert code == 4321
    assert len(reason.encode()) <= 123
    assert pull(engine, "alice")["data"]["alerts"]["payload"] == 1


def test_nobody_means_everybody_by_saying_nothing(started, client):
    engine = started(topic("alerts"))
    talks = people(engine, client)
    for act in (engine.revoke, engine.disconnect):
        with pytest.raises(ConfigurationError, match="at least one") as refused:
            act()
        assert refused.value.code == "SELECTOR_MISSING"
    with pytest.raises(ConfigurationError, match="1006") as refused:
        engine.disconnect(user_id="alice", code=1006)
    assert refused.value.code == "CLOSE_CODE_INVALID"
    assert closed(talks) == {}


async def test_an_engine_that_does_not_run_says_so():
    engine = SubscriptionExecutor(EventBusConfig.memory())
    with pytest.raises(NotStarted):
        engine.revoke(user_id="alice")
    with pytest.raises(NotStarted):
        await SubscriptionManager(bus=EventBusConfig.memory()).disconnect(user_id="alice")


def test_revoke_wakes_a_reader_and_may_be_called_from_any_thread(started):
    engine = started(topic("alerts"))
    engine.register("1", ALERTS, principal=Principal(user_id="7"))
    ends = []

    def read() -> None:
        try:
            engine.next_event("1", None)
        except SubscriptionEnded as end:
            ends.append(end.code)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.05)
    assert engine.revoke(user_id="7") == 0, "it is not a socket"
    reader.join(5)
    assert ends == ["REVOKED"]


async def test_the_manager_takes_identities_as_a_principal_does():
    manager = SubscriptionManager(bus=EventBusConfig.memory())
    manager.subscription(topic="alerts", public=True)
    async with manager:
        manager.executor.register("1", ALERTS, principal=Principal(user_id=7))
        assert await manager.revoke(user_id=7) == 0
        assert await manager.disconnect(tenant_id=7, code=1013, reason="later") == 0
        with pytest.raises(SubscriptionEnded):
            manager.executor.next_event("1")


def test_a_registered_subscription_ends_when_its_token_does(started):
    engine = started(topic("alerts"))
    soon = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    engine.register("short", ALERTS, principal=Principal(expires_at=soon))
    engine.register("long", ALERTS, principal=Principal(expires_at=soon + timedelta(hours=1)))
    with pytest.raises(SubscriptionEnded) as ended:
        engine.next_event("short", 10.0)
    assert ended.value.code == "TOKEN_EXPIRED"
    assert datetime.now(timezone.utc) >= soon
    assert engine.next_event("long") is None
    wait_for(lambda: engine.metrics()["subscriptions"] == 1, "the ended one to be forgotten")


def test_a_token_that_has_ended_registers_nothing(started):
    engine = started(topic("alerts"))
    with pytest.raises(RequestRefused) as refused:
        engine.register("1", ALERTS, principal=Principal(expires_at=time.time() - 1))
    assert refused.value.code == "TOKEN_EXPIRED"
    assert engine.metrics()["subscriptions"] == 0


def test_a_client_whose_hook_answers_after_the_revoke_is_closed(started, client):
    engine = started(topic("alerts"))
    asked = client(engine)
    assert asked.session.receive_text('{"type":"connection_init"}') == "null"
    assert engine.revoke(user_id="alice") == 0
    asked.session.accept(Principal(user_id="alice"))
    assert asked.session.closing()[0] == 4403
