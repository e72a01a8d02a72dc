//! Rules 35, 39-47 and 68-73: what starts, what is refused, what ends.

use super::super::{Close, Input, Limits};
use super::{INIT, Pair, next, released, subscribe};

const QUERY: &str = "subscription { orders { cursor } }";

#[test]
fn a_request_reaches_the_engine_whole() {
    let mut pair = Pair::ready();
    pair.says(
        r#"{"id":"1","type":"subscribe","payload":{"query":"q","operationName":"Op","variables":{"n":1},"extensions":{}}}"#,
    );
    let (_, request) = &pair.engine.running[0];
    assert_eq!((request.query.as_str(), request.operation_name.as_deref()), ("q", Some("Op")));
    assert_eq!(request.variables.as_ref().unwrap()["n"], 1);
    assert!(request.extensions.as_ref().unwrap().is_empty());
}

#[test]
fn rule_35_unknown_keys_are_ignored_at_every_level() {
    let mut pair = Pair::ready();
    pair.says(&format!(r#"{{"x":[1],"id":"1","type":"subscribe","payload":{{"y":{{}},"query":"{QUERY}","y":2}}}}"#));
    assert_eq!(pair.running_ids(), ["1"]);
}

#[test]
fn rule_39_a_subscribe_before_the_init_closes_4401() {
    let mut pair = Pair::new();
    pair.subscribe("1");
    assert_eq!((pair.code(), pair.reason(), pair.running_ids().len()), (Some(4401), "Unauthorized", 0));
}

#[test]
fn rule_40_an_active_id_closes_4409_with_the_client_s_id() {
    let mut pair = Pair::ready();
    pair.subscribe("mine");
    pair.subscribe("mine");
    assert_eq!((pair.code(), pair.reason()), (Some(4409), "Subscriber for mine already exists"));
    assert_eq!(pair.engine.released, ["mine"]);
}

#[test]
fn rule_41_an_id_that_still_waits_for_the_ack_is_active() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.subscribe("mine");
    pair.subscribe("mine");
    assert_eq!((pair.code(), pair.reason()), (Some(4409), "Subscriber for mine already exists"));
}

#[test]
fn rule_41_two_in_one_segment_are_a_duplicate_before_the_engine_has_seen_the_first() {
    let mut pair = Pair::ready();
    let (text, now) = (subscribe("mine"), pair.now);
    pair.session.handle(Input::Text(&text), now);
    pair.session.handle(Input::Text(&text), now);
    pair.settle();
    assert_eq!((pair.code(), pair.engine.released.as_slice()), (Some(4409), &["mine".to_owned()][..]));
}

#[test]
fn rule_42_a_query_s_id_is_active_until_it_has_been_answered() {
    let query = r#"{"id":"q","type":"subscribe","payload":{"query":"{ __typename }"}}"#;
    let mut pair = Pair::ready();
    pair.says(query);
    pair.says(query);
    assert_eq!(pair.code(), Some(4409));
}

#[test]
fn rule_43_an_id_is_free_after_the_server_s_complete() {
    let mut pair = Pair::ready();
    for _ in 0..3 {
        pair.subscribe("1");
        pair.end("1");
        assert_eq!(pair.hears(), [r#"{"id":"1","type":"complete"}"#]);
    }
    assert_eq!((pair.code(), pair.session.operations()), (None, 0));
}

#[test]
fn rule_44_an_id_is_free_after_the_client_s_complete() {
    let mut pair = Pair::ready();
    for _ in 0..3 {
        pair.subscribe("1");
        pair.complete("1");
    }
    assert_eq!((pair.code(), released(&mut pair).len()), (None, 3));
}

#[test]
fn rule_45_an_id_is_free_after_an_error() {
    let mut pair = Pair::ready();
    for _ in 0..3 {
        pair.subscribe("1");
        pair.fail("1");
    }
    assert_eq!((pair.code(), pair.hears().len()), (None, 3));
}

#[test]
fn rule_46_ids_are_opaque_and_come_back_as_they_were() {
    let mut pair = Pair::ready();
    let kilobyte = "k".repeat(1024);
    let ids = ["__proto__", "constructor", "1", " 1", "\u{0}", "\"\\", "ñ", "n\u{303}", "🦀", kilobyte.as_str()];
    for id in ids {
        pair.subscribe(id);
        let _ = pair.next(id, 7);
        assert_eq!(pair.hears(), [next(id, 7)]);
    }
    assert_eq!((pair.session.operations(), pair.code()), (ids.len(), None));
}

#[test]
fn rule_47_the_same_id_on_two_sockets_is_two_operations() {
    let (mut one, mut other) = (Pair::ready(), Pair::ready());
    one.subscribe("1");
    other.subscribe("1");
    one.complete("1");
    assert_eq!((one.running_ids().len(), other.running_ids().len(), other.code()), (0, 1, None));
}

#[test]
fn rule_52_operations_interleave_and_each_keeps_its_order() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.subscribe("b");
    for (id, n) in [("a", 1), ("b", 1), ("b", 2), ("a", 3)] {
        let _ = pair.next(id, n);
    }
    assert_eq!(pair.hears(), [next("a", 1), next("b", 1), next("b", 2), next("a", 3)]);
}

#[test]
fn rule_68_nothing_follows_the_client_s_complete_even_if_it_was_queued() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.subscribe("b");
    for n in 0..3 {
        let _ = (pair.next("a", n), pair.next("b", n));
    }
    pair.complete("a");
    assert_eq!(released(&mut pair), ["a"], "the source is let go without waiting for its next event");
    assert_eq!(pair.hears(), [next("b", 0), next("b", 1), next("b", 2)]);
}

#[test]
fn rule_69_no_complete_is_sent_back() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.complete("a");
    assert_eq!(pair.hears(), [""; 0]);
}

#[test]
fn rule_70_a_complete_for_an_unknown_or_finished_id_is_ignored() {
    let mut pair = Pair::new();
    pair.complete("x");
    pair.says(INIT);
    pair.complete("x");
    pair.accept();
    pair.complete("x");
    pair.subscribe("x");
    pair.complete("x");
    pair.complete("x");
    assert_eq!((pair.code(), released(&mut pair).len()), (None, 1));
}

#[test]
fn rule_71_completed_before_its_first_result_means_no_result() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    let _ = pair.next("a", 1);
    pair.complete("a");
    assert_eq!(pair.hears(), [""; 0]);
}

#[test]
fn rule_71_completed_while_waiting_for_the_ack_means_never_started() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.subscribe("a");
    pair.subscribe("b");
    pair.complete("a");
    pair.accept();
    assert_eq!(pair.running_ids(), ["b"]);
    pair.subscribe("a");
    assert_eq!(pair.running_ids(), ["b", "a"]);
}

#[test]
fn rule_72_both_sides_may_complete_at_once() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.end("a");
    pair.complete("a");
    assert_eq!((pair.code(), pair.hears().len()), (None, 0));
}

#[test]
fn rule_72_an_end_still_queued_does_not_end_the_next_operation_of_that_name() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    let _ = pair.next("a", 1);
    pair.end("a");
    pair.complete("a");
    pair.subscribe("a");
    let _ = pair.next("a", 2);
    assert_eq!(pair.hears(), [next("a", 2)]);
}

#[test]
fn rule_72_news_of_an_end_does_not_free_the_id_of_a_newer_operation() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    let old = pair.running("a");
    pair.complete("a");
    pair.subscribe("a");
    pair.input(Input::OperationEnded(&old));
    assert_eq!(pair.session.operations(), 1);
    pair.subscribe("a");
    assert_eq!(pair.code(), Some(4409));
}

#[test]
fn rule_73_one_operation_too_many_is_an_error_and_its_siblings_live() {
    let mut pair = Pair::ready_with(Limits { operations_max: 2, ..Limits::default() });
    for id in ["a", "b", "c"] {
        pair.subscribe(id);
    }
    let error: serde_json::Value = serde_json::from_str(&pair.hears()[0]).unwrap();
    assert_eq!((&error["type"], &error["id"]), (&"error".into(), &"c".into()));
    assert_eq!(error["payload"][0]["extensions"]["code"], "OPERATION_LIMIT");
    assert_eq!((pair.code(), pair.running_ids()), (None, vec!["a", "b"]));
    pair.complete("a");
    pair.subscribe("c");
    assert_eq!(pair.running_ids(), ["b", "c"]);
}

#[test]
fn rule_73_the_limit_holds_for_pipelined_operations_and_its_error_follows_the_ack() {
    let mut pair = Pair::with(Limits { operations_max: 1, ..Limits::default() });
    pair.says(INIT);
    pair.subscribe("a");
    pair.subscribe("b");
    pair.accept();
    let heard = pair.hears();
    assert_eq!((heard.len(), heard[0].as_str(), pair.running_ids()), (2, super::ACK, vec!["a"]));
    assert!(heard[1].contains("OPERATION_LIMIT"));
}

#[test]
fn rule_73_a_duplicate_is_a_duplicate_even_at_the_limit() {
    let mut pair = Pair::ready_with(Limits { operations_max: 1, ..Limits::default() });
    pair.subscribe("a");
    pair.subscribe("a");
    assert_eq!(pair.code(), Some(4409));
}

#[test]
fn everything_that_ran_is_released_in_order_before_the_close() {
    let mut pair = Pair::ready();
    for id in ["b", "c", "a"] {
        pair.subscribe(id);
    }
    pair.input(Input::GoingAway(Close::overloaded()));
    assert_eq!((released(&mut pair), pair.running_ids().len()), (vec!["a".into(), "b".into(), "c".into()], 0));
}
