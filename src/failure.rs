//! Why an operation did not start or could not go on, in the form that its client receives.

use serde_json::{Value, json};

use crate::graphql::RequestError;
use crate::journal::Origin;
use crate::predicate::PredicateError;

/// Whole seconds after which it is worth to try again; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter(pub(crate) u64);

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
    },
    /// `GAP`: the stream was lost, and another one began.
    Gap {
        /// What is wrong and what to do.
        message: String,
        /// The history of what its reader received, which may not be the one that is followed now.
        told_in: Origin,
    },
    /// `RATE_LIMITED`: too much at once.
    RateLimited {
        /// What came too often.
        message: String,
        /// Whole seconds after which it is worth to try again.
        retry_after_s: u64,
    },
}

impl Failure {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Failure::Coded { code, message: message.into() }
    }

    pub(crate) fn rate_limited(what: &str, RetryAfter(retry_after_s): RetryAfter) -> Self {
        let message = format!("too many {what} at once: try again in {retry_after_s} s");
        Failure::RateLimited { message, retry_after_s }
    }

    pub(crate) fn entities_unsupported() -> Self {
        Failure::new(
            "ENTITIES_UNSUPPORTED",
            "this engine has no database to give rows from: resolve entities elsewhere",
        )
    }

    /// The stable code of the first error.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Request(errors) => errors.first().map_or("REQUEST_REFUSED", RequestError::code),
            Failure::Coded { code, .. } => code,
            Failure::Gap { .. } => "GAP",
            Failure::RateLimited { .. } => "RATE_LIMITED",
        }
    }

    /// A JSON array of GraphQL errors.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    /// The same, each with the cursor at which the operation stood.
    pub(crate) fn to_json_at(&self, cursor: &str) -> String {
        let mut errors = self.to_value();
        for error in errors.as_array_mut().into_iter().flatten() {
            error["extensions"]["rowcast"] = json!({ "cursor": cursor });
        }
        errors.to_string()
    }

    /// The history of the reader's last cursor, where that may not be the one that is followed now.
    pub(crate) fn told_in(&self) -> Option<Origin> {
        match self {
            Failure::Gap { told_in, .. } => Some(*told_in),
            Failure::Request(_) | Failure::Coded { .. } | Failure::RateLimited { .. } => None,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Failure::Request(errors) => json!(errors),
            Failure::Coded { message, .. } | Failure::Gap { message, .. } => {
                json!([{ "message": message, "extensions": { "code": self.code() } }])
            }
            Failure::RateLimited { message, retry_after_s } => {
                let extensions = json!({ "code": self.code(), "retryAfter": retry_after_s });
                json!([{ "message": message, "extensions": extensions }])
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
            Failure::Coded { message, .. } | Failure::Gap { message, .. } | Failure::RateLimited { message, .. } => {
                f.write_str(message)
            }
        }
    }
}

impl From<Vec<RequestError>> for Failure {
    fn from(errors: Vec<RequestError>) -> Self {
        Failure::Request(errors)
    }
}

impl From<PredicateError> for Failure {
    fn from(error: PredicateError) -> Self {
        Failure::new(error.code(), error.to_string())
    }
}
