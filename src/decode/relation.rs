//! Pairs a table's columns in the stream with its columns in the catalog.
//!
//! The two can differ: the stream has the shape that a table had when the row was written, the catalog has the current
//! shape. Columns are paired by name and type. A column that only one side has, or that has another type on the other
//! side, is dropped from the row or `Absent` in it, never guessed.

use std::sync::Arc;

use super::pgoutput::{Columns, Description, Value, WireImage};
use super::{DecodeError, Tables};
use crate::model::{Datum, ReplicaIdentity, Table, Tuple};

/// A table as its last Relation message described it.
#[derive(PartialEq, Eq)]
pub(super) struct Shape {
    oid: u32,
    schema: Box<str>,
    name: Box<str>,
    identity: ReplicaIdentity,
    columns: Box<[(Box<str>, u32)]>,
}

impl Shape {
    pub(super) fn new(description: &Description<'_>) -> Self {
        Shape {
            oid: description.oid,
            schema: description.schema.into(),
            name: description.name.into(),
            identity: description.identity,
            columns: description.columns.iter().map(|&(name, type_oid)| (name.into(), type_oid)).collect(),
        }
    }

    /// Whether old images of its rows carry every column.
    pub(super) fn has_full_identity(&self) -> bool {
        self.identity == ReplicaIdentity::Full
    }

    /// Whether both have columns of the same names and types, in any order: a partition has its root's.
    pub(super) fn has_columns_of(&self, other: &Shape) -> bool {
        self.columns.len() == other.columns.len() && self.columns.iter().all(|column| other.columns.contains(column))
    }

    fn agrees_with(&self, table: &Table) -> bool {
        self.identity == table.identity
            && *self.schema == *table.name.schema
            && *self.name == *table.name.name
            && self.columns.len() == table.columns.len()
            && self.columns.iter().all(|column| place(column, table).is_some())
    }
}

/// A table that the stream has described, and where its columns go in the watched table's order.
pub(super) struct Relation {
    shape: Shape,
    watched: Option<Watched>,
}

/// A relation's place in the catalog.
pub(super) struct Watched {
    table: Arc<Table>,
    /// For each column of the wire its index in the table.
    places: Box<[Option<usize>]>,
}

impl Relation {
    pub(super) fn new(shape: Shape, tables: &Tables) -> Self {
        let mut relation = Relation { shape, watched: None };
        relation.look_up(tables);
        relation
    }

    /// Pairs the columns again with those of the current catalog.
    pub(super) fn look_up(&mut self, tables: &Tables) {
        self.watched = tables.get(&self.shape.oid).map(|table| Watched {
            places: self.shape.columns.iter().map(|column| place(column, table)).collect(),
            table: Arc::clone(table),
        });
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// `None` when the table is not watched.
    pub(super) fn watched(&self) -> Option<&Watched> {
        self.watched.as_ref()
    }

    /// Whether the catalog has to be read again: the table is watched and looks different in the stream.
    pub(super) fn has_moved(&self) -> bool {
        self.watched().is_some_and(|watched| !self.shape.agrees_with(&watched.table))
    }
}

impl Watched {
    pub(super) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table)
    }

    /// One image in the table's column order. `whole` says that an old image may be believed to carry every column.
    pub(super) fn tuple(
        &self,
        image: WireImage,
        whole: bool,
        columns: &mut Columns<'_, '_>,
    ) -> Result<Tuple, DecodeError> {
        let (sent, described) = (columns.count()?, self.places.len());
        if sent != described {
            return Err(DecodeError::ColumnCount { oid: self.table.oid, sent, described });
        }
        let null = null_of(image, whole && self.table.identity == ReplicaIdentity::Full);
        let mut values = vec![Datum::Absent; self.table.columns.len()];
        for place in &self.places {
            match place.and_then(|index| values.get_mut(index)) {
                Some(datum) => *datum = datum_of(columns.value()?, &null),
                None => columns.skip()?,
            }
        }
        Ok(Tuple::new(values))
    }
}

/// Where a column of the wire stands in the table, if it is the same column there.
fn place((name, type_oid): &(Box<str>, u32), table: &Table) -> Option<usize> {
    table.columns.iter().position(|column| *column.name == **name && column.type_oid == *type_oid)
}

/// What the wire's NULL mark means. A key-only image marks the columns that it lacks as NULL, and the columns that it
/// has cannot be NULL, as an identity's index covers none that may be.
fn null_of(image: WireImage, whole: bool) -> Datum {
    match image {
        WireImage::New => Datum::Null,
        WireImage::Old if whole => Datum::Null,
        WireImage::Old | WireImage::Key => Datum::Absent,
    }
}

fn datum_of(value: Value, null: &Datum) -> Datum {
    match value {
        Value::Text(text) => Datum::Text(text),
        Value::Null => null.clone(),
        Value::Unchanged => Datum::Unchanged,
    }
}
