//! One row image. Each column is read at most once, even if many conditions read it.

use std::cell::OnceCell;

use super::Scalar;
use crate::model::{Datum, Table, Tuple};

/// What is known of a column of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'r> {
    /// Not sent, not changed and not filled in, or not readable: nothing may be concluded.
    Unavailable,
    /// SQL NULL.
    Null,
    /// This.
    Known(&'r Scalar),
}

/// A row as conditions see it. Made once per image and event; all subscriptions share what it has read.
#[derive(Debug)]
pub struct RowImage<'a> {
    table: &'a Table,
    tuple: &'a Tuple,
    cells: Box<[OnceCell<Option<Scalar>>]>,
}

impl<'a> RowImage<'a> {
    /// The tuple is one of this table's, in its column order.
    pub fn new(table: &'a Table, tuple: &'a Tuple) -> Self {
        let cells = table.columns.iter().map(|_| OnceCell::new()).collect();
        RowImage { table, tuple, cells }
    }

    pub(crate) fn value(&self, column: u16) -> Value<'_> {
        let index = usize::from(column);
        match (self.tuple.get(index), self.cells.get(index), self.table.columns.get(index)) {
            (Datum::Null, Some(_), _) => Value::Null,
            (Datum::Text(text), Some(cell), Some(column)) => {
                let scalar = cell.get_or_init(|| Scalar::from_text(&column.pg_type, text));
                scalar.as_ref().map_or(Value::Unavailable, Value::Known)
            }
            _ => Value::Unavailable,
        }
    }

    /// The value, when there is one to compare with.
    pub(crate) fn scalar(&self, column: u16) -> Option<&Scalar> {
        match self.value(column) {
            Value::Known(scalar) => Some(scalar),
            Value::Null | Value::Unavailable => None,
        }
    }

    /// The text as it was sent, which is what a pattern sees: `char(n)` is padded there.
    pub(crate) fn text(&self, column: u16) -> Option<&str> {
        match self.tuple.get(usize::from(column)) {
            Datum::Text(text) => std::str::from_utf8(text).ok(),
            Datum::Null | Datum::Absent | Datum::Unchanged => None,
        }
    }

    /// Whether it is NULL, which needs no reading; `None` when the column is not there.
    pub(crate) fn is_null(&self, column: u16) -> Option<bool> {
        match self.tuple.get(usize::from(column)) {
            Datum::Null => Some(true),
            Datum::Text(_) => Some(false),
            Datum::Absent | Datum::Unchanged => None,
        }
    }
}
