//! Rules 6-23 and 80: init, ack, pings.

use super::super::{Close, CloseCode, Input, Limits, Phase};
use super::{ACK, INIT, PING, PONG, Pair, next, seconds, subscribe};

const ALMOST: u64 = 9;

#[test]
fn rule_06_no_init_in_time_closes_4408() {
    let mut pair = Pair::new();
    pair.advance(seconds(ALMOST));
    assert_eq!(pair.code(), None);
    pair.advance(seconds(1));
    assert_eq!((pair.code(), pair.reason()), (Some(4408), "Connection initialisation timeout"));
}

#[test]
fn rule_07_a_hook_may_be_slower_than_the_init_timeout() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.advance(seconds(3600));
    assert_eq!(pair.code(), None);
    pair.accept();
    assert_eq!(pair.hears(), [ACK]);
}

#[test]
fn rule_08_pings_and_pongs_do_not_stop_the_init_timer() {
    let mut pair = Pair::new();
    for _ in 0..ALMOST {
        pair.advance(seconds(1));
        pair.says(PING);
        pair.says(PONG);
    }
    assert_eq!(pair.code(), None);
    pair.advance(seconds(1));
    assert_eq!(pair.code(), Some(4408));
}

#[test]
fn rule_09_an_accepted_init_is_acknowledged_once() {
    let mut pair = Pair::new();
    pair.says(INIT);
    assert_eq!(pair.hears(), [""; 0]);
    pair.accept();
    pair.accept();
    assert_eq!(pair.hears(), [ACK]);
    assert_eq!(pair.engine.asked.len(), 1);
}

#[test]
fn rule_10_an_absent_a_null_and_an_object_payload_reach_the_hook() {
    let payloads =
        [("", None), (r#","payload":null"#, None), (r#","payload":{"token":"t"}"#, Some(r#"{"token":"t"}"#))];
    for (payload, asked) in payloads {
        let mut pair = Pair::new();
        pair.says(&format!(r#"{{"type":"connection_init"{payload}}}"#));
        assert_eq!(pair.engine.asked, [asked.map(str::to_owned)]);
    }
}

#[test]
fn rule_11_an_ack_payload_is_optional() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.input(Input::Accepted { ack_payload: Some(r#"{"server":"rowcast"}"#), expires: None });
    assert_eq!(pair.hears(), [r#"{"type":"connection_ack","payload":{"server":"rowcast"}}"#]);
}

#[test]
fn rule_12_a_hook_that_refuses_closes_4403() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.input(Input::Refused(Close::forbidden()));
    assert_eq!((pair.code(), pair.reason()), (Some(4403), "Forbidden"));
}

#[test]
fn rule_12_a_hook_may_choose_its_own_code() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.input(Input::Refused(Close::new(CloseCode::of(4321).unwrap(), "come back tomorrow")));
    assert_eq!((pair.code(), pair.reason()), (Some(4321), "come back tomorrow"));
}

#[test]
fn rule_13_a_hook_that_raises_closes_4500_and_tells_nothing() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.input(Input::Refused(Close::internal_error()));
    assert_eq!((pair.code(), pair.reason()), (Some(4500), "Internal server error"));
}

#[test]
fn rule_14_a_second_init_closes_4429_while_the_first_is_pending() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.says(INIT);
    assert_eq!((pair.code(), pair.reason()), (Some(4429), "Too many initialisation requests"));
    pair.accept();
    assert_eq!(pair.hears(), [""; 0], "a verdict that comes late changes nothing");
}

#[test]
fn rule_15_a_second_init_closes_4429_after_the_ack() {
    let mut pair = Pair::ready();
    pair.says(INIT);
    assert_eq!(pair.code(), Some(4429));
}

#[test]
fn rule_16_subscribes_pipelined_behind_the_init_start_in_order_after_the_ack() {
    let mut pair = Pair::new();
    pair.says(INIT);
    for id in ["c", "a", "b"] {
        pair.subscribe(id);
    }
    assert_eq!(pair.running_ids(), [""; 0]);
    pair.accept();
    assert_eq!(pair.running_ids(), ["c", "a", "b"]);
    let _ = pair.next("a", 1);
    assert_eq!(pair.hears(), [ACK.to_owned(), next("a", 1)]);
}

#[test]
fn rule_16_pipelined_subscribes_never_start_when_the_init_is_refused() {
    let mut pair = Pair::new();
    pair.says(INIT);
    pair.subscribe("a");
    pair.input(Input::Refused(Close::forbidden()));
    assert_eq!((pair.code(), pair.running_ids().len(), pair.engine.released.len()), (Some(4403), 0, 0));
}

#[test]
fn rule_16_a_stranger_cannot_pipeline_without_end() {
    let mut pair = Pair::new();
    pair.says(INIT);
    let mut bytes = 0;
    for n in (0..2000).map(|n| n.to_string()) {
        if pair.code().is_none() {
            bytes += subscribe(&n).len();
            pair.subscribe(&n);
        }
    }
    assert_eq!((pair.code(), pair.reason()), (Some(4401), "Unauthorized"));
    assert!(bytes <= Limits::default().held_bytes_max + 200, "{bytes}");
}

#[test]
fn rule_17_a_ping_before_the_init_is_answered() {
    let mut pair = Pair::new();
    pair.says(PING);
    assert_eq!(pair.hears(), [PONG]);
}

#[test]
fn rule_18_a_ping_after_the_ack_is_answered() {
    let mut pair = Pair::ready();
    pair.says(PING);
    assert_eq!(pair.hears(), [PONG]);
}

#[test]
fn rule_19_a_ping_s_payload_is_echoed_and_an_absent_one_stays_absent() {
    let mut pair = Pair::ready();
    pair.says(r#"{"type":"ping","payload":{"at":[1e2,1e999,"\u00e9","\ud800",null],"at":{}}}"#);
    pair.says(r#"{"type":"ping","payload":null}"#);
    assert_eq!(pair.hears(), [r#"{"type":"pong","payload":{"at":[1e2,1e999,"\u00e9","\ud800",null],"at":{}}}"#, PONG]);
}

#[test]
fn rule_20_an_unsolicited_pong_is_ignored_in_every_state() {
    let mut pair = Pair::new();
    pair.says(PONG);
    pair.says(INIT);
    pair.says(PONG);
    pair.accept();
    pair.says(r#"{"type":"pong","payload":{}}"#);
    assert_eq!((pair.hears(), pair.code()), (vec![ACK.to_owned()], None));
}

#[test]
fn rule_22_a_silent_client_is_pinged_and_then_closed_3008() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.advance(seconds(12));
    assert_eq!(pair.hears(), [PING]);
    pair.advance(seconds(11));
    assert_eq!(pair.code(), None);
    pair.advance(seconds(1));
    assert_eq!((pair.code(), pair.reason()), (Some(3008), "No answer to ping"));
    assert_eq!(pair.engine.released, ["a"]);
}

#[test]
fn rule_22_an_hour_of_heartbeats_keeps_the_session() {
    let mut pair = Pair::ready();
    let mut pings = 0;
    for _ in 0..3600 {
        pair.advance(seconds(1));
        for heard in pair.hears() {
            assert_eq!(heard, PING);
            pings += 1;
            pair.says(PONG);
        }
    }
    assert_eq!((pair.code(), pings), (None, 300));
}

#[test]
fn rule_22_whatever_the_client_sends_is_an_answer_and_postpones_the_question() {
    let mut pair = Pair::ready();
    pair.advance(seconds(12));
    assert_eq!(pair.hears(), [PING]);
    pair.complete("nothing");
    pair.advance(seconds(11));
    pair.says(PONG);
    pair.advance(seconds(11));
    assert_eq!((pair.hears().len(), pair.code()), (0, None));
}

#[test]
fn rule_22_without_an_interval_nobody_is_asked() {
    let mut pair = Pair::ready_with(Limits { ping_interval: None, ..Limits::default() });
    assert_eq!(pair.session.poll_timeout(), None);
    pair.advance(seconds(1_000_000));
    assert_eq!(pair.code(), None);
}

#[test]
fn rule_23_a_pong_overtakes_ten_thousand_queued_events() {
    let mut pair = Pair::ready_with(Limits { queue_bytes_max: usize::MAX, ..Limits::default() });
    pair.subscribe("a");
    for n in 0..10_000 {
        let _ = pair.next("a", n);
    }
    pair.says(PING);
    let mut frames = Vec::new();
    pair.queue.take(2, usize::MAX, &mut frames);
    assert_eq!(frames.iter().map(super::text).collect::<Vec<_>>(), [PONG.to_owned(), next("a", 0)]);
}

#[test]
fn rule_80_only_pongs_precede_the_ack() {
    let mut pair = Pair::new();
    pair.says(PING);
    pair.says(INIT);
    pair.subscribe("a");
    pair.says(PING);
    pair.complete("a");
    pair.subscribe("b");
    pair.accept();
    let _ = pair.next("b", 1);
    assert_eq!(pair.hears(), [PONG.to_owned(), PONG.to_owned(), ACK.to_owned(), next("b", 1)]);
}

#[test]
fn credentials_do_not_appear_in_debug_output() {
    let mut session = super::Session::new(Limits::default(), std::time::Instant::now());
    session
        .handle(Input::Text(r#"{"type":"connection_init","payload":{"token":"secret"}}"#), std::time::Instant::now());
    assert_eq!(session.phase(), Phase::Authenticating);
    assert!(!format!("{session:?}").contains("secret"));
}

#[test]
fn a_timeout_without_end_and_one_of_nothing_are_taken_at_their_word() {
    let limits = Limits { init_wait: std::time::Duration::MAX, ..Limits::default() };
    assert_eq!(Pair::with(limits).session.poll_timeout(), None);
    let mut pair = Pair::with(Limits { init_wait: seconds(0), ..Limits::default() });
    pair.advance(seconds(0));
    assert_eq!(pair.code(), Some(4408));
}
