//! A row image as JSON, from which the server makes the row again, each value by its type's own input function.

use super::Reads;
use crate::model::{Column, Datum, PgType, Table, Tuple};

/// A JSON object of the columns that are known. `None` when one that the condition reads is not: it cannot be asked.
///
/// JSON columns are embedded as they are; every other value is a string in PostgreSQL's text form, which is what its
/// input function reads: nested arrays, composites and infinities included. NULL is left out.
pub fn image(table: &Table, tuple: &Tuple, reads: &Reads) -> Option<String> {
    let mut json = String::from("{");
    for (index, column) in table.columns.iter().enumerate() {
        let read = reads.contain(index);
        match tuple.get(index) {
            Datum::Text(text) if read || may_be_domain(column) => {
                let text = std::str::from_utf8(text).ok()?;
                write(column, text, &mut json)?;
            }
            Datum::Absent | Datum::Unchanged if read => return None,
            _ => {}
        }
    }
    json.push('}');
    Some(json)
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

fn write(column: &Column, text: &str, json: &mut String) -> Option<()> {
    if json.len() > 1 {
        json.push(',');
    }
    string(&column.name, json)?;
    json.push(':');
    match column.pg_type {
        PgType::Json => embed(text, json),
        _ => string(text, json),
    }
}

/// A JSON null is not SQL's NULL, which is what the server would make of it.
fn embed(text: &str, json: &mut String) -> Option<()> {
    if text.trim() == "null" {
        return None;
    }
    json.push_str(text);
    Some(())
}

fn string(text: &str, json: &mut String) -> Option<()> {
    json.push_str(&serde_json::to_string(text).ok()?);
    Some(())
}
