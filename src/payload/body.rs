//! The parts of a body that every event has, and the bodies of resolvers' results.

use std::sync::Arc;

use bytes::Bytes;

use super::json;
use crate::graphql::Plan;
use crate::model::{Event, Timestamp};

/// How every body of an event ends: `extensions.rowcast`, `extensions`, the body.
pub(super) const EXTENSIONS_END: &[u8] = b"}}}";

/// The body of one event, shared by all subscriptions that get the same bytes. Cloning it copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The whole payload; of a plan for transactions what stands in their list.
    pub(super) json: Bytes,
    /// What is wrong in a list's item; a whole payload has its errors inside.
    pub(super) errors: Option<Arc<[FieldError]>>,
}

impl Body {
    /// Bytes that it keeps alive, nearly.
    #[allow(clippy::len_without_is_empty)] // none is empty
    pub fn len(&self) -> usize {
        self.json.len() + self.errors.as_ref().map_or(0, |errors| errors.len() * size_of::<FieldError>())
    }

    /// Its JSON.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// A whole payload that is there already.
    pub fn whole(json: impl Into<Bytes>) -> Self {
        Body { json: json.into(), errors: None }
    }

    pub(super) fn change(json: Bytes, errors: Vec<FieldError>) -> Self {
        Body { json, errors: (!errors.is_empty()).then(|| errors.into()) }
    }
}

/// The event's metadata in `extensions.rowcast`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta<'a> {
    /// The cursor to resume from; empty inside a snapshot, where a client cannot resume.
    pub cursor: &'a str,
    /// The kind of change, or `TRANSACTION`.
    pub operation: &'static str,
    /// The commit's time.
    pub committed_at: Timestamp,
}

impl<'a> Meta<'a> {
    /// Of `event`, at `cursor`.
    pub fn of(event: &Event, cursor: &'a str) -> Self {
        Meta { cursor, operation: event.operation().name(), committed_at: event.committed_at }
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
pub fn resolved_body(plan: &Plan, data: Option<&[u8]>, errors: Vec<FieldError>, meta: &Meta<'_>) -> Body {
    if plan.transaction.is_some() {
        return Body::change(Bytes::copy_from_slice(data.unwrap_or(b"null")), errors);
    }
    let mut out = Vec::with_capacity(192 + data.map_or(0, <[u8]>::len) + 128 * errors.len());
    match data {
        None if !plan.is_nullable() => out.extend_from_slice(br#"{"data":null"#),
        _ => {
            open_data(plan, &mut out);
            out.extend_from_slice(data.unwrap_or(b"null"));
            out.push(b'}');
        }
    }
    close(&errors, meta, &mut out);
    Body::whole(out)
}

/// The body for a resolver that failed.
pub fn error_body(plan: &Plan, error: FieldError, meta: &Meta<'_>) -> Body {
    resolved_body(plan, None, vec![error], meta)
}

/// `{"data":{"orders":`
pub(super) fn open_data(plan: &Plan, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"data":{"#);
    out.extend_from_slice(&plan.key);
}

/// The errors, if any, and the extensions.
pub(super) fn close(errors: &[FieldError], meta: &Meta<'_>, out: &mut Vec<u8>) {
    for (index, error) in errors.iter().enumerate() {
        out.extend_from_slice(if index == 0 { br#","errors":["# } else { b"," });
        write_error(error, out);
    }
    if !errors.is_empty() {
        out.push(b']');
    }
    out.extend_from_slice(br#","extensions":{"rowcast":{"cursor":"#);
    match meta.cursor {
        "" => out.extend_from_slice(b"null"),
        cursor => json::write_string(cursor, out),
    }
    out.extend_from_slice(br#","operation":""#);
    out.extend_from_slice(meta.operation.as_bytes());
    out.extend_from_slice(br#"","committedAt":"#);
    json::write_moment(meta.committed_at, out);
    out.extend_from_slice(EXTENSIONS_END);
}

/// One entry of `errors`.
fn write_error(error: &FieldError, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"message":"#);
    json::write_string(&error.message, out);
    out.extend_from_slice(br#","path":["#);
    for (index, segment) in error.path.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match segment {
            PathSegment::Key(key) => json::write_string(key, out),
            PathSegment::Index(index) => json::write_index(*index, out),
        }
    }
    out.extend_from_slice(br#"],"extensions":{"code":"#);
    json::write_string(&error.code, out);
    out.extend_from_slice(b"}}");
}
