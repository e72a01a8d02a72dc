//! The selections of an object with fragments spread out and equal response keys merged (specification, sections
//! 6.3.2 "Field Collection" and 6.4.3 "Merging Selection Sets"), `@skip` and `@include` decided.

use std::collections::HashSet;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::executable::{DirectiveList, Field, Selection, SelectionSet, Value};
use rustc_hash::FxHashMap;
use serde_json::Map;

use super::federation;

/// A field of the response with everything that was selected below it.
#[derive(Debug)]
pub(super) struct Selected<'d> {
    pub field: &'d Field,
    pub below: Vec<&'d SelectionSet>,
}

impl<'d> Selected<'d> {
    pub(super) fn response_key(&self) -> &'d str {
        self.field.response_key().as_str()
    }
}

/// Collects selections on objects of one type.
pub(super) struct Collector<'d> {
    document: &'d ExecutableDocument,
    variables: &'d Map<String, serde_json::Value>,
}

impl<'d> Collector<'d> {
    pub(super) fn new(document: &'d ExecutableDocument, variables: &'d Map<String, serde_json::Value>) -> Self {
        Collector { document, variables }
    }

    /// The fields of `type_name` that `sets` select, in the order of the response.
    pub(super) fn collect(&self, type_name: &str, sets: &[&'d SelectionSet]) -> Vec<Selected<'d>> {
        let mut collection = Collection { type_name, ..Collection::default() };
        for set in sets {
            self.add(set, &mut collection);
        }
        collection.fields
    }

    fn add(&self, set: &'d SelectionSet, collection: &mut Collection<'_, 'd>) {
        for selection in &set.selections {
            if !self.is_included(selection.directives()) {
                continue;
            }
            match selection {
                Selection::Field(field) => collection.add(field),
                Selection::InlineFragment(inline) => {
                    if inline.type_condition.as_ref().is_none_or(|condition| collection.is_of(condition)) {
                        self.add(&inline.selection_set, collection);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.fragment_name);
                    let fragment = fragment.filter(|fragment| collection.is_of(fragment.type_condition()));
                    if let Some(fragment) = fragment
                        && collection.visited.insert(fragment.name.as_str())
                    {
                        self.add(&fragment.selection_set, collection);
                    }
                }
            }
        }
    }

    fn is_included(&self, directives: &DirectiveList) -> bool {
        !self.condition(directives, "skip").unwrap_or(false) && self.condition(directives, "include").unwrap_or(true)
    }

    fn condition(&self, directives: &DirectiveList, name: &str) -> Option<bool> {
        match directives.get(name)?.specified_argument_by_name("if")?.as_ref() {
            Value::Boolean(value) => Some(*value),
            Value::Variable(variable) => self.variables.get(variable.as_str())?.as_bool(),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Collection<'t, 'd> {
    type_name: &'t str,
    visited: HashSet<&'d str>,
    by_key: FxHashMap<&'d str, usize>,
    fields: Vec<Selected<'d>>,
}

impl<'d> Collection<'_, 'd> {
    /// The one abstract type is a federated graph's union; validation lets only members of it get here.
    fn is_of(&self, condition: &str) -> bool {
        condition == self.type_name || condition == federation::ENTITY
    }

    fn add(&mut self, field: &'d Field) {
        let index = *self.by_key.entry(field.response_key().as_str()).or_insert(self.fields.len());
        match self.fields.get_mut(index) {
            Some(selected) => selected.below.push(&field.selection_set),
            None => self.fields.push(Selected { field, below: vec![&field.selection_set] }),
        }
    }
}
