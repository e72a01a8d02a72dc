//! A GraphQL request, read from the JSON that a transport carries.
//!
//! Every transport reads its requests here, so that one request means the same on each of them. Numbers keep the digits
//! that the client wrote, a known key that comes twice is refused, an unknown key is passed over, and `null` is the
//! same as absent.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// A GraphQL request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The document.
    pub query: String,
    /// Which of its operations.
    #[serde(default)]
    pub operation_name: Option<String>,
    /// Values of its variables.
    #[serde(default)]
    pub variables: Option<Map<String, Value>>,
    /// Extensions that the client adds, such as a persisted query's hash.
    #[serde(default)]
    pub extensions: Option<Map<String, Value>>,
}

/// Why a text is not a request. It repeats nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestUnreadable {
    /// Not JSON, or a known key twice.
    #[error("the request is not JSON: {0}")]
    Json(String),
    /// JSON, but an array, a string, a number, a boolean or null.
    #[error("the request must be a JSON object with a `query`")]
    NotAnObject,
    /// A member that is missing or of the wrong kind.
    #[error("`{field}` must be {expected}")]
    Field {
        /// Its key.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    query: Option<&'a RawValue>,
    #[serde(borrow)]
    operation_name: Option<&'a RawValue>,
    #[serde(borrow)]
    variables: Option<&'a RawValue>,
    #[serde(borrow)]
    extensions: Option<&'a RawValue>,
}

const QUERY: RequestUnreadable = RequestUnreadable::Field { field: "query", expected: "a string" };
const VARIABLES: RequestUnreadable = RequestUnreadable::Field { field: "variables", expected: "an object or null" };
const OPERATION_NAME: RequestUnreadable =
    RequestUnreadable::Field { field: "operationName", expected: "a string or null" };
const EXTENSIONS: RequestUnreadable = RequestUnreadable::Field { field: "extensions", expected: "an object or null" };

impl Request {
    /// Reads one JSON object.
    pub fn parse(text: &str) -> Result<Self, RequestUnreadable> {
        let not_json = |error: serde_json::Error| RequestUnreadable::Json(error.to_string());
        // A derived struct would read an array as its fields in order.
        if !text.trim_start().starts_with('{') {
            let parsed = serde_json::from_str::<IgnoredAny>(text);
            return Err(parsed.map_or_else(not_json, |_| RequestUnreadable::NotAnObject));
        }
        let members: Members<'_> = serde_json::from_str(text).map_err(not_json)?;
        Ok(Request {
            query: members.query.and_then(|raw| string(raw.get())).ok_or(QUERY)?,
            operation_name: optional(members.operation_name.map(RawValue::get), string, OPERATION_NAME)?,
            variables: optional(members.variables.map(RawValue::get), map, VARIABLES)?,
            extensions: optional(members.extensions.map(RawValue::get), map, EXTENSIONS)?,
        })
    }

    /// The parts as a URL has them, where objects are JSON text.
    pub fn from_parts(
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
        extensions: Option<&str>,
    ) -> Result<Self, RequestUnreadable> {
        let variables = optional_or_null(variables, VARIABLES)?;
        Ok(Request { query, operation_name, variables, extensions: optional_or_null(extensions, EXTENSIONS)? })
    }

    /// The same request of an `EventSource` that connects again with what it has seen last.
    #[must_use]
    pub fn resumed(mut self, last_event_id: &str) -> Self {
        let given = self.extensions.get_or_insert_default().entry("rowcast").or_insert_with(|| json!({}));
        if !given.is_object() {
            *given = json!({});
        }
        given["lastEventId"] = json!(last_event_id);
        self
    }
}

fn optional<T>(
    text: Option<&str>,
    read: impl Fn(&str) -> Option<T>,
    wrong: RequestUnreadable,
) -> Result<Option<T>, RequestUnreadable> {
    text.map(|text| read(text).ok_or(wrong)).transpose()
}

/// A key of a JSON object that is null counts as absent before it comes here; text that is `null` does not.
fn optional_or_null(
    text: Option<&str>,
    wrong: RequestUnreadable,
) -> Result<Option<Map<String, Value>>, RequestUnreadable> {
    optional(text.filter(|text| text.trim() != "null"), map, wrong)
}

fn string(text: &str) -> Option<String> {
    serde_json::from_str(text).ok()
}

fn map(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}
