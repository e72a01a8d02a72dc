"""`Hub` and `Session`: a client's conversation, frame by frame, without a socket."""

import contextlib
import json
import select
import threading
import time
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from talk import resolver, topic, wait_for

from rowcast import Principal
from rowcast._engine import Hub

pytestmark = pytest.mark.timeout(60)

ALERTS = "subscription { alerts { payload } }"


def payloads(frames):
    return [frame["payload"]["data"]["alerts"]["payload"] for frame in frames if frame["type"] == "next"]


def test_a_conversation_from_init_to_complete(started, client):
    engine = started(topic("alerts"))
    peer = client(engine)
    assert json.loads(peer.send(type="connection_init", payload={"token": "t"})) == {"token": "t"}
    peer.session.accept(Principal(), '{"hello": 1}')
    assert peer.rung() == [peer.session.token]
    assert peer.frames() == [{"type": "connection_ack", "payload": {"hello": 1}}]
    peer.subscribe("1", ALERTS)
    engine.publish("alerts", "5")
    assert peer.rung() == [peer.session.token]
    (told,) = peer.frames()
    assert (told["id"], told["type"]) == ("1", "next")
    assert told["payload"]["data"] == {"alerts": {"payload": 5}}
    peer.send(type="complete", id="1")
    engine.publish("alerts", "6")
    assert peer.frames() == []
    assert peer.session.closing() is None


def test_an_init_without_payload_is_null(started, client):
    peer = client(started(topic("alerts")))
    assert peer.send(type="connection_init") == "null"


def test_the_acks_payload_must_be_a_json_object(started, client):
    peer = client(started(topic("alerts")))
    peer.send(type="connection_init")
    for payload in ("not json", "[]", "1", '{"a": 1} {}', ""):
        with pytest.raises(ValueError, match="payload"):
            peer.session.accept(Principal(), payload)
    assert peer.frames() == []
    peer.session.accept(Principal())
    assert peer.frames() == [{"type": "connection_ack"}]


def test_a_hub_is_readable_from_the_first_token_until_it_is_drained(started, client):
    engine = started(topic("alerts"))
    peer = client(engine)
    assert peer.rung(0) == []
    peer.send(type="ping")
    peer.send(type="ping")
    assert peer.rung() == [peer.session.token]
    assert peer.rung(0) == []
    peer.frames()
    peer.send(type="ping")
    assert peer.rung() == [peer.session.token]


def test_one_hub_names_each_session_that_has_work(started, client):
    engine = started(topic("alerts"))
    hub = Hub()
    peers = [client(engine, hub).enter() for _ in range(10)]
    hub.drain()
    for peer in peers:
        peer.subscribe("1", ALERTS)
    engine.publish("alerts", "1")
    assert sorted(hub.drain()) == sorted(peer.session.token for peer in peers)
    assert 0 not in {peer.session.token for peer in peers}


def test_no_token_is_lost_however_publishing_and_draining_meet(started, client):
    engine = started(topic("alerts"))
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    publishers = [
        threading.Thread(target=lambda: [engine.publish("alerts", "1") for _ in range(2000)]) for _ in range(2)
    ]
    for publisher in publishers:
        publisher.start()
    told = 0
    while told < 4000:
        assert peer.rung() or told, "the hub fell silent with frames in the queue"
        told += len(peer.frames())
    for publisher in publishers:
        publisher.join()
    assert told == 4000


def test_a_pong_overtakes_ten_thousand_events(started, client):
    engine = started(topic("alerts"), queue_bytes_max=1 << 30)
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    for number in range(10_000):
        engine.publish("alerts", str(number))
    peer.send(type="ping", payload={"n": 1})
    frames = peer.frames()
    assert frames[0] == {"type": "pong", "payload": {"n": 1}}
    assert payloads(frames[1:]) == list(range(10_000))


def test_take_gives_no_more_than_its_limit_and_forgets_nothing(started, client):
    engine = started(topic("alerts"))
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    for number in range(100):
        engine.publish("alerts", str(number))
    batches = [peer.session.take(30) for _ in range(5)]
    assert [len(batch) for batch in batches] == [30, 30, 30, 10, 0]
    assert payloads(json.loads(frame) for batch in batches for frame in batch) == list(range(100))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ('{"type":"nope"}', 4400),
        ('{"type":"subscribe","id":"1","payload":{"query":"subscription { alerts { payload } }"}}', 4401),
    ],
)
def test_what_the_protocol_does_not_have_closes_with_its_code(started, client, text, code):
    peer = client(started(topic("alerts")))
    assert peer.session.receive_text(text) is None
    assert peer.session.closing()[0] == code
    assert peer.rung() == [peer.session.token]


def test_a_binary_frame_closes_with_4400(started, client):
    peer = client(started(topic("alerts")))
    peer.session.receive_bytes()
    assert peer.session.closing()[0] == 4400


def test_a_refused_connection_closes_with_the_hooks_code(started, client):
    engine = started(topic("alerts"))
    for code, sent in ((4403, 4403), (4321, 4321), (1, 4500), (1006, 4500)):
        peer = client(engine)
        peer.send(type="connection_init")
        peer.session.refuse(code, "no")
        assert peer.session.closing()[0] == sent


def test_a_close_frames_reason_always_fits(started, client):
    peer = client(started(topic("alerts")))
    peer.send(type="connection_init")
    peer.session.refuse(4403, "ä" * 500)
    assert len(peer.session.closing()[1].encode()) <= 123


def test_a_client_without_init_is_closed_in_time(started, client):
    peer = client(started(topic("alerts"), init_wait_s=0.1))
    assert peer.closing()[0] == 4408
    assert peer.session.token in peer.rung()


def test_a_client_that_does_not_answer_a_ping_is_closed(started, client):
    peer = client(started(topic("alerts"), ping_interval_s=0.1, pong_timeout_s=0.2)).enter()
    assert peer.closing()[0] == 3008


def test_a_full_queue_is_freed_and_wakes_the_session_even_while_a_batch_is_out(started, client):
    engine = started(topic("alerts"), queue_bytes_max=4000)
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    for number in range(3):
        engine.publish("alerts", str(number))
    half = peer.session.take(2)
    assert len(half) == 2
    peer.hub.drain()
    for number in range(3, 60):
        engine.publish("alerts", str(number))
    assert peer.session.token in peer.rung(), "the sender, which waits for its socket, must be woken"
    code, reason, at_once = peer.session.closing()
    assert (code, at_once) == (1013, True)
    assert "…" not in reason
    assert peer.frames() == []
    assert engine.metrics()["slow_clients_total"] == 1
    wait_for(lambda: engine.metrics()["subscriptions"] == 0, "its operations to end")
    engine.publish("alerts", "61")
    assert peer.frames() == []


def test_frames_that_wait_too_long_end_the_session(started, client):
    engine = started(topic("alerts"), queue_age_max_s=0.1)
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    engine.publish("alerts", "1")
    assert peer.closing()[::2] == (1013, True)


def test_disconnect_ends_every_operation_and_is_idempotent(started, client):
    engine = started(topic("alerts"))
    peer = client(engine).enter()
    for operation in "abc":
        peer.subscribe(operation, ALERTS)
    assert engine.metrics()["subscriptions"] == 3
    for _ in range(3):
        peer.session.disconnect()
        metrics = engine.metrics()
        assert (metrics["sessions"], metrics["subscriptions"]) == (0, 0)
    peer.send(type="ping")
    peer.session.receive_bytes()
    peer.session.accept(Principal())
    engine.publish("alerts", "1")
    assert peer.frames() == []


def test_stop_closes_with_1001_behind_what_was_queued(started, client):
    engine = started(topic("alerts"))
    peer = client(engine).enter()
    peer.subscribe("1", ALERTS)
    engine.publish("alerts", "1")
    peer.hub.drain()
    engine.stop()
    assert peer.session.token in peer.rung()
    assert peer.session.closing() == (1001, "Going away", False)
    assert payloads(peer.frames()) == [1]


def test_an_operation_beyond_the_limit_is_refused_and_the_others_go_on(started, client):
    engine = started(topic("alerts"), operations_max=2)
    peer = client(engine).enter()
    for operation in "abc":
        peer.subscribe(operation, ALERTS)
    (refused,) = peer.frames()
    assert (refused["type"], refused["id"]) == ("error", "c")
    engine.publish("alerts", "1")
    assert len(peer.frames()) == 2


def test_a_message_that_is_too_long_closes_the_session(started, client):
    peer = client(started(topic("alerts"), message_bytes_max=1000)).enter()
    peer.send(type="ping", payload={"x": "x" * 2000})
    assert peer.session.closing() is not None


def test_ids_may_be_numbers_or_uuids_and_claims_hold_what_a_token_library_parsed(started, client):
    engine = started(topic("alerts", public=False))
    tenant = uuid4()
    claims = {"iat": datetime.now(timezone.utc), "jti": uuid4(), "roles": ["a", {"b": None}]}
    peer = client(engine).enter(Principal(user_id=7, tenant_id=tenant, claims=claims, settings={"app.n": 1}))
    peer.subscribe("1", ALERTS)
    engine.publish("alerts", "1", str(tenant))
    assert payloads(peer.frames()) == [1]
    number = client(engine).enter(Principal(tenant_id=42))
    number.subscribe("1", ALERTS)
    engine.publish("alerts", "2", "42")
    assert payloads(number.frames()) == [2]


def test_claims_that_json_does_not_have_are_refused_and_the_session_can_still_be_closed(started, client):
    peer = client(started(topic("alerts")))
    peer.send(type="connection_init")
    circular = {}
    circular["self"] = circular
    for claims in ({"x": float("nan")}, circular):
        with pytest.raises(ValueError, match=r".+"):
            peer.session.accept(Principal(claims=claims))
    peer.session.refuse(4500, "no")
    assert peer.session.closing()[0] == 4500


@pytest.mark.parametrize("kind", ["seconds", "datetime"])
def test_a_session_closes_with_4403_when_its_principal_expires(started, client, kind):
    engine = started(topic("alerts"))
    at = datetime.now(timezone.utc) + timedelta(seconds=0.4)
    peer = client(engine).enter(Principal(expires_at=at if kind == "datetime" else at.timestamp()))
    peer.subscribe("1", ALERTS)
    engine.publish("alerts", "1")
    assert payloads(peer.frames()) == [1]
    assert peer.session.closing() is None
    assert peer.closing()[0] == 4403
    assert datetime.now(timezone.utc) >= at


def test_a_principal_that_has_expired_is_not_let_in(started, client):
    peer = client(started(topic("alerts")))
    peer.send(type="connection_init")
    peer.session.accept(Principal(expires_at=time.time() - 10))
    assert peer.closing()[0] == 4403


def test_a_principal_that_expires_in_the_far_future_is_let_in(started, client):
    client(started(topic("alerts"))).enter(Principal(expires_at=99_999_999_999))


def test_sessions_of_many_threads_do_not_disturb_each_other(started, client):
    engine = started(topic("alerts"))
    engine.resolve_on(Hub())
    stop = threading.Event()
    failures = []

    def live():
        with contextlib.suppress(Exception):
            while not stop.is_set():
                peer = client(engine).enter()
                peer.subscribe("1", ALERTS)
                peer.frames()
                peer.session.disconnect()
            return
        failures.append(1)

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(500):
        engine.publish("alerts", str(number))
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)
    assert engine.metrics()["sessions"] == 0


def test_resolver_calls_ring_as_token_0(started, client):
    engine = started(topic("made", resolver=resolver()))
    hub = Hub()
    engine.resolve_on(hub)
    peer = client(engine).enter()
    peer.subscribe("1", "subscription { made }")
    engine.publish("made", "1")
    assert select.select([hub.fileno()], [], [], 5)[0]
    assert set(hub.drain()) == {0}
