//! A compiled selection: what to write for each event, with nothing left to look up or to decide.
//!
//! Frozen once made, and shared: equal selections have one `Arc<Plan>`, and so one payload per event. A plan's
//! equality is that of its structure; two plans are equal exactly when they make the same bytes from the same event.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::scalar::Scalar;
use crate::model::Table;

/// What one subscription writes for each event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The root field's key as `"orders":`.
    pub key: Bytes,
    /// The root field's name in the response.
    pub response_key: Box<str>,
    /// What stands under it, or, in transactions, for each change.
    pub root: PlanRoot,
    /// The fields around the changes of a transaction; `None` if each change is delivered separately.
    pub transaction: Option<TransactionSelection>,
}

/// The selection on an `OrdersTransaction`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionSelection {
    /// In the order of the response; the changes at most once.
    pub fields: Box<[TransactionField]>,
}

/// A field of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionField {
    /// `"name":`
    pub key: Bytes,
    /// The name in the response, for paths of errors.
    pub name: Box<str>,
    /// What stands there.
    pub value: TransactionValue,
}

/// The value of a transaction's field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TransactionValue {
    /// `__typename`, as JSON.
    Typename(Bytes),
    /// Whether this is its first payload.
    Begin,
    /// Whether this is its last payload.
    End,
    /// What it changed, in order.
    Changes,
    /// The cursor.
    Cursor,
    /// The commit's time.
    CommittedAt,
}

/// What stands under the response key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlanRoot {
    /// The envelope of a table's event, written by the engine.
    Event(EventSelection),
    /// The envelope of a publication, written by the engine.
    Topic(TopicSelection),
    /// A resolver's result, encoded by the resolver's caller.
    Value(Shape),
}

impl Plan {
    /// Whether the root field may be null; if not, a failure makes all of `data` null.
    pub fn is_nullable(&self) -> bool {
        matches!(&self.root, PlanRoot::Value(shape) if !matches!(shape, Shape::NonNull(_)))
    }

    /// The columns that the envelope reads, as indexes into the table's; a resolver is given the whole row.
    pub fn columns(&self) -> impl Iterator<Item = usize> {
        let fields: &[EventField] = match &self.root {
            PlanRoot::Event(event) => &event.fields,
            PlanRoot::Topic(_) | PlanRoot::Value(_) => &[],
        };
        let rows = fields.iter().filter_map(|field| match &field.value {
            EventValue::Row(row) | EventValue::Key(row) => Some(row),
            _ => None,
        });
        rows.flat_map(|row| row.fields.iter()).filter_map(|field| match field.value {
            ColumnValue::Column { index, .. } => Some(index),
            ColumnValue::Typename(_) => None,
        })
    }
}

/// The selection on an `OrdersEvent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventSelection {
    /// The table whose column indexes the rows use.
    pub table: PlannedTable,
    /// In the order of the response.
    pub fields: Box<[EventField]>,
}

/// A field of the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventField {
    /// `"name":`
    pub key: Bytes,
    /// The name in the response, for paths of errors.
    pub name: Box<str>,
    /// What stands there.
    pub value: EventValue,
}

/// The value of an envelope's field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventValue {
    /// `__typename`, as JSON.
    Typename(Bytes),
    /// The kind of change.
    Operation,
    /// What it means to the subscriber.
    Transition,
    /// The row; null when it left the view.
    Row(RowSelection),
    /// The key; null for an event without a row.
    Key(RowSelection),
    /// The fields whose columns changed.
    Changed,
    /// The cursor.
    Cursor,
    /// The commit's time.
    CommittedAt,
}

/// The selection on a row or a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowSelection {
    /// In the order of the response.
    pub fields: Box<[ColumnField]>,
}

/// A field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnField {
    /// `"name":`
    pub key: Bytes,
    /// The name in the response, for paths of errors.
    pub name: Box<str>,
    /// What stands there.
    pub value: ColumnValue,
}

/// The value of a row's field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnValue {
    /// `__typename`, as JSON.
    Typename(Bytes),
    /// A column.
    Column {
        /// Its index in the table.
        index: usize,
        /// Whether null makes the whole row null.
        non_null: bool,
    },
}

/// The selection on an `AlertsEvent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicSelection {
    /// In the order of the response.
    pub fields: Box<[TopicField]>,
}

/// A field of a publication's envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicField {
    /// `"name":`
    pub key: Bytes,
    /// The name in the response, for paths of errors.
    pub name: Box<str>,
    /// What stands there.
    pub value: TopicValue,
}

/// The value of a field in a publication's envelope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicValue {
    /// `__typename`, as JSON.
    Typename(Bytes),
    /// Always `MESSAGE`.
    Operation,
    /// The topic.
    Topic,
    /// What was published; it may not be null.
    Payload,
    /// The cursor.
    Cursor,
    /// The commit's time.
    CommittedAt,
}

/// The form of a resolver's result, and what is selected of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Never null; null here goes up to the nearest place that may be.
    NonNull(Box<Shape>),
    /// A list of these.
    List(Box<Shape>),
    /// A scalar or an enum.
    Leaf(LeafKind),
    /// An object, a mapping or anything with attributes.
    Object(ObjectShape),
    /// `__typename`: these bytes for every value.
    Constant(Bytes),
}

/// What is selected of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectShape {
    /// The GraphQL type's name.
    pub typename: Box<str>,
    /// In the order of the response.
    pub fields: Box<[ValueField]>,
}

/// A field of an object. For a table's row type the attribute is the column's name in the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValueField {
    /// `"name":`
    pub key: Bytes,
    /// The name in the response, for paths of errors.
    pub name: Box<str>,
    /// The attribute or key that holds the value; empty for a constant.
    pub attribute: Box<str>,
    /// The value's form.
    pub shape: Shape,
}

/// How a leaf is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeafKind {
    /// By the rules of this scalar.
    Scalar(Scalar),
    /// One of these names.
    Enum {
        /// The GraphQL type's name.
        name: Box<str>,
        /// Its values.
        values: Arc<[Box<str>]>,
    },
}

/// One version of a table's shape. Equal when it is the same value in memory: after a change of shape the same
/// selection is another plan.
#[derive(Clone, Debug)]
pub struct PlannedTable(pub Arc<Table>);

impl PlannedTable {
    /// Whether the indexes of this plan mean the same columns in `other`.
    pub fn fits(&self, other: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.0, other) || (self.0.columns == other.columns && self.0.key == other.key)
    }
}

impl PartialEq for PlannedTable {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for PlannedTable {}

impl Hash for PlannedTable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// `name` as a prepared key: names of GraphQL need no escape.
pub(super) fn key(name: &str) -> Bytes {
    Bytes::from(format!("\"{name}\":"))
}

/// `name` as a JSON string.
pub(super) fn constant(name: &str) -> Bytes {
    Bytes::from(format!("\"{name}\""))
}
