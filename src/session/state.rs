//! The types of the state machine: a session's states, inputs and actions.

use std::fmt;
use std::time::Instant;

use super::backlog::Backlog;
use super::close::Close;
use super::operations::Operations;
use crate::model::{OperationId, Request};
use crate::payload::Frame;

/// Where a session stands. What belongs to a state lives in it, so nothing is left over when it is left.
#[derive(Debug)]
pub(super) enum State {
    /// Entered at birth. Waits for the client's `connection_init`, no longer than the `Init` timer.
    AwaitingInit,
    /// Entered by `connection_init`, with [`Action::Authenticate`]. Waits for the application's verdict and sets it no
    /// deadline: the hook belongs to the application. Subscribes wait here in order.
    Authenticating(Backlog),
    /// Entered by [`Input::Accepted`], with the ack. Operations start, run and end; the keepalive runs.
    Ready(Operations),
    /// Entered with [`Action::Close`], the last action there is. Waits for [`Input::Disconnected`]; all else is
    /// ignored.
    Closing,
    /// Entered by [`Input::Disconnected`], from everywhere. Final.
    Closed,
}

/// Where a session stands, without what belongs to the state: for status pages and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has been said yet.
    AwaitingInit,
    /// `connection_init` came; the application has not answered.
    Authenticating,
    /// Acknowledged.
    Ready,
    /// We asked for the socket to be closed.
    Closing,
    /// The socket is gone.
    Closed,
}

impl State {
    pub(super) fn phase(&self) -> Phase {
        match self {
            State::AwaitingInit => Phase::AwaitingInit,
            State::Authenticating(_) => Phase::Authenticating,
            State::Ready(_) => Phase::Ready,
            State::Closing => Phase::Closing,
            State::Closed => Phase::Closed,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, State::Closing | State::Closed)
    }
}

/// An input of a session. No input is an error in any state, because inputs may cross on their way.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent a text frame.
    Text(&'a str),
    /// The client sent a binary frame.
    Binary,
    /// The application's answer to [`Action::Authenticate`] is yes.
    Accepted {
        /// A JSON object for the ack, which the caller vouches for; without one the key is absent.
        ack_payload: Option<&'a str>,
        /// When the credentials end; the session closes with 4403 then.
        expires: Option<Instant>,
    },
    /// The application's answer to [`Action::Authenticate`] is no, or its hook failed.
    Refused(Close),
    /// The engine ended the operation: its `complete` or `error` is in the queue, its id is free. Give back the very
    /// `Arc` that came with [`Action::Subscribe`]; if the client has replaced the operation
    /// under the same id, this changes nothing.
    OperationEnded(&'a OperationId),
    /// The client opened the event stream that it had reserved.
    Claimed,
    /// The client is done with an operation of its event stream.
    Completed(&'a str),
    /// The server ends the session: shutdown, overload, a slow client, a revoked token.
    GoingAway(Close),
    /// The socket is closed, by either side.
    Disconnected,
}

/// An action that a session requests. The caller carries actions out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Authenticate the client with the application's hook, and answer with [`Input::Accepted`] or [`Input::Refused`].
    /// At most once.
    Authenticate {
        /// The `connection_init` payload.
        payload: Option<InitPayload>,
    },
    /// Start an operation.
    Subscribe {
        /// Its name until [`Action::Release`] or [`Input::OperationEnded`], one of which always follows.
        id: OperationId,
        /// What is asked.
        request: Request,
    },
    /// Stop an operation at once, without waiting for its next event. Nothing may be pushed for it any more.
    Release {
        /// The `Arc` of its [`Action::Subscribe`].
        id: OperationId,
    },
    /// Drop what is queued under this id: the client completed it. It need not be active any more: its own end may
    /// still be queued, and would otherwise end the client's next operation of the same name.
    Purge {
        /// The client's id.
        id: Box<str>,
    },
    /// Queue a frame.
    Transmit {
        /// The frame.
        frame: Frame,
        /// Behind what.
        lane: Route,
    },
    /// Finish the queue and close the socket. No action follows.
    Close(Close),
}

/// Behind what a frame queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Ack, ping and pong: sent before all queued frames of operations, so that a pong is prompt behind 10,000 events.
    Control,
    /// A frame of this operation, in the order of the data.
    Operation(OperationId),
}

/// The payload of `connection_init`: a JSON object as the client wrote it. It holds credentials, so `Debug` is mute.
#[derive(Clone, PartialEq, Eq)]
pub struct InitPayload(Box<str>);

impl InitPayload {
    pub(super) fn new(json: &str) -> Self {
        InitPayload(json.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InitPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InitPayload({} bytes)", self.0.len())
    }
}
