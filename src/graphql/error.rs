//! What can be wrong with a schema (the developer acts) and with a request (the client acts).

use serde::Serialize;

/// Why no schema could be built from the declarations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A field is bound to neither a table nor a topic, or to both.
    #[error("subscription field {field:?} must name either a table or a topic; give it exactly one of them")]
    Source {
        /// The field.
        field: String,
    },
    /// The table of a field is not in the catalog.
    #[error(
        "subscription field {field:?} names table {table:?}, which is not watched; \
         run `select rowcast.watch('{table}')` or correct the name"
    )]
    UnknownTable {
        /// The field.
        field: String,
        /// The table as declared.
        table: String,
    },
    /// Two fields have one name.
    #[error("two subscription fields are called {name:?}; give one of them another name with `name=`")]
    DuplicateField {
        /// The name.
        name: String,
    },
    /// A name that GraphQL does not allow.
    #[error("{name:?} ({place}) is not a GraphQL name: use letters, digits and _, no leading digit and no leading __")]
    InvalidName {
        /// The name.
        name: String,
        /// Where it stands.
        place: String,
    },
    /// An enum value that GraphQL does not allow.
    #[error("{value:?} is not a value of enum {name}: use a GraphQL name other than true, false and null")]
    InvalidEnumValue {
        /// The enum.
        name: String,
        /// The value.
        value: String,
    },
    /// Something that must have members has none.
    #[error("type {name} has no fields or values; GraphQL wants at least one")]
    EmptyType {
        /// The type.
        name: String,
    },
    /// One name for two different types.
    #[error("{first} and {second} both need a GraphQL type called {name}; rename one of them")]
    DuplicateType {
        /// The name.
        name: String,
        /// Which declaration defined it first.
        first: String,
        /// Which other declaration needs it.
        second: String,
    },
    /// One name for two members of a type.
    #[error("type {type_name} has two members called {name:?}; rename one of them")]
    DuplicateMember {
        /// The type.
        type_name: String,
        /// The name.
        name: String,
    },
    /// A text that is not a type reference.
    #[error("{text:?} ({place}) is not a type reference; write it as in GraphQL, such as OrderView or [OrderView!]!")]
    TypeReference {
        /// The reference.
        text: String,
        /// Where it stands.
        place: String,
    },
    /// A reference to a type that is not defined.
    #[error(
        "{place} refers to type {name}, which is not defined; it may be a scalar, the row type of a declared table, \
         or a type that the resolver brings"
    )]
    UnknownType {
        /// The type.
        name: String,
        /// Where the reference stands.
        place: String,
    },
    /// The finished schema was refused. Our own checks come first, so this shows a gap in them.
    #[error("the schema is not valid GraphQL; this is a defect of rowcast, please report it: {message}")]
    Refused {
        /// What the validator said.
        message: String,
    },
}

impl SchemaError {
    /// A stable code.
    pub fn code(&self) -> &'static str {
        match self {
            SchemaError::Source { .. } => "SCHEMA_FIELD_SOURCE",
            SchemaError::UnknownTable { .. } => "SCHEMA_UNKNOWN_TABLE",
            SchemaError::DuplicateField { .. } => "SCHEMA_DUPLICATE_FIELD",
            SchemaError::InvalidName { .. } => "SCHEMA_INVALID_NAME",
            SchemaError::InvalidEnumValue { .. } => "SCHEMA_INVALID_ENUM_VALUE",
            SchemaError::EmptyType { .. } => "SCHEMA_EMPTY_TYPE",
            SchemaError::DuplicateType { .. } => "SCHEMA_DUPLICATE_TYPE",
            SchemaError::DuplicateMember { .. } => "SCHEMA_DUPLICATE_MEMBER",
            SchemaError::TypeReference { .. } => "SCHEMA_TYPE_REFERENCE",
            SchemaError::UnknownType { .. } => "SCHEMA_UNKNOWN_TYPE",
            SchemaError::Refused { .. } => "SCHEMA_REFUSED",
        }
    }
}

/// The kinds of request errors. Those that graphql clients know by name keep that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RequestErrorKind {
    /// The text is not GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// A variable or an argument has a value that its type does not allow.
    BadUserInput,
    /// No operation, several without a name, or none of that name.
    OperationResolutionFailure,
    /// The schema has no such root type: mutations are the application's own.
    OperationNotSupported,
    /// A limit of [`Limits`](super::Limits).
    QueryTooLarge,
    /// Introspection is switched off.
    IntrospectionDisabled,
    /// The client sent a hash instead of a document.
    PersistedQueryNotSupported,
    /// A defect of ours.
    InternalServerError,
}

/// An error of the request as a whole, in the form that GraphQL responses have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
    extensions: Extensions,
}

/// A place in the document, both numbers from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The column in characters.
    pub column: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Extensions {
    code: RequestErrorKind,
}

impl RequestError {
    /// An error without a place.
    pub fn new(kind: RequestErrorKind, message: impl Into<String>) -> Self {
        RequestError { message: message.into(), locations: Vec::new(), extensions: Extensions { code: kind } }
    }

    /// The same, with a place if it is known.
    #[must_use]
    pub fn at(mut self, location: Option<Location>) -> Self {
        self.locations.extend(location);
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where in the document.
    pub fn locations(&self) -> &[Location] {
        &self.locations
    }

    /// Its kind.
    pub fn kind(&self) -> RequestErrorKind {
        self.extensions.code
    }

    /// A stable code, the same as in `extensions.code`.
    pub fn code(&self) -> &'static str {
        match self.extensions.code {
            RequestErrorKind::GraphqlParseFailed => "GRAPHQL_PARSE_FAILED",
            RequestErrorKind::GraphqlValidationFailed => "GRAPHQL_VALIDATION_FAILED",
            RequestErrorKind::BadUserInput => "BAD_USER_INPUT",
            RequestErrorKind::OperationResolutionFailure => "OPERATION_RESOLUTION_FAILURE",
            RequestErrorKind::OperationNotSupported => "OPERATION_NOT_SUPPORTED",
            RequestErrorKind::QueryTooLarge => "QUERY_TOO_LARGE",
            RequestErrorKind::IntrospectionDisabled => "INTROSPECTION_DISABLED",
            RequestErrorKind::PersistedQueryNotSupported => "PERSISTED_QUERY_NOT_SUPPORTED",
            RequestErrorKind::InternalServerError => "INTERNAL_SERVER_ERROR",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_a_graphql_error_and_its_code_is_the_one_it_serializes() {
        let error = RequestError::new(RequestErrorKind::GraphqlParseFailed, "no \"x\"")
            .at(Some(Location { line: 1, column: 3 }));
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"message":"no \"x\"","locations":[{"line":1,"column":3}],"extensions":{"code":"GRAPHQL_PARSE_FAILED"}}"#
        );
        for kind in [
            RequestErrorKind::GraphqlParseFailed,
            RequestErrorKind::GraphqlValidationFailed,
            RequestErrorKind::BadUserInput,
            RequestErrorKind::OperationResolutionFailure,
            RequestErrorKind::OperationNotSupported,
            RequestErrorKind::QueryTooLarge,
            RequestErrorKind::IntrospectionDisabled,
            RequestErrorKind::PersistedQueryNotSupported,
            RequestErrorKind::InternalServerError,
        ] {
            let error = RequestError::new(kind, "");
            assert_eq!(serde_json::to_value(kind).unwrap(), error.code());
            assert_eq!(error.kind(), kind);
        }
    }
}
