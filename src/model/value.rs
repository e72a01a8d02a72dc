//! Column values as the server sent them: text format, sliced out of the message, never copied.

use bytes::Bytes;

/// One column of one row image.
///
/// The four cases differ in what may be concluded from them, so they are never folded into an `Option`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// The server did not send the column (a key-only old image, or a column that this relation version lacks).
    Absent,
    /// SQL NULL.
    Null,
    /// A TOASTed value that the UPDATE did not touch and that the old image does not carry either: unknown, not NULL.
    Unchanged,
    /// The value in PostgreSQL's text output format, UTF-8.
    Text(Bytes),
}

impl Datum {
    /// The text of a value that is known and not NULL.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Datum::Text(text) => Some(text),
            Datum::Absent | Datum::Null | Datum::Unchanged => None,
        }
    }

    /// Whether the value is known: NULL is, absent and unchanged are not.
    pub fn is_known(&self) -> bool {
        matches!(self, Datum::Null | Datum::Text(_))
    }
}

/// One row image: a datum for each column of its [`Table`](super::Table), in that table's column order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuple(Box<[Datum]>);

impl Tuple {
    /// The caller gives exactly one datum per column of the table.
    pub fn new(values: impl Into<Box<[Datum]>>) -> Self {
        Tuple(values.into())
    }

    /// The column at `index` in the table's order; `Absent` beyond the end.
    pub fn get(&self, index: usize) -> &Datum {
        self.0.get(index).unwrap_or(&Datum::Absent)
    }

    /// All columns in the table's order.
    pub fn values(&self) -> &[Datum] {
        &self.0
    }
}
