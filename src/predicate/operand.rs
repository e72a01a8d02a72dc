//! A JSON operand as a value of its column's type, without losing a digit.

use std::borrow::Cow;

use serde_json::Value;

use super::{Json, Scalar};
use crate::model::PgType;

/// The operand of a comparison. `null` is the caller's to judge.
pub(super) fn scalar(pg_type: &PgType, value: &Value) -> Option<Scalar> {
    match pg_type {
        PgType::Json => Json::operand(&value.to_string()).map(|json| Scalar::Json(Box::new(json))),
        PgType::Array(array) => {
            let elements = value.as_array()?.iter().map(|element| match element {
                Value::Null => Some(None),
                element => scalar(&array.element, element).map(Some),
            });
            Some(Scalar::Array(elements.collect::<Option<_>>()?))
        }
        _ => Scalar::from_text(pg_type, spelled(pg_type, value)?.as_bytes()),
    }
}

/// The operand of `contains`. Blanks at the end of what is looked for in `char(n)` are looked for.
pub(super) fn part(pg_type: &PgType, value: &Value) -> Option<Scalar> {
    scalar(if *pg_type == PgType::Bpchar { &PgType::Text } else { pg_type }, value)
}

fn spelled<'v>(pg_type: &PgType, value: &'v Value) -> Option<Cow<'v, str>> {
    match (pg_type, value) {
        (PgType::Bool, Value::Bool(value)) => Some(Cow::Borrowed(if *value { "t" } else { "f" })),
        (
            PgType::Int2 | PgType::Int4 | PgType::Int8 | PgType::Numeric | PgType::Float4 | PgType::Float8,
            Value::Number(number),
        ) => Some(Cow::Borrowed(number.as_str())),
        (PgType::Bool, _) => None,
        (_, Value::String(text)) => Some(Cow::Borrowed(text)),
        _ => None,
    }
}

/// What an operand of this type looks like, for the error message.
pub(super) fn expected(pg_type: &PgType) -> Cow<'static, str> {
    match pg_type {
        PgType::Bool => "true or false".into(),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => "an integer of at most 64 bits, as a number or a string".into(),
        PgType::Numeric => "a decimal number".into(),
        PgType::Float4 | PgType::Float8 => "a number within the column's range".into(),
        PgType::Text | PgType::Bpchar => "a string".into(),
        PgType::Uuid => "a UUID such as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into(),
        PgType::Date => "a date such as 2026-11-23".into(),
        PgType::Time => "a time such as 16:16:15.25".into(),
        PgType::Timestamp => "a timestamp without an offset such as 2026-11-23T16:16:15".into(),
        PgType::TimestampTz => "a timestamp with an offset such as 2026-11-23T16:16:15Z".into(),
        PgType::Json => format!("JSON that nests at most {} levels deep", Json::OPERAND_DEPTH_MAX).into(),
        PgType::Bytea => "hexadecimal bytes after \\x, such as \\x00ff".into(),
        PgType::Enum(labels) => format!("one of {}", labels.labels.join(", ")).into(),
        PgType::Array(array) => format!("a list of elements, each {}", expected(&array.element)).into(),
        PgType::Composite(_) | PgType::Other => "no operand: this type is not compared".into(),
    }
}
