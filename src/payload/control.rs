//! The frames that end an operation.

use serde::Serialize;

use super::Frame;
use crate::graphql::RequestError;

/// `{"id":…,"type":"error","payload":[…]}`: the operation failed before or instead of its next event. It ends with it.
pub fn error_frame(operation_id: &str, errors: &[RequestError]) -> Frame {
    #[derive(Serialize)]
    struct Message<'a> {
        id: &'a str,
        r#type: &'static str,
        payload: &'a [RequestError],
    }
    let message = Message { id: operation_id, r#type: "error", payload: errors };
    // Strings and numbers serialize always; if that failed, the client would still get an error.
    let text = serde_json::to_vec(&message).unwrap_or_else(|_| complete_text(operation_id).into_bytes());
    Frame::whole(text)
}

/// `{"id":…,"type":"complete"}`: the operation has no more events.
pub fn complete_frame(operation_id: &str) -> Frame {
    Frame::whole(complete_text(operation_id))
}

fn complete_text(operation_id: &str) -> String {
    format!(r#"{{"id":{},"type":"complete"}}"#, serde_json::Value::from(operation_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::{Location, RequestErrorKind};

    fn text(frame: &Frame) -> String {
        let mut out = Vec::new();
        frame.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_error_carries_each_error_with_its_place() {
        let kind = RequestErrorKind::GraphqlValidationFailed;
        let errors = [RequestError::new(kind, "no").at(Some(Location { line: 2, column: 3 }))];
        assert_eq!(
            text(&error_frame("a\"b", &errors)),
            concat!(
                r#"{"id":"a\"b","type":"error","payload":[{"message":"no","locations":[{"line":2,"column":3}],"#,
                r#""extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}"#
            )
        );
    }

    #[test]
    fn complete_carries_the_id_alone() {
        assert_eq!(text(&complete_frame("\u{1}é")), r#"{"id":"\u0001é","type":"complete"}"#);
    }
}
