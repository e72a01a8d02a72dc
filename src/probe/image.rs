//! A row image as JSON, from which the server makes the row again, each value by its type's own input function.

use std::sync::Arc;

use super::Reads;
use super::statement::Form;
use crate::model::{Column, Datum, PgType, Table, Tuple};

/// The columns that are known. `None` when one that the condition reads is not: it cannot be asked.
///
/// A JSON object. JSON columns are embedded as they are; every other value is a string in PostgreSQL's text form, which is
/// what its input function reads: nested arrays, composites and infinities included. NULL is left out. Where a JSON column
/// holds JSON's null, a pair: that object without it, and the names of such columns.
pub fn image(table: &Table, tuple: &Tuple, reads: &Reads) -> Option<String> {
    let (mut fields, mut nulls) = (Vec::new(), Vec::new());
    for (index, column) in table.columns.iter().enumerate() {
        let read = reads.contain(index);
        match tuple.get(index) {
            Datum::Text(text) if read || may_be_domain(column) => {
                let (name, text) = (string(&column.name)?, std::str::from_utf8(text).ok()?);
                match column.pg_type {
                    PgType::Json if text.trim() == "null" => nulls.push(name),
                    PgType::Json => fields.push(format!("{name}:{text}")),
                    _ => fields.push(format!("{name}:{}", string(text)?)),
                }
            }
            Datum::Absent | Datum::Unchanged if read => return None,
            Datum::Text(_) | Datum::Absent | Datum::Unchanged | Datum::Null => {}
        }
    }
    let object = format!("{{{}}}", fields.join(","));
    Some(if nulls.is_empty() { object } else { format!("[{object},[{}]]", nulls.join(",")) })
}

/// How images are put together: alone each is an object, unless one of them is a pair.
pub(super) fn form<'a>(mut images: impl Iterator<Item = &'a Arc<str>>) -> Form {
    if images.any(|image| image.starts_with('[')) { Form::Pairs } else { Form::Objects }
}

/// One JSON array of that form.
pub(super) fn array(images: &[Arc<str>], form: Form) -> String {
    let pair = |image: &Arc<str>| if image.starts_with('[') { image.to_string() } else { format!("[{image},[]]") };
    match form {
        Form::Objects => format!("[{}]", images.join(",")),
        Form::Pairs => format!("[{}]", images.iter().map(pair).collect::<Vec<_>>().join(",")),
    }
}

impl Reads {
    fn contain(&self, index: usize) -> bool {
        match self {
            Reads::Row => true,
            Reads::Columns(columns) => columns.contains(&index),
        }
    }
}

/// A domain may forbid NULL, and the server holds a row to that even where nobody reads the column.
fn may_be_domain(column: &Column) -> bool {
    PgType::builtin(column.type_oid).is_none()
}

fn string(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}
