//! A session, its queue, a client and an engine on one fake clock: an hour of heartbeats takes a microsecond and any
//! failure replays.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, Close, Input, Limits, Overflow, Pushed, Queue, ServerMessage, Session};
use crate::model::{Lsn, OperationId, Position, Request};
use crate::payload::{Body, Frame};

mod coalescing;
mod corpus;
mod delivery;
mod endings;
mod handshake;
mod invariants;
mod operations;
mod streams;
mod transitions;

/// Both sides of a connection. Each method acts for one side and then lets the session settle.
struct Pair {
    session: Session,
    queue: Queue,
    now: Instant,
    engine: Engine,
    /// How the session asked for the socket to be closed.
    closed: Option<Close>,
}

/// What the engine received.
#[derive(Default)]
struct Engine {
    /// The payload of each `Authenticate`.
    asked: Vec<Option<String>>,
    running: Vec<(OperationId, Request)>,
    /// Ids by `Release`.
    released: Vec<String>,
}

impl Pair {
    fn new() -> Self {
        Pair::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Instant::now();
        let session = Session::new(limits, now);
        Pair { session, queue: Queue::new(&limits), now, engine: Engine::default(), closed: None }
    }

    /// Behind the handshake, with nothing left to hear.
    fn ready() -> Self {
        Pair::ready_with(Limits::default())
    }

    fn ready_with(limits: Limits) -> Self {
        let mut pair = Pair::with(limits);
        pair.says(INIT);
        pair.accept();
        assert_eq!(pair.hears(), [ACK]);
        pair
    }

    fn says(&mut self, text: &str) {
        self.input(Input::Text(text));
    }

    fn subscribe(&mut self, id: &str) {
        self.says(&subscribe(id));
    }

    fn complete(&mut self, id: &str) {
        self.says(&complete(id));
    }

    fn accept(&mut self) {
        self.input(Input::Accepted { ack_payload: None, expires: None });
    }

    fn input(&mut self, input: Input<'_>) {
        self.session.handle(input, self.now);
        self.settle();
    }

    /// The engine sends a result of a running operation.
    fn next(&mut self, id: &str, n: u32) -> Pushed {
        let id = self.running(id);
        let frame = Frame::next(Frame::next_head(&id), &Body::whole(format!(r#"{{"data":{n}}}"#)));
        self.queue.push(&id, frame, Some(position(n)), self.now)
    }

    /// The engine's source has ended.
    fn end(&mut self, id: &str) {
        let id = self.running(id);
        self.end_with(&id, ServerMessage::Complete { id: &id });
    }

    /// The engine's source has failed.
    fn fail(&mut self, id: &str) {
        let id = self.running(id);
        self.end_with(&id, ServerMessage::Error { id: &id, errors: r#"[{"message":"lost"}]"# });
    }

    fn end_with(&mut self, id: &OperationId, last: ServerMessage<'_>) {
        self.engine.running.retain(|(running, _)| running != id);
        let _ = self.queue.push(id, last.frame(), None, self.now);
        self.input(Input::OperationEnded(id));
    }

    fn running(&self, id: &str) -> OperationId {
        let found = self.engine.running.iter().find(|(running, _)| &**running == id);
        Arc::clone(&found.unwrap_or_else(|| panic!("{id:?} does not run")).0)
    }

    fn running_ids(&self) -> Vec<&str> {
        self.engine.running.iter().map(|(id, _)| &**id).collect()
    }

    /// Lets time pass, stopping at each deadline on the way.
    fn advance(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.session.poll_timeout().filter(|deadline| *deadline <= until) {
            self.now = self.now.max(deadline);
            self.session.on_timeout(self.now);
            self.settle();
        }
        self.now = until;
    }

    /// Everything that the sender can send now.
    fn hears(&mut self) -> Vec<String> {
        let mut frames = Vec::new();
        self.queue.take(usize::MAX, usize::MAX, &mut frames);
        frames.iter().map(text).collect()
    }

    fn code(&self) -> Option<u16> {
        self.closed.as_ref().map(|close| close.code().code())
    }

    fn reason(&self) -> &str {
        self.closed.as_ref().map_or("", Close::reason)
    }

    /// Carries out the session's actions.
    fn settle(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert_eq!(self.closed, None, "{action:?} after the close");
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Authenticate { payload } => {
                self.engine.asked.push(payload.map(|payload| payload.as_str().to_owned()));
            }
            Action::Subscribe { id, request } => self.engine.running.push((id, request)),
            Action::Release { id } => {
                let before = self.engine.running.len();
                self.engine.running.retain(|(running, _)| !Arc::ptr_eq(running, &id));
                assert_eq!(self.engine.running.len() + 1, before, "{id} was released but did not run");
                self.engine.released.push(id.to_string());
            }
            Action::Purge { id } => _ = self.queue.purge(&id),
            Action::Transmit { frame, lane } => match self.queue.transmit(lane, frame, self.now) {
                Pushed::First | Pushed::More | Pushed::Shut => {}
                Pushed::Overflow(overflow) => self.too_slow(overflow),
            },
            Action::Close(close) => {
                self.queue.finish(close.clone());
                self.closed = Some(close);
            }
        }
    }

    /// What the engine does with a queue that reached its bound.
    fn too_slow(&mut self, overflow: Overflow) {
        let cursor = overflow.resume_after.map(cursor);
        self.session.handle(Input::GoingAway(Close::slow_client(cursor.as_deref())), self.now);
        self.settle();
    }
}

const INIT: &str = r#"{"type":"connection_init"}"#;
const ACK: &str = r#"{"type":"connection_ack"}"#;
const PING: &str = r#"{"type":"ping"}"#;
const PONG: &str = r#"{"type":"pong"}"#;

fn subscribe(id: &str) -> String {
    let id = serde_json::Value::from(id);
    format!(r#"{{"id":{id},"type":"subscribe","payload":{{"query":"subscription {{ orders {{ cursor }} }}"}}}}"#)
}

fn complete(id: &str) -> String {
    format!(r#"{{"id":{},"type":"complete"}}"#, serde_json::Value::from(id))
}

/// What the client hears of [`Pair::next`].
fn next(id: &str, n: u32) -> String {
    format!(r#"{{"id":{},"type":"next","payload":{{"data":{n}}}}}"#, serde_json::Value::from(id))
}

fn position(n: u32) -> Position {
    Position { commit_lsn: Lsn(u64::from(n)), ordinal: 0 }
}

fn cursor(position: Position) -> String {
    format!("{}-{}", position.commit_lsn, position.ordinal)
}

fn text(frame: &Frame) -> String {
    let mut out = Vec::new();
    frame.write_to(&mut out);
    String::from_utf8(out).unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Takes what the client has heard, to compare it with what comes next.
fn released(pair: &mut Pair) -> Vec<String> {
    mem::take(&mut pair.engine.released)
}
