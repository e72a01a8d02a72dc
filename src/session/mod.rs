//! graphql-transport-ws, without a socket and without a clock.
//!
//! The inputs are text frames, the application's decision, the engine's events and the time, all as arguments.
//!
//! - The session answers each message as the protocol requires, or closes with the code that the protocol requires.
//! - The session releases each operation that it started, unless the engine ended the operation itself.
//! - Only a pong may precede the ack; nothing follows the close.
//! - No IO, no sleeping, no GraphQL: a request is a query string, an event is a [`Frame`](crate::payload::Frame).
//!
//! # Theory of operation
//!
//! A connection is two values. [`Session`] is the conversation: it decides, and says so in [`Action`]s. [`Queue`] is
//! what waits to be sent: it stands apart since event threads fill it and the sender empties it while the conversation
//! is silent, and each has a lock of its own around it. The engine carries actions from the one to the other.
//!
//! ```text
//!   socket ── text ──▶ Session ── Authenticate, Subscribe, Release ──▶ engine ─┐
//!                         │ Transmit, Purge, Close                             │ push
//!                         ▼                                                    ▼
//!   socket ◀── take ── Queue ◀─────────────────────────────────────────────────┘
//! ```
//!
//! Two rules hold the session together. *The state owns what belongs to it*: the backlog exists only while
//! authenticating, the active ids only when ready, so leaving a state cannot forget them. *All deadlines are in one
//! array*: nothing expires that is not listed in `timer.rs`.
//!
//! ```text
//!                  connection_init                      Accepted
//!   AwaitingInit ──────────────────▶ Authenticating ────────────────▶ Ready ◀─┐ subscribe, complete,
//!     │  Init timer 4408               │  Refused 4403                │  └────┘ ping, OperationEnded
//!     │  subscribe 4401                │  subscribe waits             │  Expiry timer 4403
//!     │                                │  second init 4429            │  Pong timer 3008
//!     │                                │                              │  second init 4429, active id 4409
//!     ├────────────────────────────────┴──────────────────────────────┘
//!     │  a violation 4400, GoingAway: Release each operation, then Close
//!     ▼
//!   Closing ────────────────────────────────────────────────────────────▶ Closed
//!                  Disconnected (from every state: Release each operation)
//! ```
//!
//! The same as a table, which a test holds true. A number is that close code, and then the state is `Closing`;
//! `·` stays.
//!
//! ```text
//! | input           | AwaitingInit   | Authenticating | Ready  | Closing | Closed |
//! |-----------------|----------------|----------------|--------|---------|--------|
//! | connection_init | Authenticating | 4429           | 4429   | ·       | ·      |
//! | ping            | ·              | ·              | ·      | ·       | ·      |
//! | pong            | ·              | ·              | ·      | ·       | ·      |
//! | subscribe       | 4401           | ·              | ·      | ·       | ·      |
//! | subscribe again | 4401           | 4409           | 4409   | ·       | ·      |
//! | complete        | ·              | ·              | ·      | ·       | ·      |
//! | malformed       | 4400           | 4400           | 4400   | ·       | ·      |
//! | Binary          | 4400           | 4400           | 4400   | ·       | ·      |
//! | Accepted        | ·              | Ready          | ·      | ·       | ·      |
//! | Refused         | ·              | 4403           | ·      | ·       | ·      |
//! | OperationEnded  | ·              | ·              | ·      | ·       | ·      |
//! | GoingAway       | 1001           | 1001           | 1001   | ·       | ·      |
//! | an hour passes  | 4408           | ·              | 3008   | ·       | ·      |
//! | Disconnected    | Closed         | Closed         | Closed | Closed  | ·      |
//! ```
//!
//! # Choices where the protocol leaves one
//!
//! - A subscribe behind an unanswered `connection_init` waits, in order and within
//!   [`Limits::held_bytes_max`]; it starts right after the ack, or never if the init is refused.
//! - One operation too many is an `error` with code `OPERATION_LIMIT`: its siblings live on.
//! - Shutdown sends no `complete` for subscriptions. A stock client takes `complete` for their end, but resubscribes
//!   after 1001 by itself; every `next` it has carries the cursor to resume from.
//! - A client that is silent through a ping closes with 3008, which stock clients retry. Every message
//!   counts as an answer.
//! - `null` where an optional object may stand is the same as nothing, and is echoed as nothing.
//!
//! Which rule of the conformance checklist is proven where, and which of them need a socket, a schema or a stock
//! client to be proven, is listed in `tests/corpus/session/rules.toml`.

mod backlog;
mod close;
mod coalesce;
mod limits;
mod machine;
mod message;
mod operations;
mod progress;
mod queue;
mod reply;
mod sse;
mod state;
mod subprotocol;
#[cfg(test)]
mod tests;
mod timer;
mod violation;

pub use close::{ApplicationCode, Close, CloseCode, REASON_BYTES_MAX, Retry};
pub use coalesce::RowNews;
pub use limits::{DEPTH_MAX, ID_BYTES_MAX, Limits};
pub use machine::Session;
pub use message::ClientMessage;
pub use operations::Admission;
pub use queue::{Bound, Overflow, Pushed, Queue};
pub use reply::ServerMessage;
pub use sse::Dialect;
pub use state::{Action, InitPayload, Input, Phase, Route};
pub use subprotocol::{GRAPHQL_TRANSPORT_WS, choose};
pub use violation::Violation;
