//! Parses a client's messages: one text frame becomes one [`ClientMessage`] or a [`Violation`].
//!
//! - A key that the protocol knows must have the type that the protocol requires.
//! - An unknown key is ignored.
//! - A known key that occurs twice is refused, because a later reader of the message might use the other one.
//! - `null` is the same as absent, as in the reference implementation.
//! - Payloads that are only passed on (those of `connection_init` and `ping`) stay raw text, so that numbers and
//!   escapes remain as the client wrote them.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::limits::{DEPTH_MAX, ID_BYTES_MAX};
use super::violation::Violation;
use crate::model::Request;

/// A message from the client, valid in form. Whether it is welcome depends on the session's state.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientMessage<'a> {
    /// `connection_init`
    ConnectionInit {
        /// A JSON object as text.
        payload: Option<&'a str>,
    },
    /// `ping`
    Ping {
        /// A JSON object as text.
        payload: Option<&'a str>,
    },
    /// `pong`
    Pong,
    /// `subscribe`
    Subscribe {
        /// Chosen by the client.
        id: String,
        /// The GraphQL request.
        request: Request,
    },
    /// `complete`
    Complete {
        /// Chosen by the client.
        id: String,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> ClientMessage<'a> {
    /// Reads one text frame. Size and depth are checked before anything is built from it.
    pub fn parse(text: &'a str, bytes_max: usize) -> Result<Self, Violation> {
        if text.len() > bytes_max {
            return Err(Violation::TooLong { bytes: text.len(), bytes_max });
        }
        if is_deeper_than(DEPTH_MAX, text) {
            return Err(Violation::TooDeep);
        }
        Self::from_envelope(&Envelope::open(text)?)
    }

    fn from_envelope(envelope: &Envelope<'a>) -> Result<Self, Violation> {
        match envelope.kind()?.as_str() {
            "connection_init" => Ok(ClientMessage::ConnectionInit { payload: envelope.object("connection_init")? }),
            "ping" => Ok(ClientMessage::Ping { payload: envelope.object("ping")? }),
            "pong" => envelope.object("pong").map(|_| ClientMessage::Pong),
            "subscribe" => Ok(ClientMessage::Subscribe { id: envelope.id("subscribe")?, request: envelope.request()? }),
            "complete" => Ok(ClientMessage::Complete { id: envelope.id("complete")? }),
            "connection_ack" => Err(Violation::ServerType("connection_ack")),
            "next" => Err(Violation::ServerType("next")),
            "error" => Err(Violation::ServerType("error")),
            unknown => Err(Violation::UnknownType(unknown.chars().take(32).collect())),
        }
    }
}

impl<'a> Envelope<'a> {
    fn open(text: &'a str) -> Result<Self, Violation> {
        let not_json = |error: serde_json::Error| Violation::Json(error.to_string());
        // A derived struct would read an array as its fields in order.
        if !text.trim_start().starts_with('{') {
            return Err(serde_json::from_str::<IgnoredAny>(text).map_or_else(not_json, |_| Violation::NotAnObject));
        }
        serde_json::from_str(text).map_err(not_json)
    }

    fn kind(&self) -> Result<String, Violation> {
        self.kind.and_then(string).filter(|kind| !kind.is_empty()).ok_or(Violation::NoType)
    }

    fn id(&self, message: &'static str) -> Result<String, Violation> {
        let missing = Violation::Field { message, field: "id", expected: "a non-empty string" };
        let id = self.id.and_then(string).filter(|id| !id.is_empty()).ok_or(missing)?;
        if id.len() > ID_BYTES_MAX { Err(Violation::LongId { message }) } else { Ok(id) }
    }

    fn object(&self, message: &'static str) -> Result<Option<&'a str>, Violation> {
        let wrong = Violation::Field { message, field: "payload", expected: "an object, null or absent" };
        self.payload.map(|raw| if is_object(raw) { Ok(raw.get()) } else { Err(wrong) }).transpose()
    }

    fn request(&self) -> Result<Request, Violation> {
        let wrong = Violation::Field { message: "subscribe", field: "payload", expected: "an object" };
        let raw = self.payload.filter(|raw| is_object(raw)).ok_or(wrong)?;
        Request::parse(raw.get()).map_err(Violation::from)
    }
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Whether brackets outside strings nest deeper than `max`. On text that is not JSON the answer does not matter.
fn is_deeper_than(max: usize, text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{ClientMessage, DEPTH_MAX, ID_BYTES_MAX, is_deeper_than};
    use crate::session::Violation;

    #[test]
    fn brackets_inside_strings_are_not_depth() {
        assert!(!is_deeper_than(1, r#"{"a":"[[[[\"{{{"}"#));
        assert!(is_deeper_than(1, r#"{"a":[]}"#));
        assert!(!is_deeper_than(2, r#"{"a":[],"b":[],"c":{}}"#));
    }

    #[test]
    fn the_depth_limit_is_exact_and_holds_for_payloads_that_are_handed_on_raw() {
        let nested = |levels: usize| {
            format!(r#"{{"type":"ping","payload":{{"a":{}{}}}}}"#, "[".repeat(levels - 2), "]".repeat(levels - 2))
        };
        assert!(ClientMessage::parse(&nested(DEPTH_MAX), usize::MAX).is_ok());
        assert_eq!(ClientMessage::parse(&nested(DEPTH_MAX + 1), usize::MAX), Err(Violation::TooDeep));
        assert_eq!(ClientMessage::parse(&"[".repeat(1_000_000), usize::MAX), Err(Violation::TooDeep));
    }

    #[test]
    fn rule_37_a_message_at_the_size_limit_is_read_and_one_byte_more_is_not() {
        let text = r#"{"type":"ping"}"#;
        assert_eq!(ClientMessage::parse(text, text.len()), Ok(ClientMessage::Ping { payload: None }));
        let too_long = Violation::TooLong { bytes: text.len(), bytes_max: text.len() - 1 };
        assert_eq!(ClientMessage::parse(text, text.len() - 1), Err(too_long));
    }

    #[test]
    fn rule_46_an_id_may_be_a_kilobyte_but_not_without_end() {
        let complete = |bytes| format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(bytes));
        assert!(ClientMessage::parse(&complete(ID_BYTES_MAX), usize::MAX).is_ok());
        let refused = ClientMessage::parse(&complete(ID_BYTES_MAX + 1), usize::MAX).map(|_| ());
        assert_eq!(refused, Err(Violation::LongId { message: "complete" }));
    }

    #[test]
    fn payloads_are_handed_on_as_the_client_wrote_them() {
        let text = r#"{"payload": {"n": 1.000000000000000000001, "s":"\u00e9"} , "type":"ping"}"#;
        let payload = Some(r#"{"n": 1.000000000000000000001, "s":"\u00e9"}"#);
        assert_eq!(ClientMessage::parse(text, usize::MAX), Ok(ClientMessage::Ping { payload }));
    }
}
