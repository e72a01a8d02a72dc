//! Event streams: what goes over the wire, and what the machine does differently.

use std::time::{Duration, Instant};

use super::super::{Action, Admission, Close, Dialect, Input, Limits, Phase, ServerMessage, Session};
use crate::model::OperationId;
use crate::payload::{Body, Frame};

fn written(dialect: Dialect, frame: &Frame, cursor: Option<&str>) -> String {
    let mut out = Vec::new();
    dialect.write(frame, cursor, &mut out);
    String::from_utf8(out).unwrap()
}

fn open(dialect: Dialect, now: Instant) -> Session {
    let mut session = Session::of_stream(Limits::default(), dialect);
    session.handle(Input::Accepted { ack_payload: None, expires: None }, now);
    session
}

fn begun(session: &mut Session, id: &str) -> OperationId {
    match session.admit(id) {
        Some(Admission::Admitted(id)) => id,
        refused => panic!("{refused:?}"),
    }
}

fn actions(session: &mut Session) -> Vec<Action> {
    std::iter::from_fn(|| session.poll_action()).collect()
}

fn closed(session: &mut Session) -> Option<u16> {
    actions(session).into_iter().find_map(|action| match action {
        Action::Close(close) => Some(close.code().code()),
        _ => None,
    })
}

#[test]
fn rules_84_and_99_a_result_is_one_line_whatever_its_white_space() {
    let body = "{\"data\":\n{\"j\":[1,\r\n2],\"s\":\"a\\nb\"}}";
    let frame = |dialect: Dialect| Frame::next(dialect.next_head("a\"\n"), &Body::whole(body));
    assert_eq!(
        written(Dialect::Distinct, &frame(Dialect::Distinct), Some("c1")),
        "event: next\nid: c1\ndata: {\"data\": {\"j\":[1,  2],\"s\":\"a\\nb\"}}\n\n"
    );
    assert_eq!(
        written(Dialect::Single, &frame(Dialect::Single), Some("c1")),
        "event: next\ndata: {\"id\":\"a\\\"\\n\",\"payload\":{\"data\": {\"j\":[1,  2],\"s\":\"a\\nb\"}}}\n\n"
    );
}

#[test]
fn rules_85_and_86_an_end_is_told_with_a_line_of_data_and_errors_come_as_a_result() {
    let end = ServerMessage::Complete { id: "1" };
    assert_eq!(written(Dialect::Distinct, &Dialect::Distinct.frame(end), None), "event: complete\ndata:\n\n");
    assert_eq!(
        written(Dialect::Single, &Dialect::Single.frame(end), None),
        "event: complete\ndata: {\"id\":\"1\"}\n\n"
    );
    let errors = ServerMessage::Error { id: "1", errors: r#"[{"message":"no"}]"# };
    assert_eq!(
        written(Dialect::Distinct, &Dialect::Distinct.frame(errors), None),
        "event: next\ndata: {\"errors\":[{\"message\":\"no\"}]}\n\nevent: complete\ndata:\n\n"
    );
}

#[test]
fn rules_82_and_83_a_stream_is_greeted_and_then_kept_alive_without_an_answer() {
    let mut now = Instant::now();
    let mut session = open(Dialect::Distinct, now);
    assert!(matches!(actions(&mut session)[..], [Action::Transmit { .. }]));
    for _ in 0..100 {
        let due = session.poll_timeout().unwrap();
        assert!(due - now <= Duration::from_secs(15));
        now = due;
        session.on_timeout(now);
        assert!(matches!(actions(&mut session)[..], [Action::Transmit { .. }]));
    }
    assert_eq!(session.phase(), Phase::Ready);
}

#[test]
fn rule_90_the_end_of_its_only_operation_ends_a_distinct_stream_behind_what_is_queued() {
    let mut session = open(Dialect::Distinct, Instant::now());
    let id = begun(&mut session, "");
    session.handle(Input::OperationEnded(&id), Instant::now());
    assert_eq!(closed(&mut session), Some(1000));
    assert_eq!(session.take_farewell(), None);
    let mut session = open(Dialect::Single, Instant::now());
    let id = begun(&mut session, "1");
    session.handle(Input::OperationEnded(&id), Instant::now());
    assert_eq!(session.phase(), Phase::Ready);
}

#[test]
fn rule_104_a_reserved_stream_that_nobody_opens_closes_and_one_that_is_opened_stays() {
    let now = Instant::now();
    let later = now + Limits::default().init_wait;
    let mut session = open(Dialect::Single, now);
    session.on_timeout(later);
    assert_eq!(closed(&mut session), Some(4408));
    let mut session = open(Dialect::Single, now);
    session.handle(Input::Claimed, now);
    session.on_timeout(later);
    assert_eq!(closed(&mut session), None);
}

#[test]
fn each_operation_of_a_stream_that_is_closed_is_told_why_but_not_at_a_shutdown() {
    let mut session = open(Dialect::Single, Instant::now());
    begun(&mut session, "1");
    begun(&mut session, "2");
    session.handle(Input::GoingAway(Close::revoked()), Instant::now());
    let farewell = session.take_farewell().unwrap();
    assert_eq!(farewell.matches("\"REVOKED\"").count(), 2);
    assert!(!farewell.contains("complete"), "{farewell}");
    assert_eq!(session.take_farewell(), None, "given out once");
    let mut session = open(Dialect::Distinct, Instant::now());
    begun(&mut session, "");
    session.handle(Input::GoingAway(Close::shutting_down()), Instant::now());
    assert_eq!(session.take_farewell(), None);
}

#[test]
fn rule_98_an_id_that_is_active_is_not_admitted_again_and_a_closed_stream_admits_nothing() {
    let mut session = open(Dialect::Single, Instant::now());
    begun(&mut session, "1");
    assert_eq!(session.admit("1"), Some(Admission::Duplicate));
    session.handle(Input::Completed("1"), Instant::now());
    begun(&mut session, "1");
    session.handle(Input::Disconnected, Instant::now());
    assert_eq!(session.admit("2"), None);
}
