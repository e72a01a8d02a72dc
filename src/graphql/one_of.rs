//! `__Type.isOneOf` of the specification's September 2025 edition (section 4.2.2), which apollo-compiler does not
//! resolve.
//!
//! The query is executed with `kind` in its place, under a marked response key, and the marks in the response are then
//! replaced: `false` for an input object, since no schema of ours has a `@oneOf`, and `null` for all other types.

use apollo_compiler::ast::{DirectiveList, FieldDefinition, Type};
use apollo_compiler::executable::{Field, Selection, SelectionSet};
use apollo_compiler::response::{JsonMap, JsonValue};
use apollo_compiler::schema::{Component, ExtendedType};
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Name, Node, Schema, name};

const TYPE: Name = name!("__Type");
const KIND: Name = name!("kind");
const IS_ONE_OF: Name = name!("isOneOf");

/// Clients do not use response keys that begin with two underscores and this word.
const MARK: &str = "__isOneOf_";

/// Adds the field to the schema.
pub(super) fn define(schema: Valid<Schema>) -> Valid<Schema> {
    let mut schema = schema.into_inner();
    if let Some(ExtendedType::Object(of_types)) = schema.types.get_mut(&TYPE) {
        let field = FieldDefinition {
            description: None,
            name: IS_ONE_OF,
            arguments: Vec::new(),
            ty: Type::Named(name!("Boolean")),
            directives: DirectiveList::default(),
        };
        of_types.make_mut().fields.insert(IS_ONE_OF, Component::new(field));
    }
    Valid::assume_valid(schema)
}

/// The document to execute in place of one that selects the field; `None` where none does.
pub(super) fn with_kinds(schema: &Schema, document: &ExecutableDocument) -> Option<Valid<ExecutableDocument>> {
    let kind = schema.type_field(&TYPE, &KIND).ok()?.node.clone();
    let mut document = document.clone();
    let mut marked = false;
    for operation in document.operations.anonymous.iter_mut().chain(document.operations.named.values_mut()) {
        marked |= mark(&kind, &mut operation.make_mut().selection_set);
    }
    for fragment in document.fragments.values_mut() {
        marked |= mark(&kind, &mut fragment.make_mut().selection_set);
    }
    marked.then(|| Valid::assume_valid(document))
}

/// Whether there was one to mark.
fn mark(kind: &Node<FieldDefinition>, selected: &mut SelectionSet) -> bool {
    let of_type = selected.ty == TYPE;
    let mut marked = false;
    for selection in &mut selected.selections {
        marked |= match selection {
            Selection::Field(field) if of_type && field.name == IS_ONE_OF => {
                replace(kind, field.make_mut());
                true
            }
            Selection::Field(field) => mark(kind, &mut field.make_mut().selection_set),
            Selection::InlineFragment(fragment) => mark(kind, &mut fragment.make_mut().selection_set),
            Selection::FragmentSpread(_) => false,
        };
    }
    marked
}

fn replace(kind: &Node<FieldDefinition>, field: &mut Field) {
    field.alias = Name::new(&format!("{MARK}{}", field.response_key())).ok();
    field.name = KIND;
    field.definition = kind.clone();
}

/// Replaces the marks in a response.
pub(super) fn answer(data: JsonMap) -> JsonMap {
    data.into_iter()
        .map(|(key, value)| match key.as_str().strip_prefix(MARK) {
            Some(asked) => (asked.into(), is_one_of(&value)),
            None => (key, answer_within(value)),
        })
        .collect()
}

fn answer_within(value: JsonValue) -> JsonValue {
    match value {
        JsonValue::Object(map) => JsonValue::Object(answer(map)),
        JsonValue::Array(list) => JsonValue::Array(list.into_iter().map(answer_within).collect()),
        leaf => leaf,
    }
}

fn is_one_of(kind: &JsonValue) -> JsonValue {
    if kind.as_str() == Some("INPUT_OBJECT") { JsonValue::Bool(false) } else { JsonValue::Null }
}
