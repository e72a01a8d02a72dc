"""Resolver calls: one for all subscribers that get the same answer, in commit order in each lane, bounded."""

import gc
import json
import threading
import weakref

import pytest
from talk import calls, pull, resolver, returning, topic, wait_for

from rowcast import Principal, SubscriptionEnded

pytestmark = pytest.mark.timeout(60)

MADE = "subscription { made }"
CHOOSING = "subscription ($yes: Boolean!) { made { n text @include(if: $yes) } }"
OBJECT = {"Made": {"n": "Int!", "text": "String!"}}


def told(engine, subscription_id):
    found = []
    while (response := pull(engine, subscription_id, 0.0)) is not None:
        found.append(response["data"]["made"])
    return found


@pytest.fixture
def made(started):
    return started(topic("made", resolver=resolver()), topic("other", resolver=resolver(1)))


def test_one_call_serves_all_subscriptions_with_equal_variables(made, client):
    for number in range(50):
        made.register(str(number), MADE, principal=Principal(user_id=number))
    peer = client(made).enter()
    peer.subscribe("a", MADE)
    made.publish("made", "1")
    (call,) = calls(made)
    call.finish("answer")
    assert all(told(made, str(number)) == ["answer"] for number in range(50))
    assert peer.frames()[0]["payload"]["data"] == {"made": "answer"}
    assert made.metrics()["resolver_calls_total"] == 1


def test_other_variables_are_another_call_and_see_their_own(started):
    engine = started(topic("made", resolver=returning("Made", OBJECT)))
    engine.register("1", CHOOSING, '{"yes": true}', principal=Principal())
    engine.register("2", CHOOSING, '{"yes": true}', principal=Principal())
    engine.register("3", CHOOSING, '{"yes": false}', principal=Principal())
    engine.register("4", "subscription { made { n } }", principal=Principal())
    engine.publish("made", "1")
    found = calls(engine)
    assert sorted(json.dumps(call.variables) for call in found) == ['{"yes": false}', '{"yes": true}', "{}"]
    for call in found:
        call.finish({"n": len(call.variables), "text": str(call.variables.get("yes"))})
    assert [told(engine, str(number)) for number in (1, 2, 3, 4)] == [
        [{"n": 1, "text": "True"}],
        [{"n": 1, "text": "True"}],
        [{"n": 1}],
        [{"n": 0}],
    ]


def test_variables_are_those_of_the_call_however_they_are_changed(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    (call,) = calls(made)
    call.variables["x"] = 1
    assert call.variables == {}


def test_equal_calls_with_other_selections_get_bodies_of_their_own(started):
    engine = started(topic("made", resolver=returning("Made", OBJECT)))
    engine.register("n", "subscription { made { n } }", principal=Principal())
    engine.register("text", "subscription { made { text } }", principal=Principal())
    engine.register("both", "subscription { made { text n } }", principal=Principal())
    engine.publish("made", "1")
    (call,) = calls(engine)
    call.finish({"n": 1, "text": "a"})
    assert [told(engine, name) for name in ("n", "text", "both")] == [
        [{"n": 1}],
        [{"text": "a"}],
        [{"text": "a", "n": 1}],
    ]


def test_a_wrong_value_is_an_error_to_those_who_selected_it_alone(started):
    engine = started(topic("made", resolver=returning("Made", OBJECT)))
    engine.register("n", "subscription { made { n } }", principal=Principal())
    engine.register("text", "subscription { made { text } }", principal=Principal())
    engine.publish("made", "1")
    (call,) = calls(engine)
    call.finish({"n": "wrong", "text": "a"})
    assert pull(engine, "text")["data"] == {"made": {"text": "a"}}
    assert pull(engine, "n")["errors"][0]["path"] == ["made", "n"]


def test_results_come_in_commit_order_although_calls_finish_in_reverse(made):
    made.register("1", MADE, principal=Principal())
    for number in range(100):
        made.publish("made", str(number))
    for call in reversed(calls(made)):
        assert told(made, "1") == []
        call.finish(call.event.payload)
    assert told(made, "1") == list(range(100))


def test_results_come_in_commit_order_whichever_thread_finishes(made):
    made.register("1", MADE, principal=Principal())
    for number in range(2000):
        made.publish("made", str(number))
    waiting = calls(made, 5000)

    def work(offset):
        for call in waiting[offset::4]:
            call.finish(call.event.payload)

    workers = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert told(made, "1") == list(range(2000))


def test_a_call_that_waits_delays_its_own_lane_alone(made):
    made.register("made", MADE, principal=Principal())
    made.register("other", "subscription { other }", principal=Principal())
    made.publish("made", "1")
    made.publish("other", "2")
    slow, quick = calls(made)
    quick.finish("quick")
    assert pull(made, "other")["data"] == {"other": "quick"}
    assert told(made, "made") == []
    slow.finish("slow")
    assert told(made, "made") == ["slow"]


def test_none_skips_the_event_and_does_not_hold_up_the_next(made):
    made.register("1", MADE, principal=Principal())
    for number in range(3):
        made.publish("made", str(number))
    first, second, third = calls(made)
    third.finish("third")
    second.finish(None)
    first.finish("first")
    assert told(made, "1") == ["first", "third"]


def test_a_failure_takes_its_place_in_the_order_and_the_subscription_goes_on(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    made.publish("made", "2")
    first, second = calls(made)
    second.finish("second")
    first.fail("it broke", "BROKEN")
    failed = pull(made, "1")
    assert failed["errors"] == [{"message": "it broke", "path": ["made"], "extensions": {"code": "BROKEN"}}]
    assert failed["extensions"]["rowcast"]["cursor"] == first.event.cursor
    assert told(made, "1") == ["second"]


def test_only_the_first_answer_counts(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    (call,) = calls(made)
    call.finish("first")
    call.finish("second")
    call.fail("third", "X")
    assert told(made, "1") == ["first"]
    assert call.pending is False


def test_a_call_that_is_lost_ends_as_a_failure_and_the_lane_goes_on(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    made.publish("made", "2")
    lost, kept = calls(made)
    kept.finish("kept")
    del lost
    assert pull(made, "1")["errors"][0]["extensions"]["code"] == "RESOLVER_FAILED"
    assert told(made, "1") == ["kept"]


def test_a_lost_call_whose_readers_left_does_not_hold_up_those_who_came_later(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    lost = calls(made)
    made.register("2", MADE, principal=Principal())
    made.complete("1")
    assert lost[0].pending is False
    lost.clear()
    made.publish("made", "2")
    (call,) = calls(made)
    call.finish("second")
    assert told(made, "2") == ["second"]


def test_nobody_waits_for_a_call_whose_readers_left(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    (call,) = calls(made)
    assert call.pending is True
    made.complete("1")
    assert call.pending is False
    call.finish("late")


def test_whoever_subscribes_later_is_not_told_of_earlier_calls(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    made.register("2", MADE, principal=Principal())
    (call,) = calls(made)
    call.finish("answer")
    assert told(made, "1") == ["answer"]
    assert told(made, "2") == []


def test_a_backlog_at_its_bound_ends_its_readers_with_their_last_cursor_and_nobody_else(started, client):
    engine = started(
        topic("made", resolver=resolver()), topic("other", resolver=resolver(1)), resolver_backlog_bytes_max=4000
    )
    peer = client(engine).enter()
    peer.subscribe("slow", MADE)
    peer.subscribe("fine", "subscription { other }")
    engine.register("pulled", MADE, principal=Principal())
    engine.publish("made", "0")
    calls(engine)[0].finish("told")
    told = []
    wait_for(lambda: told.extend(peer.frames()) or told, "what came before")
    assert engine.next_event("pulled", 5.0)
    for number in range(100):
        engine.publish("made", json.dumps([number, "x" * 100]))
    engine.publish("other", "1")
    waiting = calls(engine)
    answer = next(call for call in waiting if call.resolver == 1)
    answer.finish("fine")
    frames = []
    wait_for(lambda: frames.extend(peer.frames()) or len(frames) >= 2, "an error and a result")
    ended = next(frame for frame in frames if frame["id"] == "slow")
    assert ended["type"] == "error"
    assert ended["payload"][0]["extensions"]["code"] == "RESOLVER_OVERLOADED"
    cursor = told[0]["payload"]["extensions"]["rowcast"]["cursor"]
    assert ended["payload"][0]["extensions"]["rowcast"]["cursor"] == cursor
    assert next(frame for frame in frames if frame["id"] == "fine")["payload"]["data"] == {"other": "fine"}
    assert peer.session.closing() is None
    with pytest.raises(SubscriptionEnded) as refused:
        engine.next_event("pulled", 5.0)
    assert refused.value.code == "RESOLVER_OVERLOADED"
    assert not any(call.pending for call in waiting)


def test_a_lane_that_was_overloaded_serves_again_once_it_is_worked_off(started):
    engine = started(topic("made", resolver=resolver()), resolver_backlog_bytes_max=4000)
    engine.register("1", MADE, principal=Principal())
    for number in range(100):
        engine.publish("made", json.dumps([number, "x" * 100]))
    calls(engine).clear()
    wait_for(lambda: engine.metrics()["subscriptions"] == 0, "the overloaded reader to end")
    engine.register("2", MADE, principal=Principal())
    engine.publish("made", "1")
    (call,) = calls(engine)
    call.finish("again")
    assert told(engine, "2") == ["again"]


def test_an_event_has_the_messages_values_each_made_once(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", '{"a": [1, {"b": null}]}')
    (call,) = calls(made)
    event = call.event
    assert (event.operation, event.transition, event.topic) == ("MESSAGE", "ENTER", "made")
    assert (event.table, event.row, event.key, event.changed) == (None, None, None, [])
    assert event.payload == {"a": [1, {"b": None}]}
    assert event.payload is event.payload
    assert event.committed_at.utcoffset().total_seconds() == 0
    assert event.cursor in repr(event)
    assert "null" not in repr(event)


def test_a_resolver_that_changes_its_event_changes_nobody_elses(started):
    engine = started(topic("made", resolver=returning("Made", OBJECT)))
    for yes in ("true", "false"):
        engine.register(yes, CHOOSING, f'{{"yes": {yes}}}', principal=Principal())
    engine.publish("made", '{"a": 1}')
    first, second = calls(engine)
    first.event.payload["a"] = 2
    assert second.event.payload == {"a": 1}


def test_an_event_that_was_put_into_itself_can_be_collected(made):
    class Marker:
        pass

    made.register("1", MADE, principal=Principal())
    made.publish("made", "{}")
    (call,) = calls(made)
    event, marker = call.event, Marker()
    gone = weakref.ref(marker)
    event.payload.update(event=event, marker=marker)
    del event, marker, call
    gc.collect()
    assert gone() is None


def test_events_and_calls_cannot_be_made_by_hand(made):
    made.register("1", MADE, principal=Principal())
    made.publish("made", "1")
    (call,) = calls(made)
    for kind in (type(call), type(call.event)):
        with pytest.raises(TypeError):
            kind()
