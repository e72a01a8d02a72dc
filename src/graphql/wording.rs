//! The validator's findings in graphql-js's words (version 17).
//!
//! The validator has most of these words itself, for the version it follows; what is here are the differences, found
//! and guarded by the differential test. Each reads the names out of the validator's message, whose form is pinned with
//! its version.

use apollo_compiler::schema::InputObjectType;
use apollo_compiler::validation::DiagnosticList;
use apollo_compiler::{ExecutableDocument, Name, Schema};

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
        // Two fields under one key: that their types differ too adds nothing.
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
        "UndefinedInputValue" => unknown_field(schema.get_input_object(second)?, first),
        "RequiredArgument" if message.starts_with("Directive") => {
            format!("Argument \"{first}({second}:)\" of type \"{third}\" is required, but it was not provided.")
        }
        "UnsupportedValueType" => value(document, message)?,
        _ => return None,
    })
}

/// That an input object has no field `name`, and which of its fields may be meant.
pub(super) fn unknown_field(input: &InputObjectType, name: &str) -> String {
    let of = &input.name;
    let hint = did_you_mean(name, input.fields.keys().map(Name::as_str));
    format!("Expected value of type \"{of}\" not to include unknown field \"{name}\".{hint}")
}

/// As alike as this a name may be meant: `equals` is to `eq` (0.78) as `titel` to `title`, and `equals` not to `neq`.
const ALIKE: f64 = 0.7;
/// As many suggestions as graphql-js makes at most.
const SUGGESTIONS_MAX: usize = 5;

/// The names that are most like `name`, as a question.
fn did_you_mean<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let alike = names.map(|other| (strsim::jaro(name, other), other)).filter(|(likeness, _)| *likeness > ALIKE);
    let mut alike: Vec<_> = alike.collect();
    alike.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let names: Vec<_> = alike.iter().take(SUGGESTIONS_MAX).map(|(_, name)| format!("\"{name}\"")).collect();
    match names.as_slice() {
        [] => String::new(),
        [only] => format!(" Did you mean {only}?"),
        [one, other] => format!(" Did you mean {one} or {other}?"),
        [first @ .., last] => format!(" Did you mean {}, or {last}?", first.join(", ")),
    }
}

/// The validator lists the path back to the fragment, beginning with its name.
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

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn the_names_that_may_be_meant_are_suggested_and_no_others() {
        let operators = ["eq", "neq", "gt", "gte", "lt", "lte", "in", "nin", "isNull"];
        let suggested = |name: &str| did_you_mean(name, operators.into_iter());
        assert_eq!(suggested("equals"), " Did you mean \"eq\"?");
        assert_eq!(suggested("isnull"), " Did you mean \"isNull\" or \"in\"?");
        assert_eq!(suggested("not_in"), "");
        assert_eq!(suggested("ltt"), " Did you mean \"lt\" or \"lte\"?");
        assert_eq!(suggested("xyz"), "");
    }
}
