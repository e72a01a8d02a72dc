//! Values of variables and arguments in their canonical form (specification, sections 6.1.2 and 6.4.1).
//!
//! What is wrong is said in the words of graphql-js, with the path inside the value and the place in the document.

use std::fmt::Write;

use apollo_compiler::ast::{Type, Value as Literal};
use apollo_compiler::executable::{Field, Operation};
use apollo_compiler::parser::{SourceMap, SourceSpan};
use apollo_compiler::schema::{EnumType, ExtendedType, InputObjectType};
use apollo_compiler::{ExecutableDocument, Name, Node, Schema};
use serde_json::{Map, Value};

use super::error::{Location, RequestError, RequestErrorKind};
use super::limits::{Budget, Limits, too_large};
use super::scalar::{Scalar, shown};
use super::wording;

/// The operation's variables, each in the form of its type; variables without a value or default are absent.
pub(super) fn variables(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Operation,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<RequestError>> {
    let mut coerced = Map::new();
    let mut errors = Vec::new();
    for definition in &operation.variables {
        let name = definition.name.as_str();
        let value = match (given.get(name), &definition.default_value) {
            (Some(value), _) => coerce(schema, &definition.ty, value.clone()).map(Some),
            (None, Some(default)) => argument_value(schema, &definition.ty, default, &Map::new()),
            (None, None) if definition.ty.is_non_null() => {
                Err(Problem::new(format!("Expected a value of non-null type \"{}\" to be provided.", definition.ty)))
            }
            (None, None) => Ok(None),
        };
        match value {
            Ok(value) => coerced.extend(value.map(|value| (name.to_owned(), value))),
            Err(problem) => {
                errors.push(problem.error(&format!("Variable \"${name}\""), definition.location(), &document.sources));
            }
        }
    }
    if errors.is_empty() { Ok(coerced) } else { Err(errors) }
}

/// The argument `name` of `field`, which is one of type `parent`; `None` when it was not given.
pub(super) fn argument(
    schema: &Schema,
    limits: &Limits,
    document: &ExecutableDocument,
    (parent, field): (&str, &Field),
    name: &str,
    variables: &Map<String, Value>,
) -> Result<Option<Value>, RequestError> {
    let given = field.arguments.iter().find(|argument| argument.name == name);
    let definition = field.definition.argument_by_name(name);
    let (Some(given), Some(definition)) = (given, definition) else { return Ok(None) };
    check_expansion(limits, name, &given.value, variables)
        .map_err(|error| error.at(location(given.value.location(), &document.sources)))?;
    argument_value(schema, &definition.ty, &given.value, variables).map_err(|problem| {
        let place = format!("Argument \"{parent}.{}({name}:)\"", field.name);
        problem.error(&place, given.value.location(), &document.sources)
    })
}

/// A value from outside in the form of the output type that has it; what is wrong with it in words.
pub(super) fn as_output(schema: &Schema, expected: &Type, value: &Value) -> Result<Value, String> {
    coerce(schema, expected, value.clone()).map_err(|problem| problem.message)
}

/// Before anything is built: `{OR: [$v, $v, …]}` stands for thousands of times the text of its one variable.
fn check_expansion(
    limits: &Limits,
    name: &str,
    literal: &Literal,
    variables: &Map<String, Value>,
) -> Result<(), RequestError> {
    if pays_for(&mut Budget(limits.values_bytes_max), literal, variables) {
        return Ok(());
    }
    let most = limits.values_bytes_max;
    Err(too_large(format!("The argument \"{name}\" takes more than {most} bytes with its variables put in.")))
}

/// What stands in the document itself is bounded by the document.
fn pays_for(budget: &mut Budget, literal: &Literal, variables: &Map<String, Value>) -> bool {
    match literal {
        Literal::Variable(name) => variables.get(name.as_str()).is_none_or(|value| budget.pays_for(value)),
        Literal::List(items) => items.iter().all(|item| pays_for(budget, item, variables)),
        Literal::Object(members) => members.iter().all(|(_, member)| pays_for(budget, member, variables)),
        Literal::Null
        | Literal::Enum(_)
        | Literal::String(_)
        | Literal::Boolean(_)
        | Literal::Int(_)
        | Literal::Float(_) => true,
    }
}

/// The place of `span` in the document.
pub(super) fn location(span: Option<SourceSpan>, sources: &SourceMap) -> Option<Location> {
    span?.line_column(sources).map(|at| Location { line: at.line, column: at.column })
}

/// What is wrong with a value, and where inside it.
struct Problem {
    /// Outermost last.
    path: Vec<Step>,
    message: String,
}

enum Step {
    Field(String),
    Index(usize),
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Problem { path: Vec::new(), message: message.into() }
    }

    fn under(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    fn error(&self, place: &str, span: Option<SourceSpan>, sources: &SourceMap) -> RequestError {
        let mut message = format!("{place} has invalid value");
        for (index, step) in self.path.iter().rev().enumerate() {
            message.push_str(if index == 0 { " at " } else { "" });
            // Writing to a String does not fail.
            let _ = match step {
                Step::Field(name) => write!(message, ".{name}"),
                Step::Index(index) => write!(message, "[{index}]"),
            };
        }
        let message = format!("{message}: {}", self.message);
        RequestError::new(RequestErrorKind::BadUserInput, message).at(location(span, sources))
    }
}

fn coerce(schema: &Schema, expected: &Type, value: Value) -> Result<Value, Problem> {
    match (expected, value) {
        (Type::NonNullNamed(_) | Type::NonNullList(_), Value::Null) => {
            Err(Problem::new(format!("Expected value of non-null type \"{expected}\" not to be null.")))
        }
        (_, Value::Null) => Ok(Value::Null),
        (Type::List(item) | Type::NonNullList(item), Value::Array(values)) => {
            let each = values.into_iter().enumerate();
            let each = each.map(|(at, value)| coerce(schema, item, value).map_err(|p| p.under(Step::Index(at))));
            each.collect::<Result<_, _>>().map(Value::Array)
        }
        (Type::List(item) | Type::NonNullList(item), value) => Ok(Value::Array(vec![coerce(schema, item, value)?])),
        (Type::Named(name) | Type::NonNullNamed(name), value) => coerce_named(schema, name, value),
    }
}

fn coerce_named(schema: &Schema, name: &str, value: Value) -> Result<Value, Problem> {
    match schema.types.get(name) {
        Some(ExtendedType::InputObject(input)) => coerce_object(schema, input, value),
        Some(ExtendedType::Enum(values)) => coerce_enum(values, value),
        _ => Scalar::from_name(name).unwrap_or(Scalar::Json).coerce(&value).map_err(Problem::new),
    }
}

fn coerce_object(schema: &Schema, input: &InputObjectType, value: Value) -> Result<Value, Problem> {
    let name = &input.name;
    let Value::Object(given) = value else {
        let found = shown(&value);
        return Err(Problem::new(format!("Expected value of type \"{name}\" to be an object, found: {found}.")));
    };
    let mut coerced = Map::new();
    for (key, value) in given {
        let Some(field) = input.fields.get(key.as_str()) else {
            return Err(Problem::new(wording::unknown_field(input, &key)));
        };
        let value = coerce(schema, &field.ty, value).map_err(|problem| problem.under(Step::Field(key.clone())))?;
        coerced.insert(key, value);
    }
    Ok(Value::Object(coerced))
}

fn coerce_enum(definition: &EnumType, value: Value) -> Result<Value, Problem> {
    let name = &definition.name;
    match &value {
        Value::String(text) if definition.values.contains_key(text.as_str()) => Ok(value),
        Value::String(_) => Err(Problem::new(format!("Value {} does not exist in \"{name}\" enum.", shown(&value)))),
        _ => Err(Problem::new(format!("Enum \"{name}\" cannot represent non-string value: {}.", shown(&value)))),
    }
}

/// A literal with its variables put in; `None` when it is a variable that has no value.
fn argument_value(
    schema: &Schema,
    expected: &Type,
    literal: &Literal,
    variables: &Map<String, Value>,
) -> Result<Option<Value>, Problem> {
    match json(literal, variables) {
        Some(value) => coerce(schema, expected, value).map(Some),
        None if expected.is_non_null() => coerce(schema, expected, Value::Null).map(Some),
        None => Ok(None),
    }
}

/// The literal as JSON, for `coerce` to judge.
fn json(literal: &Literal, variables: &Map<String, Value>) -> Option<Value> {
    Some(match literal {
        Literal::Null => Value::Null,
        Literal::Variable(name) => return variables.get(name.as_str()).cloned(),
        Literal::Enum(name) => Value::from(name.as_str()),
        Literal::String(text) => Value::from(text.as_str()),
        Literal::Boolean(value) => Value::from(*value),
        Literal::Int(number) => digits(number.as_str()),
        Literal::Float(number) => digits(number.as_str()),
        // A list item that is a variable without a value is null.
        Literal::List(items) => items.iter().map(|literal| json(literal, variables).unwrap_or(Value::Null)).collect(),
        Literal::Object(members) => {
            let member = |(name, literal): &(Name, Node<Literal>)| Some((name.to_string(), json(literal, variables)?));
            Value::Object(members.iter().filter_map(member).collect())
        }
    })
}

fn digits(number: &str) -> Value {
    serde_json::from_str(number).unwrap_or_else(|_| Value::from(number))
}
