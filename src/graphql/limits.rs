//! How large a request may be, judged before anything is expanded.
//!
//! A document of a few hundred bytes can stand for billions of fields, by fragments that spread fragments. So its
//! expanded size is computed first, in time linear to its text, with saturating numbers; validation and planning run
//! only on what passed. The same holds for values: a variable may be named thousands of times in one argument, and a
//! parsed variable takes up to a hundred times its text.

use std::collections::HashMap;

use apollo_compiler::ast::{Definition, Document, OperationType, Selection};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{RequestError, RequestErrorKind};

/// Limits of one request, as `Settings.request` has them. Worst case of work: `fields_max` selections in the plan, and
/// for a query `introspection_lists_max` passes over a list of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the document's text.
    pub query_bytes_max: usize,
    /// Tokens of the document.
    pub tokens_max: usize,
    /// Nesting of selections, values and types; at most [`DEPTH_MOST`].
    pub depth_max: usize,
    /// Fields of one operation with every fragment spread out; aliases count as fields.
    pub fields_max: usize,
    /// Lists of the introspection schema (`types`, `fields`, …) that one query reads, fragments spread out. The
    /// introspection query of graphql-js reads nine.
    pub introspection_lists_max: usize,
    /// Bytes that the values sent with a request may take once parsed, by estimate, and that one argument may take with
    /// its variables put in. A live subscription keeps its values, so a connection holds at most `operations_max` times
    /// this.
    pub values_bytes_max: usize,
    /// Bytes that the parsed documents kept for reuse may hold, by estimate.
    pub cache_bytes_max: usize,
}

/// The deepest nesting that can be allowed: a thread with a stack of 2 MiB has room for it.
pub const DEPTH_MOST: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            query_bytes_max: 64 * 1024,
            tokens_max: 10_000,
            depth_max: DEPTH_MOST,
            fields_max: 2_000,
            introspection_lists_max: 32,
            values_bytes_max: 512 * 1024,
            cache_bytes_max: 16 * 1024 * 1024,
        }
    }
}

impl Limits {
    pub(super) fn check_text(&self, query: &str) -> Result<(), RequestError> {
        if query.len() <= self.query_bytes_max {
            return Ok(());
        }
        Err(too_large(format!("The document has {} bytes; at most {} are allowed.", query.len(), self.query_bytes_max)))
    }

    /// What a client sends beside its document.
    pub(super) fn check_values<'v>(
        &self,
        values: impl IntoIterator<Item = &'v Map<String, Value>>,
    ) -> Result<(), RequestError> {
        let mut budget = Budget(self.values_bytes_max);
        if values.into_iter().all(|members| budget.pays_for_members(members)) {
            return Ok(());
        }
        let most = self.values_bytes_max;
        Err(too_large(format!("The request's variables and extensions take more than {most} bytes.")))
    }

    pub(super) fn check_expansion(&self, document: &Document) -> Result<(), RequestError> {
        let mut measure = Measure::new(document, self.depth_max);
        for definition in &document.definitions {
            let Definition::OperationDefinition(operation) = definition else { continue };
            let size = measure.selections(&operation.selection_set, 0);
            self.check_size(size, operation.operation_type)?;
        }
        Ok(())
    }

    fn check_size(&self, size: Size, operation: OperationType) -> Result<(), RequestError> {
        if size.depth > self.depth_max {
            return Err(too_large(format!("The document nests deeper than {} levels.", self.depth_max)));
        }
        if size.fields > self.fields_max {
            return Err(too_large(format!("The operation selects more than {} fields.", self.fields_max)));
        }
        if operation == OperationType::Query && size.lists > self.introspection_lists_max {
            let most = self.introspection_lists_max;
            return Err(too_large(format!("The query reads more than {most} lists of the introspection schema.")));
        }
        Ok(())
    }
}

/// Bytes that values may still take. Asking costs no more than the bytes that are left, however large the value.
pub(super) struct Budget(pub(super) usize);

impl Budget {
    /// What a parsed value takes beside its text: the node itself, and its share of a tree's slack.
    const NODE_BYTES: usize = 64;

    /// Takes the value's bytes; false, and nothing more is to be built, when they are not there.
    pub(super) fn pays_for(&mut self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.pays(text.len()),
            Value::Array(items) => self.pays(0) && items.iter().all(|item| self.pays_for(item)),
            Value::Object(members) => self.pays_for_members(members),
            Value::Number(number) => self.pays(number.as_str().len()),
            Value::Null | Value::Bool(_) => self.pays(0),
        }
    }

    pub(super) fn pays(&mut self, text_bytes: usize) -> bool {
        let left = self.0.checked_sub(text_bytes.saturating_add(Self::NODE_BYTES));
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    fn pays_for_members(&mut self, members: &Map<String, Value>) -> bool {
        // An object's tree of members is allocated in blocks of eleven.
        self.pays(11 * Self::NODE_BYTES)
            && members.iter().all(|(name, value)| self.pays(name.len()) && self.pays_for(value))
    }
}

pub(super) fn too_large(message: String) -> RequestError {
    RequestError::new(RequestErrorKind::QueryTooLarge, message)
}

/// What a selection set amounts to when its fragments are spread out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    fields: usize,
    lists: usize,
    depth: usize,
}

impl Size {
    fn beside(self, other: Size) -> Size {
        Size {
            fields: self.fields.saturating_add(other.fields),
            lists: self.lists.saturating_add(other.lists),
            depth: self.depth.max(other.depth),
        }
    }

    fn within_field(self, name: &str) -> Size {
        let list = matches!(
            name,
            "types" | "directives" | "fields" | "inputFields" | "args" | "enumValues" | "interfaces" | "possibleTypes"
        );
        Size {
            fields: self.fields.saturating_add(1),
            lists: self.lists.saturating_add(usize::from(list)),
            depth: self.depth.saturating_add(1),
        }
    }
}

struct Measure<'d> {
    fragments: HashMap<&'d str, &'d [Selection]>,
    /// Sizes of fragments that are measured; a fragment within itself counts as empty, validation will name it.
    measured: HashMap<&'d str, Size>,
    depth_max: usize,
}

impl<'d> Measure<'d> {
    fn new(document: &'d Document, depth_max: usize) -> Self {
        let fragments = document.definitions.iter().filter_map(|definition| match definition {
            Definition::FragmentDefinition(fragment) => {
                Some((fragment.name.as_str(), fragment.selection_set.as_slice()))
            }
            _ => None,
        });
        Measure { fragments: fragments.collect(), measured: HashMap::new(), depth_max }
    }

    fn selections(&mut self, selections: &'d [Selection], depth: usize) -> Size {
        if depth > self.depth_max {
            return Size { depth: 1, ..Size::default() };
        }
        selections.iter().map(|selection| self.selection(selection, depth)).fold(Size::default(), Size::beside)
    }

    fn selection(&mut self, selection: &'d Selection, depth: usize) -> Size {
        match selection {
            Selection::Field(field) => self.selections(&field.selection_set, depth + 1).within_field(&field.name),
            Selection::InlineFragment(inline) => self.selections(&inline.selection_set, depth + 1).deeper(),
            Selection::FragmentSpread(spread) => self.fragment(&spread.fragment_name, depth + 1).deeper(),
        }
    }

    fn fragment(&mut self, name: &'d str, depth: usize) -> Size {
        if let Some(size) = self.measured.get(name) {
            return *size;
        }
        let Some(selections) = self.fragments.get(name).copied() else { return Size::default() };
        self.measured.insert(name, Size::default());
        let size = self.selections(selections, depth);
        self.measured.insert(name, size);
        size
    }
}

impl Size {
    fn deeper(self) -> Size {
        Size { depth: self.depth.saturating_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use serde_json::json;

    use super::*;

    fn check(query: &str) -> Result<(), RequestError> {
        Limits::default().check_expansion(&Document::parse(query, "test").unwrap())
    }

    #[test]
    fn fragments_that_double_thirty_times_are_refused_at_once() {
        let mut query = "{ ...F0 }".to_owned();
        for level in 0..30 {
            write!(query, " fragment F{level} on Query {{ a: x {{ ...F{0} }} b: x {{ ...F{0} }} }}", level + 1)
                .unwrap();
        }
        query.push_str(" fragment F30 on Query { x }");
        let error = check(&query).unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            ("QUERY_TOO_LARGE", "The operation selects more than 2000 fields.")
        );
    }

    #[test]
    fn long_chains_of_fragments_are_refused_without_deep_recursion() {
        let mut query = "{ ...F0 }".to_owned();
        for level in 0..2_000 {
            write!(query, " fragment F{level} on Query {{ ...F{} }}", level + 1).unwrap();
        }
        query.push_str(" fragment F2000 on Query { x }");
        assert_eq!(check(&query).unwrap_err().message(), "The document nests deeper than 64 levels.");
    }

    #[test]
    fn a_fragment_within_itself_is_left_to_validation() {
        assert_eq!(check("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"), Ok(()));
    }

    #[test]
    fn values_pay_for_what_they_take_and_not_for_their_text() {
        let check = |value: Value| Limits::default().check_values([value.as_object().unwrap()]);
        assert_eq!(check(json!({ "ids": vec!["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"; 2_000] })), Ok(()));
        for hostile in [json!({ "j": vec![json!({ "a": 0 }); 5_000] }), json!({ "s": "x".repeat(600_000) })] {
            assert_eq!(check(hostile).unwrap_err().code(), "QUERY_TOO_LARGE");
        }
    }

    #[test]
    fn many_aliases_of_a_list_of_the_schema_are_refused_in_a_query_only() {
        let aliases = (0..40).map(|n| format!("a{n}: types {{ name }}")).collect::<Vec<_>>().join(" ");
        assert!(check(&format!("{{ __schema {{ {aliases} }} }}")).is_err());
        assert_eq!(check(&format!("subscription {{ orders {{ {aliases} }} }}")), Ok(()));
    }
}
