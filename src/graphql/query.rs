//! Queries: the introspection of the schema, `rowcast { version }`, and `_service { sdl }` of a federated graph.

use apollo_compiler::Node;
use apollo_compiler::collections::HashMap;
use apollo_compiler::executable::{Field, Operation};
use apollo_compiler::introspection::check_max_depth;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::{JsonMap, JsonValue};
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Name, Schema};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::coerce;
use super::error::{RequestError, RequestErrorKind};
use super::one_of;

/// The first field that describes the schema: `__schema`, `__type` or `_service`.
pub(super) fn introspection<'d>(document: &'d ExecutableDocument, operation: &'d Operation) -> Option<&'d Node<Field>> {
    let is_told = |field: &&Node<Field>| matches!(field.name.as_str(), "__schema" | "__type" | "_service");
    operation.root_fields(document).find(is_told)
}

/// The same while introspection is switched off.
pub(super) fn refuse_introspection(document: &ExecutableDocument, operation: &Operation) -> Result<(), RequestError> {
    let Some(field) = introspection(document, operation) else { return Ok(()) };
    let message = format!(
        "GraphQL introspection has been disabled, but the requested query contained the field \"{}\".",
        field.name
    );
    let location = coerce::location(field.location(), &document.sources);
    Err(RequestError::new(RequestErrorKind::IntrospectionDisabled, message).at(location))
}

/// The response to a query.
pub(super) fn execute(
    schema: &Valid<Schema>,
    implementers: &HashMap<Name, Implementers>,
    document: &Valid<ExecutableDocument>,
    operation: &Operation,
    variables: &Map<String, Value>,
    subgraph: Option<&str>,
) -> Result<Bytes, RequestError> {
    let refused = |error: apollo_compiler::request::RequestError| {
        let location = coerce::location(error.location(), &document.sources);
        RequestError::new(RequestErrorKind::QueryTooLarge, error.message().to_string()).at(location)
    };
    check_max_depth(document, operation).map_err(refused)?;
    let variables: JsonMap =
        variables.iter().map(|(name, value)| (name.as_str().into(), JsonValue::from(value.clone()))).collect();
    let with_kinds = one_of::with_kinds(schema, document);
    let document = with_kinds.as_ref().unwrap_or(document);
    let operation = document.operations.get(operation.name.as_deref()).map_err(refused)?;
    let mut response = Execution::new(schema, document)
        .implementers_map(implementers)
        .operation(operation)
        .coerced_variable_values(&Valid::assume_valid(variables))
        .enable_schema_introspection(true)
        .execute_sync(&Query { subgraph })
        .map_err(refused)?;
    if with_kinds.is_some() {
        response.data = response.data.map(one_of::answer);
    }
    serde_json::to_vec(&response)
        .map(Bytes::from)
        .map_err(|error| RequestError::new(RequestErrorKind::InternalServerError, error.to_string()))
}

struct Query<'s> {
    subgraph: Option<&'s str>,
}

impl ObjectValue for Query<'_> {
    fn type_name(&self) -> &'static str {
        "Query"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match (info.field_name(), self.subgraph) {
            ("rowcast", _) => Ok(ResolvedValue::object(Rowcast)),
            ("_service", Some(sdl)) => Ok(ResolvedValue::object(Service { sdl })),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

struct Service<'s> {
    sdl: &'s str,
}

impl ObjectValue for Service<'_> {
    fn type_name(&self) -> &'static str {
        "_Service"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "sdl" => Ok(ResolvedValue::leaf(self.sdl)),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

struct Rowcast;

impl ObjectValue for Rowcast {
    fn type_name(&self) -> &'static str {
        "Rowcast"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "version" => Ok(ResolvedValue::leaf(env!("CARGO_PKG_VERSION"))),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
