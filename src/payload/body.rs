//! The parts of a body that every event has, and the bodies of resolvers' results.

use bytes::Bytes;

use crate::graphql::Plan;
use crate::model::{Event, Operation, Timestamp};

use super::json;

/// What `extensions.rowcast` tells of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// Where to resume; empty where nobody can, inside a snapshot.
    pub cursor: &'a str,
    /// The kind of change.
    pub operation: Operation,
    /// The commit's time.
    pub committed_at: Timestamp,
}

impl<'a> Meta<'a> {
    /// Of `event`, at `cursor`.
    pub fn of(event: &Event, cursor: &'a str) -> Self {
        Meta { cursor, operation: event.operation(), committed_at: event.committed_at }
    }
}

/// An error of one place in the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong, for the client; no row values.
    pub message: String,
    /// Where, from the response key on.
    pub path: Vec<PathSegment>,
    /// A stable code.
    pub code: String,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathSegment {
    /// A response key.
    Key(Box<str>),
    /// A list item.
    Index(usize),
}

/// The body of a resolver's result: `data` is its JSON, or `None` when it has none that the type allows.
pub fn resolved_body(plan: &Plan, data: Option<&[u8]>, errors: &[FieldError], meta: &Meta<'_>) -> Bytes {
    let mut out = Vec::with_capacity(192 + data.map_or(0, <[u8]>::len) + 128 * errors.len());
    match data {
        None if !plan.is_nullable() => out.extend_from_slice(br#"{"data":null"#),
        _ => {
            open_data(plan, &mut out);
            out.extend_from_slice(data.unwrap_or(b"null"));
            out.push(b'}');
        }
    }
    let mut entries = Vec::new();
    for error in errors {
        write_error(&error.message, &error.path, &error.code, &mut entries);
    }
    close(&entries, meta, &mut out);
    Bytes::from(out)
}

/// The body for a resolver that failed.
pub fn error_body(plan: &Plan, error: &FieldError, meta: &Meta<'_>) -> Bytes {
    resolved_body(plan, None, std::slice::from_ref(error), meta)
}

/// `{"data":{"orders":`
pub(super) fn open_data(plan: &Plan, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"data":{"#);
    out.extend_from_slice(&plan.key);
}

/// The errors, if any, and the extensions. `errors` are entries with a comma after each.
pub(super) fn close(errors: &[u8], meta: &Meta<'_>, out: &mut Vec<u8>) {
    if let Some(entries) = errors.strip_suffix(b",") {
        out.extend_from_slice(br#","errors":["#);
        out.extend_from_slice(entries);
        out.push(b']');
    }
    out.extend_from_slice(br#","extensions":{"rowcast":{"cursor":"#);
    match meta.cursor {
        "" => out.extend_from_slice(b"null"),
        cursor => json::write_string(cursor, out),
    }
    out.extend_from_slice(br#","operation":""#);
    out.extend_from_slice(meta.operation.name().as_bytes());
    out.extend_from_slice(br#"","committedAt":"#);
    json::write_moment(meta.committed_at, out);
    out.extend_from_slice(b"}}}");
}

/// One entry of `errors`, with a comma after it.
pub(super) fn write_error(message: &str, path: &[PathSegment], code: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"message":"#);
    json::write_string(message, out);
    out.extend_from_slice(br#","path":["#);
    for (index, segment) in path.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match segment {
            PathSegment::Key(key) => json::write_string(key, out),
            PathSegment::Index(index) => json::write_index(*index, out),
        }
    }
    out.extend_from_slice(br#"],"extensions":{"code":"#);
    json::write_string(code, out);
    out.extend_from_slice(b"}},");
}
