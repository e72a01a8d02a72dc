//! The session's own messages as text. `next` is not among them: its frame is put around a body that sessions share.

use serde_json::{Value, json};

use crate::payload::Frame;

/// A message to the client. Payloads are JSON text that the caller vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMessage<'a> {
    /// `connection_ack`
    ConnectionAck {
        /// A JSON object.
        payload: Option<&'a str>,
    },
    /// `ping`
    Ping,
    /// `pong`
    Pong {
        /// The ping's own payload.
        payload: Option<&'a str>,
    },
    /// `error`: the operation could not start, or its source failed. No `complete` follows.
    Error {
        /// The operation.
        id: &'a str,
        /// A JSON array of GraphQL errors, not empty.
        errors: &'a str,
    },
    /// `complete`: the operation has ended.
    Complete {
        /// The operation.
        id: &'a str,
    },
}

impl ServerMessage<'_> {
    /// The message as a frame. A payload that is not there is an absent key, never `null`.
    pub fn frame(self) -> Frame {
        match self {
            ServerMessage::ConnectionAck { payload } => bare("connection_ack", payload),
            ServerMessage::Ping => bare("ping", None),
            ServerMessage::Pong { payload } => bare("pong", payload),
            ServerMessage::Error { id, errors } => {
                Frame::whole(format!(r#"{{"id":{},"type":"error","payload":{errors}}}"#, Value::from(id)))
            }
            ServerMessage::Complete { id } => {
                Frame::whole(format!(r#"{{"id":{},"type":"complete"}}"#, Value::from(id)))
            }
        }
    }
}

fn bare(kind: &str, payload: Option<&str>) -> Frame {
    Frame::whole(match payload {
        Some(payload) => format!(r#"{{"type":"{kind}","payload":{payload}}}"#),
        None => format!(r#"{{"type":"{kind}"}}"#),
    })
}

/// The `error` for one operation too many.
pub(super) fn operation_limit(id: &str, operations_max: usize) -> Frame {
    let message =
        format!("{operations_max} operations are active on this connection, which is the limit: complete one first");
    let errors = json!([{ "message": message, "extensions": { "code": "OPERATION_LIMIT" } }]).to_string();
    ServerMessage::Error { id, errors: &errors }.frame()
}

#[cfg(test)]
mod tests {
    use super::ServerMessage;

    fn text(message: ServerMessage<'_>) -> String {
        let mut out = Vec::new();
        message.frame().write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_message_is_the_protocol_s_own_text() {
        assert_eq!(text(ServerMessage::ConnectionAck { payload: None }), r#"{"type":"connection_ack"}"#);
        let ack = ServerMessage::ConnectionAck { payload: Some(r#"{"a":1}"#) };
        assert_eq!(text(ack), r#"{"type":"connection_ack","payload":{"a":1}}"#);
        assert_eq!(text(ServerMessage::Ping), r#"{"type":"ping"}"#);
        assert_eq!(text(ServerMessage::Complete { id: "a\"b" }), r#"{"id":"a\"b","type":"complete"}"#);
        let error = ServerMessage::Error { id: "1", errors: r#"[{"message":"no"}]"# };
        assert_eq!(text(error), r#"{"id":"1","type":"error","payload":[{"message":"no"}]}"#);
    }
}
