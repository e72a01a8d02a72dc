//! The state machine: the actions for every pair of state and input.

use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Holding};
use super::close::Close;
use super::limits::Limits;
use super::message::ClientMessage;
use super::operations::{Admission, Operations};
use super::reply::{ServerMessage, operation_limit};
use super::sse::Dialect;
use super::state::{Action, InitPayload, Input, Phase, Route, State};
use super::timer::{Timer, Timers};
use super::violation::Violation;
use crate::model::{OperationId, Request};
use crate::payload::Frame;

/// Proxies give up on a silent response after 30 to 60 seconds.
const COMMENT_INTERVAL_MAX: Duration = Duration::from_secs(15);

/// One client's conversation, from the accepted socket to the closed one.
///
/// Feed it with [`handle`](Self::handle) and [`on_timeout`](Self::on_timeout); after either, carry out what
/// [`poll_action`](Self::poll_action) gives until it gives nothing, and wake up again at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    dialect: Dialect,
    state: State,
    timers: Timers,
    actions: VecDeque<Action>,
    farewell: Option<Box<str>>,
}

impl Session {
    /// A session on a socket that has just been accepted with the right subprotocol. The clock of
    /// [`Limits::init_wait`] starts.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let mut timers = Timers::default();
        timers.after(Timer::Init, now, limits.init_wait);
        Session {
            limits,
            dialect: Dialect::Socket,
            state: State::AwaitingInit,
            timers,
            actions: VecDeque::new(),
            farewell: None,
        }
    }

    /// A session on an event stream. Its request is its `connection_init`, so it waits for the verdict at once.
    pub fn of_stream(limits: Limits, dialect: Dialect) -> Self {
        Session {
            limits,
            dialect,
            state: State::Authenticating(Backlog::default()),
            timers: Timers::default(),
            actions: VecDeque::new(),
            farewell: None,
        }
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// An operation of an event stream begins: the caller does what [`Action::Subscribe`] would request. `None` when
    /// the session is not open.
    pub fn admit(&mut self, id: &str) -> Option<Admission> {
        match &mut self.state {
            State::Ready(operations) => Some(operations.admit(id, self.limits.operations_max)),
            State::AwaitingInit | State::Authenticating(_) | State::Closing | State::Closed => None,
        }
    }

    /// What an event stream ends with, behind all frames. Given out once.
    pub fn take_farewell(&mut self) -> Option<Box<str>> {
        self.farewell.take()
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Text(text) => self.on_text(text, now),
            Input::Binary => self.close(Violation::Binary.into()),
            Input::Accepted { ack_payload, expires } => self.on_accepted(ack_payload, expires, now),
            Input::Refused(close) => self.on_refused(close),
            Input::OperationEnded(id) => self.on_ended(id),
            Input::Claimed => self.on_claimed(now),
            Input::Completed(id) => self.on_completed(id),
            Input::GoingAway(close) => self.close(close),
            Input::Disconnected => self.on_disconnected(),
        }
    }

    /// It is `now`. Harmless when called too early or too often.
    pub fn on_timeout(&mut self, now: Instant) {
        for timer in Timer::VALUES {
            if self.timers.is_expired(timer, now) {
                self.timers.stop(timer);
                self.on_timer(timer, now);
            }
        }
    }

    /// What to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // A burst of pipelined subscribes should not be paid for during the idle hours after it.
            self.actions.shrink_to(4);
        }
        action
    }

    /// When to call [`on_timeout`](Self::on_timeout) at the latest. Changes with every call of the other methods.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Where the session stands.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// How many operations are active.
    pub fn operations(&self) -> usize {
        match &self.state {
            State::Ready(operations) => operations.len(),
            State::AwaitingInit | State::Authenticating(_) | State::Closing | State::Closed => 0,
        }
    }

    fn on_text(&mut self, text: &str, now: Instant) {
        if self.state.is_over() {
            return;
        }
        self.restart_keepalive(now);
        match ClientMessage::parse(text, self.limits.message_bytes_max) {
            Ok(message) => self.on_message(message, text),
            Err(violation) => self.close(violation.into()),
        }
    }

    #[expect(clippy::match_same_arms, reason = "each state answers for itself")]
    fn on_message(&mut self, message: ClientMessage<'_>, text: &str) {
        use ClientMessage::{Complete, ConnectionInit, Ping, Pong, Subscribe};
        match (&mut self.state, message) {
            (State::Closing | State::Closed, _) => {}
            (_, Ping { payload }) => self.transmit(ServerMessage::Pong { payload }),
            // A pong needs no answer.
            (_, Pong) => {}

            (State::AwaitingInit, ConnectionInit { payload }) => self.authenticate(payload),
            (State::AwaitingInit, Subscribe { .. }) => self.close(Close::unauthorized()),
            (State::AwaitingInit, Complete { .. }) => {}

            (State::Authenticating(_) | State::Ready(_), ConnectionInit { .. }) => self.close(Close::too_many_inits()),

            (State::Authenticating(backlog), Subscribe { id, .. }) => {
                match backlog.hold(&id, text, self.limits.held_bytes_max) {
                    Holding::Held => {}
                    Holding::Duplicate => self.close(Close::subscriber_exists(&id)),
                    Holding::Full => self.close(Close::unauthorized()),
                }
            }
            (State::Authenticating(backlog), Complete { id }) => backlog.complete(&id),

            (State::Ready(operations), Subscribe { id, request }) => {
                let admission = operations.admit(&id, self.limits.operations_max);
                self.subscribe(&id, admission, request);
            }
            (State::Ready(_), Complete { id }) => self.on_completed(&id),
        }
    }

    fn on_completed(&mut self, id: &str) {
        let State::Ready(operations) = &mut self.state else { return };
        let released = operations.complete(id);
        self.actions.extend(released.map(|id| Action::Release { id }));
        self.actions.push_back(Action::Purge { id: id.into() });
    }

    /// A stream of one operation ends with it.
    fn on_ended(&mut self, id: &OperationId) {
        let State::Ready(operations) = &mut self.state else { return };
        operations.end(id);
        if self.dialect == Dialect::Distinct {
            self.close(Close::completed());
        }
    }

    /// The first bytes go out at once: some browsers wait for them.
    fn on_claimed(&mut self, now: Instant) {
        if matches!(self.state, State::Ready(_)) {
            self.timers.stop(Timer::Init);
            self.transmit(ServerMessage::Ping);
            self.restart_keepalive(now);
        }
    }

    /// The init timer stops here, not when the hook has answered: the client is not responsible for a slow hook.
    fn authenticate(&mut self, payload: Option<&str>) {
        self.timers.stop(Timer::Init);
        self.state = State::Authenticating(Backlog::default());
        self.actions.push_back(Action::Authenticate { payload: payload.map(InitPayload::new) });
    }

    fn subscribe(&mut self, id: &str, admission: Admission, request: Request) {
        match admission {
            Admission::Admitted(id) => self.actions.push_back(Action::Subscribe { id, request }),
            Admission::Duplicate => self.close(Close::subscriber_exists(id)),
            Admission::Full => {
                let frame = operation_limit(id, self.limits.operations_max);
                self.queue(frame, Route::Operation(id.into()));
            }
        }
    }

    fn on_accepted(&mut self, ack_payload: Option<&str>, expires: Option<Instant>, now: Instant) {
        let State::Authenticating(backlog) = &mut self.state else { return };
        let backlog = mem::take(backlog);
        self.state = State::Ready(Operations::default());
        if let Some(deadline) = expires {
            self.timers.set(Timer::Expiry, deadline);
        }
        if self.dialect == Dialect::Single {
            self.timers.after(Timer::Init, now, self.limits.init_wait);
            return;
        }
        self.transmit(ServerMessage::ConnectionAck { payload: ack_payload });
        self.restart_keepalive(now);
        for text in backlog.into_texts() {
            self.on_text(&text, now);
        }
    }

    fn on_refused(&mut self, close: Close) {
        if matches!(self.state, State::Authenticating(_)) {
            self.close(close);
        }
    }

    /// The client is gone, but the engine must still release the operations that it started.
    fn on_disconnected(&mut self) {
        self.leave_for(State::Closed);
        self.actions.retain(|action| match action {
            Action::Subscribe { .. } | Action::Release { .. } => true,
            Action::Authenticate { .. } | Action::Purge { .. } | Action::Transmit { .. } | Action::Close(_) => false,
        });
    }

    fn on_timer(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::Init if self.dialect == Dialect::Single => self.close(Close::unclaimed()),
            Timer::Init => self.close(Close::init_timeout()),
            Timer::Expiry => self.close(Close::expired()),
            Timer::Pong => self.close(Close::unresponsive()),
            Timer::Ping if self.dialect != Dialect::Socket => {
                self.transmit(ServerMessage::Ping);
                self.restart_keepalive(now);
            }
            Timer::Ping => {
                self.timers.after(Timer::Pong, now, self.limits.pong_timeout);
                self.transmit(ServerMessage::Ping);
            }
        }
    }

    /// Every message shows that the client is alive, so the session sends a ping only after a silence.
    fn restart_keepalive(&mut self, now: Instant) {
        let State::Ready(_) = self.state else { return };
        self.timers.stop(Timer::Pong);
        if let Some(interval) = self.keepalive() {
            self.timers.after(Timer::Ping, now, interval);
        }
    }

    /// A client cannot answer on an event stream; the pings keep proxies from closing it as idle.
    fn keepalive(&self) -> Option<Duration> {
        match self.dialect {
            Dialect::Socket => self.limits.ping_interval,
            Dialect::Distinct | Dialect::Single => {
                Some(self.limits.ping_interval.map_or(COMMENT_INTERVAL_MAX, |wait| wait.min(COMMENT_INTERVAL_MAX)))
            }
        }
    }

    /// The first close is the only one.
    fn close(&mut self, close: Close) {
        if self.state.is_over() {
            return;
        }
        if let State::Ready(operations) = &self.state {
            self.farewell = self.dialect.farewell(&close, operations.ids()).map(Into::into);
        }
        self.leave_for(State::Closing);
        self.actions.push_back(Action::Close(close));
    }

    fn leave_for(&mut self, end: State) {
        self.timers.stop_all();
        if let State::Ready(operations) = mem::replace(&mut self.state, end) {
            self.actions.extend(operations.into_ids().map(|id| Action::Release { id }));
        }
    }

    fn transmit(&mut self, message: ServerMessage<'_>) {
        self.queue(self.dialect.frame(message), Route::Control);
    }

    fn queue(&mut self, frame: Frame, lane: Route) {
        self.actions.push_back(Action::Transmit { frame, lane });
    }
}
