//! What a client's message can be wrong in. Each closes the socket with 4400 and says which it was.

use super::close::{Close, CloseCode};
use super::limits::{DEPTH_MAX, ID_BYTES_MAX};
use crate::model::RequestUnreadable;

/// A message that the protocol does not have. The text names what we expected, and of the client's own words at most
/// the message type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The protocol is text.
    #[error("send text frames, not binary ones")]
    Binary,
    /// Longer than [`Limits::message_bytes_max`](super::Limits::message_bytes_max).
    #[error("{bytes} bytes long, at most {bytes_max} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Nested too deeply for a parser's stack, here or in a hook.
    #[error("nested more than {DEPTH_MAX} levels deep")]
    TooDeep,
    /// Not JSON, or a key of the protocol's twice.
    #[error("{0}")]
    Json(String),
    /// JSON, but an array, a string, a number, a boolean or null.
    #[error("expected a JSON object")]
    NotAnObject,
    /// No type.
    #[error("type must be a non-empty string")]
    NoType,
    /// A type that the protocol does not have.
    #[error("unknown type {0:?}")]
    UnknownType(String),
    /// A type that only servers send.
    #[error("{0} is the server's to send")]
    ServerType(&'static str),
    /// A part of a message that is missing or of the wrong kind.
    #[error("{message}: {field} must be {expected}")]
    Field {
        /// The message's type.
        message: &'static str,
        /// Where in the message.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A part of what a client subscribes to.
    #[error("subscribe: payload.{field} must be {expected}")]
    Payload {
        /// Its key.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// Every frame of the operation repeats the id.
    #[error("{message}: id is longer than {ID_BYTES_MAX} bytes")]
    LongId {
        /// The message's type.
        message: &'static str,
    },
}

impl Violation {
    /// A stable name, for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Violation::Binary => "BINARY_FRAME",
            Violation::TooLong { .. } => "MESSAGE_TOO_LONG",
            Violation::TooDeep => "MESSAGE_TOO_DEEP",
            Violation::Json(_) => "MESSAGE_NOT_JSON",
            Violation::NotAnObject => "MESSAGE_NOT_AN_OBJECT",
            Violation::NoType => "MESSAGE_TYPE_MISSING",
            Violation::UnknownType(_) => "MESSAGE_TYPE_UNKNOWN",
            Violation::ServerType(_) => "MESSAGE_TYPE_OF_SERVER",
            Violation::Field { .. } | Violation::Payload { .. } => "MESSAGE_FIELD_INVALID",
            Violation::LongId { .. } => "OPERATION_ID_TOO_LONG",
        }
    }
}

impl From<RequestUnreadable> for Violation {
    fn from(unreadable: RequestUnreadable) -> Self {
        match unreadable {
            RequestUnreadable::Json(error) => Violation::Json(error),
            RequestUnreadable::NotAnObject => Violation::NotAnObject,
            RequestUnreadable::Field { field, expected } => Violation::Payload { field, expected },
        }
    }
}

impl From<Violation> for Close {
    /// The sentence begins as the reference server's does.
    fn from(violation: Violation) -> Self {
        Close::new(CloseCode::BadRequest, format!("Invalid message received: {violation}"))
    }
}
