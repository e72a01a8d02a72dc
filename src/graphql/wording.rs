//! The validator's findings in graphql-js's words (version 17).
//!
//! The validator has most of these words itself, for the version it follows; what is here are the differences, found
//! and guarded by the differential test. Each reads the names out of the validator's message, whose form is pinned with
//! its version.

use apollo_compiler::validation::DiagnosticList;
use apollo_compiler::{ExecutableDocument, Schema};

use super::error::{Location, RequestError, RequestErrorKind};

/// As many errors as graphql-js reports at most.
const ERRORS_MAX: usize = 50;

/// What was found in `document`, without what only follows from something else that was found.
pub(super) fn validation_errors(
    schema: &Schema,
    document: &ExecutableDocument,
    errors: &DiagnosticList,
) -> Vec<RequestError> {
    let findings: Vec<_> =
        errors.iter().map(|e| (e.error.unstable_error_name(), e.unstable_to_json_compat())).collect();
    let follows = |name: Option<&str>| match name {
        // A field that is not there was cut out, and left an empty selection.
        Some("MissingSubselection") => findings.iter().any(|(name, _)| *name != Some("MissingSubselection")),
        // Two fields under one key: that their types differ too is no news.
        Some("ConflictingFieldType") => findings.iter().any(|(name, _)| *name == Some("ConflictingFieldName")),
        _ => false,
    };
    findings
        .iter()
        .filter(|(name, _)| !follows(*name))
        .take(ERRORS_MAX)
        .map(|(name, json)| {
            let location = json.locations.first().map(|at| Location { line: at.line, column: at.column });
            finding(schema, document, name.unwrap_or_default(), &json.message).at(location)
        })
        .collect()
}

fn finding(schema: &Schema, document: &ExecutableDocument, name: &str, message: &str) -> RequestError {
    if name == "UndefinedRootOperation" {
        let operation = quoted(message, 0);
        let message = format!("Schema is not configured to execute {operation} operation.");
        return RequestError::new(RequestErrorKind::OperationNotSupported, message);
    }
    let reworded = reword(schema, document, name, message).unwrap_or_else(|| message.to_owned());
    RequestError::new(RequestErrorKind::GraphqlValidationFailed, reworded)
}

fn reword(schema: &Schema, document: &ExecutableDocument, name: &str, message: &str) -> Option<String> {
    let (first, second, third) = (quoted(message, 0), quoted(message, 1), quoted(message, 2));
    Some(match name {
        "MissingSubselection" => {
            let field = schema.type_field(second, first).ok()?;
            let hint = format!("Did you mean \"{first} {{ ... }}\"?");
            format!("Field \"{first}\" of type \"{}\" must have a selection of subfields. {hint}", field.ty)
        }
        "SubselectionOnScalarType" | "SubselectionOnEnumType" => format!("{message}."),
        "ConflictingFieldType" => message.replacen(" and \"", "\" and \"", 1),
        "SubscriptionUsesConditionalSelection" => {
            let (subject, _) = message.split_once(" can not ")?;
            format!("{subject} must not use `@skip` or `@include` directives in the top level selection.")
        }
        "RecursiveFragmentDefinition" => cycle(message, first),
        "UndefinedInputValue" => {
            format!("Expected value of type \"{second}\" not to include unknown field \"{first}\".")
        }
        "RequiredArgument" if message.starts_with("Directive") => {
            format!("Argument \"{first}({second}:)\" of type \"{third}\" is required, but it was not provided.")
        }
        "UnsupportedValueType" => value(document, message)?,
        _ => return None,
    })
}

/// The validator tells the way back to the fragment, beginning with its name.
fn cycle(message: &str, fragment: &str) -> String {
    let way: Vec<_> = message.split_once(" via ").map_or("", |(_, way)| way).split(", ").skip(1).collect();
    let way: Vec<_> = way.into_iter().rev().collect();
    let via = if way.is_empty() { String::new() } else { format!(" via {}", way.join(", ")) };
    format!("Cannot spread fragment \"{fragment}\" within itself{via}.")
}

fn value(document: &ExecutableDocument, message: &str) -> Option<String> {
    let (expected, value) = message.split_once(" cannot represent value: ")?;
    if let Some(variable) = value.strip_prefix('$') {
        let mut variables = document.operations.iter().flat_map(|operation| &operation.variables);
        let given = &variables.find(|definition| definition.name == variable)?.ty;
        return Some(format!(
            "Variable \"${variable}\" of type \"{given}\" used in position expecting type \"{expected}\"."
        ));
    }
    let kind = match expected {
        "Int" => "non-integer",
        "Float" => "non numeric",
        "String" => "a non string",
        "Boolean" => "a non boolean",
        _ => return None,
    };
    Some(format!("{expected} cannot represent {kind} value: {value}"))
}

/// The text between the quotes of a message, the first pair being 0.
fn quoted(message: &str, pair: usize) -> &str {
    message.split('"').nth(2 * pair + 1).unwrap_or_default()
}
