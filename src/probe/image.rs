//! A row image as JSON, from which the server makes the row again, each value by its type's own input function.

use std::sync::Arc;

use super::Reads;
use super::statement::Form;
use crate::model::{Column, Datum, PgType, Table, Tuple};

/// The columns that are known. `None` when one that the condition reads is not: it cannot be asked.
///
/// A JSON object. JSON columns are embedded as they are; every other value is a string in PostgreSQL's text form, which
/// is what its input function reads: nested arrays, composites and infinities included. NULL is left out. Where a JSON
/// column holds what embedding would not keep, a pair: that object without it, and another with its text and the texts
/// of what may be a domain, which the server may not let be NULL even for a moment.
pub fn image(table: &Table, tuple: &Tuple, reads: &Reads) -> Option<String> {
    let (mut fields, mut texts, mut is_pair) = (Vec::new(), Vec::new(), false);
    for (index, column) in table.columns.iter().enumerate() {
        let (read, may_be_domain) = (reads.contain(index), may_be_domain(column));
        match tuple.get(index) {
            Datum::Text(text) if read || may_be_domain => {
                let (name, text) = (string(&column.name)?, std::str::from_utf8(text).ok()?);
                let is_json = matches!(column.pg_type, PgType::Json);
                let is_apart = is_json && !is_kept(text);
                if may_be_domain || is_apart {
                    texts.push(format!("{name}:{}", string(text)?));
                }
                match is_json {
                    true if is_apart => is_pair = true,
                    true => fields.push(format!("{name}:{text}")),
                    false => fields.push(format!("{name}:{}", string(text)?)),
                }
            }
            Datum::Absent | Datum::Unchanged if read => return None,
            Datum::Text(_) | Datum::Absent | Datum::Unchanged | Datum::Null => {}
        }
    }
    let object = format!("{{{}}}", fields.join(","));
    Some(if is_pair { format!("[{object},{{{}}}]", texts.join(",")) } else { object })
}

/// Whether a JSON text comes out of another document as it went in. JSON's null would be SQL's, blanks around it would
/// be lost, and an escape may stand for what no text can hold.
fn is_kept(text: &str) -> bool {
    text != "null" && !text.starts_with(BLANKS) && !text.ends_with(BLANKS) && !text.contains("\\u")
}

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// How images are put together: alone each is an object, unless one of them is a pair.
pub(super) fn form<'a>(mut images: impl Iterator<Item = &'a Arc<str>>) -> Form {
    if images.any(|image| image.starts_with('[')) { Form::Pairs } else { Form::Objects }
}

/// One JSON array of that form.
pub(super) fn array(images: &[Arc<str>], form: Form) -> String {
    let pair = |image: &Arc<str>| if image.starts_with('[') { image.to_string() } else { format!("[{image}]") };
    match form {
        Form::Objects => format!("[{}]", images.join(",")),
        Form::Pairs => format!("[{}]", images.iter().map(pair).collect::<Vec<_>>().join(",")),
    }
}

/// A domain may forbid NULL, and the server enforces that even if the condition does not read the column.
fn may_be_domain(column: &Column) -> bool {
    PgType::builtin(column.type_oid).is_none()
}

fn string(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}
