//! A root field of the served schema: what its events are made from, and what they are called.

use std::sync::Arc;

use super::name;
use super::type_ref::TypeRef;
use crate::model::Table;

/// A root field.
#[derive(Clone, Debug)]
pub(super) struct SubscriptionField {
    pub name: String,
    pub source: RootSource,
    /// What the resolver returns; `None` is the event envelope.
    pub returns: Option<TypeRef>,
    /// Whether the changes of one commit are delivered as one message.
    pub transactions: bool,
}

impl SubscriptionField {
    /// What is delivered of one event.
    pub(super) fn event_type(&self) -> TypeRef {
        let envelope = || match &self.source {
            RootSource::Table(table) => event_name(&table.type_name),
            RootSource::Topic(_) => event_name(&name::pascal_case(&self.name)),
        };
        self.returns.clone().unwrap_or_else(|| TypeRef::named(envelope()).non_null())
    }

    pub(super) fn transaction_name(&self) -> String {
        format!("{}Transaction", name::pascal_case(&self.name))
    }
}

/// Where a field's events come from.
#[derive(Clone, Debug)]
pub(super) enum RootSource {
    Table(Arc<Table>),
    Topic(String),
}

pub(super) fn event_name(type_name: &str) -> String {
    format!("{type_name}Event")
}
