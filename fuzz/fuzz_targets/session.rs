//! Any bytes as the frames of one client, a line each: the session never fails, and what it says is JSON.

#![no_main]

use std::time::{Duration, Instant};

use rowcast::session::{Action, Input, Limits, Session};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut now = Instant::now();
    let mut session = Session::new(Limits::default(), now);
    for line in input.split(|byte| *byte == b'\n') {
        now += Duration::from_millis(100);
        match std::str::from_utf8(line) {
            Ok(text) => session.handle(Input::Text(text), now),
            Err(_) => session.handle(Input::Binary, now),
        }
        carry_out(&mut session, now);
        session.on_timeout(now);
        carry_out(&mut session, now);
    }
    assert!(session.operations() <= Limits::default().operations_max);
});

fn carry_out(session: &mut Session, now: Instant) {
    while let Some(action) = session.poll_action() {
        match action {
            Action::Authenticate { payload } => {
                assert!(payload.is_none_or(|payload| serde_json::from_str::<serde_json::Value>(payload.as_str()).is_ok()));
                session.handle(Input::Accepted { ack_payload: None, expires: None }, now);
            }
            Action::Transmit { frame, .. } => {
                let mut out = Vec::new();
                frame.write_to(&mut out);
                assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            }
            Action::Subscribe { .. } | Action::Release { .. } | Action::Purge { .. } | Action::Close(_) => {}
        }
    }
}
