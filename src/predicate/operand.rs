//! A JSON operand as a value of its column's type, without losing a digit.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::Scalar;
use crate::model::{Column, PgType};

/// A double has this many decimal digits for certain; a number with more may not be what the client wrote.
const EXACT_DIGITS: usize = 15;

/// The operand of a comparison. `null` is the caller's to judge.
pub(super) fn scalar(column: &Column, value: &Value) -> Option<Scalar> {
    typed(&column.pg_type, value).map(|scalar| scalar.in_column(column))
}

fn typed(pg_type: &PgType, value: &Value) -> Option<Scalar> {
    match pg_type {
        PgType::Json => Scalar::from_text(pg_type, value.to_string().as_bytes()),
        PgType::Array(array) => {
            let elements = value.as_array()?.iter().map(|element| match element {
                Value::Null => Some(None),
                element => typed(&array.element, element).map(Some),
            });
            Some(Scalar::Array(elements.collect::<Option<_>>()?))
        }
        _ => Scalar::from_text(pg_type, spelled(pg_type, value)?.as_bytes()),
    }
}

fn spelled<'v>(pg_type: &PgType, value: &'v Value) -> Option<Cow<'v, str>> {
    match (pg_type, value) {
        (PgType::Bool, Value::Bool(value)) => Some(Cow::Borrowed(if *value { "t" } else { "f" })),
        (PgType::Numeric, Value::Number(number)) => exact(number).map(Cow::Owned),
        (PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Float4 | PgType::Float8, Value::Number(number)) => {
            Some(Cow::Owned(number.to_string()))
        }
        (PgType::Bool, _) => None,
        (_, Value::String(text)) => Some(Cow::Borrowed(text)),
        _ => None,
    }
}

/// Integers of 64 bits are exact; a fraction is when it is short enough to have survived being a double.
fn exact(number: &Number) -> Option<String> {
    let text = number.to_string();
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count();
    (number.is_i64() || number.is_u64() || digits <= EXACT_DIGITS).then_some(text)
}

/// What an operand of this type looks like, for the error message.
pub(super) fn expected(pg_type: &PgType) -> Cow<'static, str> {
    match pg_type {
        PgType::Bool => "true or false".into(),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => "an integer of at most 64 bits, as a number or a string".into(),
        PgType::Numeric => "a decimal number, as a string when it has more than 15 digits".into(),
        PgType::Float4 | PgType::Float8 => "a number within the column's range".into(),
        PgType::Text => "a string".into(),
        PgType::Uuid => "a UUID such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into(),
        PgType::Date => "a date such as 2026-11-23".into(),
        PgType::Time => "a time such as 16:16:15.25".into(),
        PgType::Timestamp => "a timestamp without an offset such as 2026-11-23T16:16:15".into(),
        PgType::TimestampTz => "a timestamp with an offset such as 2026-11-23T16:16:15Z".into(),
        PgType::Json => "JSON".into(),
        PgType::Bytea => "hexadecimal bytes after \\x, such as \\x00ff".into(),
        PgType::Enum(labels) => format!("one of {}", labels.labels.join(", ")).into(),
        PgType::Array(array) => format!("a list of elements, each {}", expected(&array.element)).into(),
        PgType::Composite(_) | PgType::Other => "no operand: this type is not compared".into(),
    }
}
