//! The graphql-sse protocol: the same conversation over an HTTP response, on which the client only receives.
//!
//! The module encodes a session's messages and frames, with the cursor of each result. HTTP itself is not part of it.
//!
//! - Every event has one line of data, even if its JSON contains line breaks.
//! - On a stream with one operation, each result has its cursor as the `id`. A browser's `EventSource` sends it as
//!   `Last-Event-ID` when it reconnects.
//! - `complete` means only that the operation has ended. A client whose stream ends without `complete` resumes.
//!
//! ```text
//!   Distinct                          Single
//!   event: next                       event: next
//!   id: <cursor>                      data: {"id":"<operation>","payload":{"data":…}}
//!   data: {"data":…}
//! ```

use crate::model::OperationId;
use crate::payload::Frame;

use serde_json::{Value, json};

use super::close::{Close, CloseCode};
use super::reply::ServerMessage;

/// The protocol of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// graphql-transport-ws.
    Socket,
    /// graphql-sse, one operation to a stream.
    Distinct,
    /// graphql-sse, all of a client's operations in the stream that it has reserved.
    Single,
}

/// A comment line, which proxies and clients ignore.
const COMMENT: &str = ":\n\n";

impl Dialect {
    /// What precedes the body in each `next` of one operation; made once per subscription.
    pub fn next_head(self, operation_id: &str) -> bytes::Bytes {
        match self {
            Dialect::Socket => Frame::next_head(operation_id),
            Dialect::Distinct => bytes::Bytes::new(),
            Dialect::Single => format!(r#"{{"id":{},"payload":"#, Value::from(operation_id)).into(),
        }
    }

    /// A message as a frame.
    pub fn frame(self, message: ServerMessage<'_>) -> Frame {
        match (self, message) {
            (Dialect::Socket, message) => message.frame(),
            (_, ServerMessage::ConnectionAck { .. } | ServerMessage::Ping | ServerMessage::Pong { .. }) => {
                Frame::whole(COMMENT)
            }
            (_, ServerMessage::Error { id, errors }) => Frame::whole(self.errors(id, errors) + &self.completion(id)),
            (_, ServerMessage::Complete { id }) => Frame::whole(self.completion(id)),
        }
    }

    /// Appends a frame as it goes over the wire. `cursor` is where its reader may resume.
    pub fn write(self, frame: &Frame, cursor: Option<&str>, out: &mut Vec<u8>) {
        if self == Dialect::Socket || frame.is_whole() {
            return frame.write_to(out);
        }
        out.extend_from_slice(b"event: next\n");
        if let (Dialect::Distinct, Some(cursor)) = (self, cursor) {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(cursor.as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        let start = out.len();
        match self {
            Dialect::Distinct => frame.write_body_to(out),
            Dialect::Socket | Dialect::Single => frame.write_to(out),
        }
        make_one_line(&mut out[start..]);
        out.extend_from_slice(b"\n\n");
    }

    /// The last events of a stream that the server ends early: the reason, for each operation. There is no `complete`,
    /// because the client should reconnect. `None` if the end of the stream needs no reason.
    pub(super) fn farewell<'a>(
        self,
        close: &Close,
        operations: impl Iterator<Item = &'a OperationId>,
    ) -> Option<String> {
        let is_silent = matches!(close.code(), CloseCode::Normal | CloseCode::GoingAway);
        if self == Dialect::Socket || is_silent {
            return None;
        }
        let extensions = json!({ "code": code_of(close), "closeCode": close.code().code() });
        let errors = json!([{ "message": close.reason(), "extensions": extensions }]).to_string();
        Some(operations.map(|id| self.errors(id, &errors)).collect())
    }

    /// A result that consists of errors.
    fn errors(self, id: &str, errors: &str) -> String {
        match self {
            Dialect::Single => {
                format!("event: next\ndata: {{\"id\":{},\"payload\":{{\"errors\":{errors}}}}}\n\n", Value::from(id))
            }
            Dialect::Socket | Dialect::Distinct => format!("event: next\ndata: {{\"errors\":{errors}}}\n\n"),
        }
    }

    /// An `EventSource` ignores an event without a line of data.
    fn completion(self, id: &str) -> String {
        match self {
            Dialect::Single => format!("event: complete\ndata: {{\"id\":{}}}\n\n", Value::from(id)),
            Dialect::Socket | Dialect::Distinct => "event: complete\ndata:\n\n".to_owned(),
        }
    }
}

/// The codes that registered subscriptions end with.
fn code_of(close: &Close) -> &'static str {
    if *close == Close::expired() {
        "TOKEN_EXPIRED"
    } else if *close == Close::revoked() {
        "REVOKED"
    } else if close.is_slow_client() {
        "SLOW_CONSUMER"
    } else {
        "DISCONNECTED"
    }
}

/// A line break in JSON is white space between two tokens: within a string it would be escaped.
fn make_one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
