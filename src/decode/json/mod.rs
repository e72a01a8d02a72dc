//! Converts a value's PostgreSQL text to JSON and appends it to the payload's buffer.
//!
//! The input is the type from the catalog and the value's text in UTF-8, as a session prints it with `datestyle = ISO`,
//! `timezone = UTC`, `bytea_output = hex` and `extra_float_digits` of at least 1.
//!
//! - No digit is lost: numbers and dates are never parsed into a binary form and printed again.
//! - The output is one line of valid JSON.
//! - `json` and `jsonb` are embedded without a second parse, because the server has parsed them.
//! - An error leaves the buffer as it was and contains no value.
//! - Nesting is bounded.
//!
//! | type | JSON |
//! |---|---|
//! | `bool` | `true`, `false` |
//! | `int2`, `int4` | number |
//! | `int8`, `numeric` | string with every digit (JavaScript's numbers are doubles) |
//! | `float4`, `float8` | number, the shortest that reads back the same; `null` for NaN and the infinities |
//! | `timestamptz` | `"2026-11-23T16:16:15.123456+00:00"`, `"infinity"`, `"0044-03-15T12:00:00+00:00 BC"` |
//! | `timestamp`, `date`, `time` | the same without offset, time or date |
//! | `json`, `jsonb` | itself |
//! | `bytea` | `"\\x00ff"` |
//! | arrays | lists, nested by dimension; without the lower bounds |
//! | composites | object by attribute |
//! | all others | PostgreSQL's text in a string |

mod array;
mod composite;
mod document;
mod number;
mod string;
mod time;

use crate::model::PgType;

/// Values inside values inside values: PostgreSQL's arrays have at most six dimensions, and composites nest by hand.
const DEPTH_MAX: usize = 64;

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written {
    /// The value.
    Value,
    /// `null` for a value, or for one somewhere inside it, that JSON cannot express: a float that is not finite.
    NoJsonForm,
}

impl Written {
    fn and(self, other: Written) -> Written {
        if self == Written::NoJsonForm { self } else { other }
    }
}

/// The text is not what PostgreSQL prints for the type. It says what was expected and where, never what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// Not the type's text form.
    #[error(
        "a value is not the text of {expected}; check the session's datestyle, timezone and bytea_output, and reload the catalog"
    )]
    Malformed {
        /// The form that was expected.
        expected: &'static str,
    },
    /// An array or composite does not follow its syntax.
    #[error("the text of {expected} goes wrong at byte {at}; reload the catalog")]
    Syntax {
        /// What was read.
        expected: &'static str,
        /// Where it goes wrong.
        at: usize,
    },
    /// A composite has another number of fields than its type has attributes.
    #[error("a composite value does not have the {attributes} attributes of its type; reload the catalog")]
    FieldCount {
        /// How many the catalog knows.
        attributes: usize,
    },
    /// More than 64 levels of arrays and composites.
    #[error("a value nests arrays and composites more than 64 levels deep; select something inside it")]
    TooDeep,
}

impl ValueError {
    /// A stable name for logs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            ValueError::Malformed { .. } => "VALUE_MALFORMED",
            ValueError::Syntax { .. } => "VALUE_SYNTAX",
            ValueError::FieldCount { .. } => "VALUE_FIELD_COUNT",
            ValueError::TooDeep => "VALUE_TOO_DEEP",
        }
    }
}

/// Appends the JSON form of a value to `out`, or nothing if it is an error.
pub fn write(pg_type: &PgType, text: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
    let start = out.len();
    let written = value(pg_type, text, out, 0);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

/// Appends a JSON string, quotes included.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    string::write(text, out);
}

fn value(pg_type: &PgType, text: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<Written, ValueError> {
    match pg_type {
        PgType::Text | PgType::Bpchar | PgType::Enum(_) | PgType::Other => string::write(text, out),
        PgType::Bool => boolean(text, out)?,
        PgType::Int2 | PgType::Int4 => number::integer(text, out)?,
        PgType::Int8 => number::big_integer(text, out)?,
        PgType::Numeric => number::decimal(text, out)?,
        PgType::Float4 | PgType::Float8 => return number::float(text, out),
        PgType::Uuid => uuid(text, out)?,
        PgType::Date => time::date(text, out)?,
        PgType::Time => time::time(text, out)?,
        PgType::Timestamp => time::timestamp(text, out)?,
        PgType::TimestampTz => time::timestamptz(text, out)?,
        PgType::Json => document::write(text, out)?,
        PgType::Bytea => bytea(text, out)?,
        PgType::Array(array) => return array::write(array, text, out, deeper(depth)?),
        PgType::Composite(composite) => return composite::write(composite, text, out, deeper(depth)?),
    }
    Ok(Written::Value)
}

fn deeper(depth: usize) -> Result<usize, ValueError> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(ValueError::TooDeep) }
}

fn boolean(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    out.extend_from_slice(match text {
        b"t" => b"true",
        b"f" => b"false",
        _ => return Err(ValueError::Malformed { expected: "a boolean" }),
    });
    Ok(())
}

fn uuid(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if text.len() != 36 || !text.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-') {
        return Err(ValueError::Malformed { expected: "a uuid" });
    }
    quoted(text, out);
    Ok(())
}

fn bytea(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let digits = text.strip_prefix(b"\\x").filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let digits = digits.ok_or(ValueError::Malformed { expected: "a bytea in hexadecimal" })?;
    out.extend_from_slice(b"\"\\\\x");
    out.extend_from_slice(digits);
    out.push(b'"');
    Ok(())
}

/// A string of characters that need no escape, as the caller has checked.
fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}
