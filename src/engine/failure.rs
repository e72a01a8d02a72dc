//! Why an operation did not start or could not go on, in the form that its client is told.

use serde_json::json;

use crate::graphql::RequestError;
use crate::predicate::PredicateError;
use crate::security::Refusal;

/// The errors of one operation. Never empty.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The document, its variables or its limits.
    Request(Vec<RequestError>),
    /// Anything else, with a stable code.
    Coded {
        /// Stable, in upper case.
        code: &'static str,
        /// What is wrong and what to do.
        message: String,
        /// The first event that was not told, when events were being told.
        cursor: Option<String>,
    },
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Failure::Coded { code, message: message.into(), cursor: None }
    }

    /// The same, with the event from which nothing was told.
    pub(super) fn with_cursor(self, cursor: &str) -> Self {
        match self {
            Failure::Coded { code, message, .. } => Failure::Coded { code, message, cursor: Some(cursor.to_owned()) },
            Failure::Request(errors) => Failure::Request(errors),
        }
    }

    /// The stable code of the first error.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Request(errors) => errors.first().map_or("REQUEST_REFUSED", RequestError::code),
            Failure::Coded { code, .. } => code,
        }
    }

    /// A JSON array of GraphQL errors.
    pub fn to_json(&self) -> String {
        match self {
            Failure::Request(errors) => json!(errors).to_string(),
            Failure::Coded { code, message, cursor: None } => {
                json!([{ "message": message, "extensions": { "code": code } }]).to_string()
            }
            Failure::Coded { code, message, cursor: Some(cursor) } => {
                let extensions = json!({ "code": code, "rowcast": { "cursor": cursor } });
                json!([{ "message": message, "extensions": extensions }]).to_string()
            }
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Request(errors) => {
                let messages: Vec<_> = errors.iter().map(RequestError::message).collect();
                f.write_str(&messages.join("; "))
            }
            Failure::Coded { message, .. } => f.write_str(message),
        }
    }
}

impl From<Vec<RequestError>> for Failure {
    fn from(errors: Vec<RequestError>) -> Self {
        Failure::Request(errors)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::new(refusal.code(), refusal.to_string())
    }
}

impl From<PredicateError> for Failure {
    fn from(error: PredicateError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}
