//! Properties that hold for any input, in any order, at any time.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Close, DEPTH_MAX, Input, Limits, Phase};
use super::{INIT, PING, PONG, Pair, complete, seconds, subscribe};

/// What either side may do next.
#[derive(Clone, Debug)]
enum Step {
    Says(String),
    Binary,
    Accept,
    Refuse,
    Next(usize),
    End(usize),
    /// The report of an operation's end arrives again, or late.
    EndOld(usize),
    GoAway,
    Disconnect,
    Take(usize),
    Wait(u64),
}

/// Any JSON, keys and words of the protocol among them.
fn json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "type",
        "id",
        "payload",
        "query",
        "variables",
        "operationName",
        "ping",
        "subscribe",
        "complete",
        "next",
        "1",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(|word| format!("{word:?}")),
        any::<i32>().prop_map(|n| n.to_string()),
        prop::sample::select(vec!["null", "true", "\"\"", "1e999", "\"\\ud800\""]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let pair = (word.clone(), inner.clone()).prop_map(|(key, value)| format!("{key:?}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(pair, 0..4).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        ]
    })
}

/// A message of the protocol with anything for a payload.
fn envelope() -> impl Strategy<Value = String> {
    let kinds = vec!["connection_init", "ping", "pong", "subscribe", "complete", "next", "error", "x"];
    (prop::sample::select(kinds), json(), json())
        .prop_map(|(kind, id, payload)| format!(r#"{{"type":"{kind}","id":{id},"payload":{payload}}}"#))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), json(), envelope(), (0..2 * DEPTH_MAX).prop_map(|deep| "[".repeat(deep))]
}

/// Mostly what a client may send, so that sessions live long enough to become interesting.
fn step() -> impl Strategy<Value = Step> {
    let id = || prop::sample::select(vec!["a", "b", "c", "d"]);
    let says = |text: &str| Just(Step::Says(text.to_owned()));
    prop_oneof![
        4 => says(INIT),
        2 => says(PING),
        2 => says(PONG),
        10 => id().prop_map(|id| Step::Says(subscribe(id))),
        8 => id().prop_map(|id| Step::Says(complete(id))),
        1 => text().prop_map(Step::Says),
        8 => Just(Step::Accept),
        12 => (0_usize..4).prop_map(Step::Next),
        4 => (0_usize..4).prop_map(Step::End),
        4 => (0_usize..8).prop_map(Step::EndOld),
        8 => (0_usize..20).prop_map(Step::Take),
        4 => (0_u64..15).prop_map(Step::Wait),
        1 => prop_oneof![Just(Step::Binary), Just(Step::Refuse), Just(Step::GoAway), Just(Step::Disconnect)],
    ]
}

/// Carries out a step. The pair itself asserts that nothing follows a close and that only what runs is released.
fn perform(pair: &mut Pair, step: &Step, old: &mut Vec<crate::model::OperationId>, wire: &mut Vec<String>) {
    let running = |pair: &Pair, n: usize| pair.engine.running.get(n).map(|(id, _)| Arc::clone(id));
    match step {
        Step::Says(text) => pair.says(text),
        Step::Binary => pair.input(Input::Binary),
        Step::Accept => pair.accept(),
        Step::Refuse => pair.input(Input::Refused(Close::forbidden())),
        Step::GoAway => pair.input(Input::GoingAway(Close::shutting_down())),
        Step::Disconnect => pair.input(Input::Disconnected),
        Step::Wait(time) => pair.advance(seconds(*time)),
        Step::Next(n) => {
            if let Some(id) = running(pair, *n) {
                let _ = pair.next(&id, 1);
            }
        }
        Step::End(n) => {
            if let Some(id) = running(pair, *n) {
                pair.end(&id);
                old.push(id);
            }
        }
        Step::EndOld(n) => {
            if let Some(id) = old.get(*n).cloned() {
                pair.input(Input::OperationEnded(&id));
            }
        }
        Step::Take(n) => {
            let mut frames = Vec::new();
            pair.queue.take(*n, usize::MAX, &mut frames);
            wire.extend(frames.iter().map(super::text));
        }
    }
}

/// Reads no payload: a pong repeats its ping's, where `1e999` or a lone surrogate is JSON that not every reader can
/// hold.
fn kind(frame: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Frame {
        r#type: String,
    }
    serde_json::from_str::<Frame>(frame).unwrap().r#type
}

proptest! {
    #[test]
    fn a_conversation_keeps_its_promises_whatever_is_said(steps in prop::collection::vec(step(), 1..120)) {
        let limits = Limits { operations_max: 3, held_bytes_max: 600, queue_bytes_max: 3000, ..Limits::default() };
        let mut pair = Pair::with(limits);
        let (mut old, mut wire) = (Vec::new(), Vec::new());
        for step in &steps {
            perform(&mut pair, step, &mut old, &mut wire);
            // The session and the engine agree on what runs.
            prop_assert_eq!(pair.session.operations(), pair.engine.running.len());
            prop_assert!(pair.session.operations() <= limits.operations_max);
            prop_assert!(pair.queue.bytes() <= limits.queue_bytes_max || pair.queue.len() == 1);
            let over = matches!(pair.session.phase(), Phase::Closing | Phase::Closed);
            prop_assert!(!over || pair.session.poll_timeout().is_none());
        }
        pair.input(Input::Disconnected);
        prop_assert_eq!(pair.engine.running.len(), 0, "every subscribe is matched by a release or an end");
        prop_assert!(pair.engine.asked.len() <= 1);

        wire.extend(pair.hears());
        let kinds: Vec<String> = wire.iter().map(|frame| kind(frame)).collect();
        let before_ack = kinds.iter().take_while(|kind| *kind != "connection_ack");
        prop_assert!(before_ack.clone().all(|kind| kind == "pong"), "rule 80: {:?}", kinds);
        prop_assert!(kinds.iter().filter(|kind| *kind == "connection_ack").count() <= 1);
    }

    #[test]
    fn no_text_panics_and_every_refusal_fits_its_frame(text in text()) {
        for handshake in [&[][..], &[INIT]] {
            let mut pair = Pair::new();
            for init in handshake {
                pair.says(init);
            }
            pair.says(&text);
            pair.accept();
            prop_assert!(pair.reason().len() <= 123);
            prop_assert!(!pair.reason().chars().any(|c| c == '\n' || c == '\0'));
        }
    }
}
