//! A validated selection to a [`Plan`].
//!
//! Validation has proved that each field exists; one that is not found here all the same is left out.

use apollo_compiler::Schema;
use apollo_compiler::ast::Type;
use apollo_compiler::executable::SelectionSet;
use apollo_compiler::schema::ExtendedType;

use super::assemble::{Attributes, key_name};
use super::error::{RequestError, RequestErrorKind};
use super::field::{RootSource, SubscriptionField};
use super::plan::{
    ColumnField, ColumnValue, EventField, EventSelection, EventValue, LeafKind, ObjectShape, Plan, PlanRoot,
    PlannedTable, RowSelection, Shape, TopicField, TopicSelection, TopicValue, TransactionField, TransactionSelection,
    TransactionValue, ValueField, constant, key,
};
use super::scalar::Scalar;
use super::select::{Collector, Selected};
use crate::model::Table;

pub(super) struct Planner<'d> {
    pub schema: &'d Schema,
    pub attributes: &'d Attributes,
    pub collector: Collector<'d>,
}

impl<'d> Planner<'d> {
    /// The plan of the root field `selected`, which is `field` of the schema.
    pub(super) fn plan(&self, field: &SubscriptionField, selected: &Selected<'d>) -> Result<Plan, RequestError> {
        let returned = &selected.field.definition.ty;
        let (transaction, root) = if field.transactions {
            let (transaction, root) = self.transaction(field, returned.inner_named_type(), &selected.below)?;
            (Some(transaction), root)
        } else {
            (None, self.root(field, returned, &selected.below))
        };
        Ok(Plan { key: key(selected.response_key()), response_key: selected.response_key().into(), root, transaction })
    }

    fn root(&self, field: &SubscriptionField, returned: &Type, sets: &[&'d SelectionSet]) -> PlanRoot {
        let event_type = returned.inner_named_type().as_str();
        match (&field.returns, &field.source) {
            (Some(_), _) => PlanRoot::Value(self.shape(returned, sets)),
            (None, RootSource::Table(table)) => PlanRoot::Event(EventSelection {
                fields: self.event(event_type, table, sets),
                table: PlannedTable(std::sync::Arc::clone(table)),
            }),
            (None, RootSource::Topic(_)) => PlanRoot::Topic(TopicSelection { fields: self.topic(event_type, sets) }),
        }
    }

    /// Subscriptions share encoded changes, so an operation may select `changes` only once.
    fn transaction(
        &self,
        field: &SubscriptionField,
        type_name: &str,
        sets: &[&'d SelectionSet],
    ) -> Result<(TransactionSelection, PlanRoot), RequestError> {
        let selected = self.collector.collect(type_name, sets);
        let mut changes = selected.iter().filter(|selected| selected.field.name == "changes");
        let root = match (changes.next(), changes.next()) {
            (Some(_), Some(_)) => {
                let message = "changes can be selected once, not under two names.".to_owned();
                return Err(RequestError::new(RequestErrorKind::GraphqlValidationFailed, message));
            }
            (Some(changes), None) => {
                let change = changes.field.definition.ty.item_type();
                self.root(field, change, &changes.below)
            }
            (None, _) => nothing(field),
        };
        let fields = selected.iter().filter_map(|selected| transaction_field(type_name, selected)).collect();
        Ok((TransactionSelection { fields }, root))
    }

    fn event(&self, event_type: &str, table: &Table, sets: &[&'d SelectionSet]) -> Box<[EventField]> {
        let fields = self.collector.collect(event_type, sets).into_iter();
        let planned = fields.filter_map(|selected| {
            let value = match selected.field.name.as_str() {
                "__typename" => EventValue::Typename(constant(event_type)),
                "operation" => EventValue::Operation,
                "transition" => EventValue::Transition,
                "row" => EventValue::Row(self.row(&table.type_name, table, &selected.below)),
                "key" => EventValue::Key(self.row(&key_name(table), table, &selected.below)),
                "changed" => EventValue::Changed,
                "cursor" => EventValue::Cursor,
                "committedAt" => EventValue::CommittedAt,
                _ => return None,
            };
            let name = selected.response_key();
            Some(EventField { key: key(name), name: name.into(), value })
        });
        planned.collect()
    }

    pub(super) fn row(&self, row_type: &str, table: &Table, sets: &[&'d SelectionSet]) -> RowSelection {
        let fields = self.collector.collect(row_type, sets).into_iter();
        let planned = fields.filter_map(|selected| {
            let value = match selected.field.name.as_str() {
                "__typename" => ColumnValue::Typename(constant(row_type)),
                field => {
                    let index = table.column_of_field(field)?;
                    ColumnValue::Column { index, non_null: selected.field.definition.ty.is_non_null() }
                }
            };
            let name = selected.response_key();
            Some(ColumnField { key: key(name), name: name.into(), value })
        });
        RowSelection { fields: planned.collect() }
    }

    fn topic(&self, event_type: &str, sets: &[&'d SelectionSet]) -> Box<[TopicField]> {
        let fields = self.collector.collect(event_type, sets).into_iter();
        let planned = fields.filter_map(|selected| {
            let value = match selected.field.name.as_str() {
                "__typename" => TopicValue::Typename(constant(event_type)),
                "operation" => TopicValue::Operation,
                "topic" => TopicValue::Topic,
                "payload" => TopicValue::Payload,
                "cursor" => TopicValue::Cursor,
                "committedAt" => TopicValue::CommittedAt,
                _ => return None,
            };
            let name = selected.response_key();
            Some(TopicField { key: key(name), name: name.into(), value })
        });
        planned.collect()
    }

    fn shape(&self, declared: &Type, sets: &[&'d SelectionSet]) -> Shape {
        match declared {
            Type::Named(name) => self.named(name, sets),
            Type::NonNullNamed(name) => Shape::NonNull(Box::new(self.named(name, sets))),
            Type::List(item) => Shape::List(Box::new(self.shape(item, sets))),
            Type::NonNullList(item) => Shape::NonNull(Box::new(Shape::List(Box::new(self.shape(item, sets))))),
        }
    }

    fn named(&self, name: &str, sets: &[&'d SelectionSet]) -> Shape {
        match self.schema.types.get(name) {
            Some(ExtendedType::Object(_)) => {
                Shape::Object(ObjectShape { typename: name.into(), fields: self.object(name, sets) })
            }
            Some(ExtendedType::Enum(declared)) => Shape::Leaf(LeafKind::Enum {
                name: name.into(),
                values: declared.values.keys().map(|value| value.as_str().into()).collect(),
            }),
            _ => Shape::Leaf(LeafKind::Scalar(Scalar::from_name(name).unwrap_or(Scalar::Json))),
        }
    }

    fn object(&self, type_name: &str, sets: &[&'d SelectionSet]) -> Box<[ValueField]> {
        let fields = self.collector.collect(type_name, sets).into_iter();
        let planned = fields.filter_map(|selected| {
            let (attribute, shape) = match selected.field.name.as_str() {
                "__typename" => ("", Shape::Constant(constant(type_name))),
                field => {
                    let attribute = self.attributes.get(type_name)?.get(field)?;
                    (attribute.as_str(), self.shape(&selected.field.definition.ty, &selected.below))
                }
            };
            let name = selected.response_key();
            Some(ValueField { key: key(name), name: name.into(), attribute: attribute.into(), shape })
        });
        planned.collect()
    }
}

/// A subscription that selects no changes still gets the transactions.
fn nothing(field: &SubscriptionField) -> PlanRoot {
    match &field.source {
        RootSource::Table(table) if field.returns.is_none() => PlanRoot::Event(EventSelection {
            fields: Box::default(),
            table: PlannedTable(std::sync::Arc::clone(table)),
        }),
        _ => PlanRoot::Value(Shape::Constant(constant(""))),
    }
}

fn transaction_field(type_name: &str, selected: &Selected<'_>) -> Option<TransactionField> {
    let value = match selected.field.name.as_str() {
        "__typename" => TransactionValue::Typename(constant(type_name)),
        "begin" => TransactionValue::Begin,
        "end" => TransactionValue::End,
        "changes" => TransactionValue::Changes,
        "cursor" => TransactionValue::Cursor,
        "committedAt" => TransactionValue::CommittedAt,
        _ => return None,
    };
    let name = selected.response_key();
    Some(TransactionField { key: key(name), name: name.into(), value })
}
