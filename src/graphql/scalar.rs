//! The scalar types of the schema: what they are called, what they promise, and which input they accept.
//!
//! Accepted input is put into one canonical JSON form, the same that payloads carry: a big integer is a string of
//! digits whether the client wrote a number or a string.

use serde_json::Value;

use crate::model::PgType;

/// Every scalar a schema can hold. The first five are the specification's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // their descriptions are below, where clients read them too
pub enum Scalar {
    Int,
    Float,
    String,
    Boolean,
    Id,
    BigInt,
    Decimal,
    Uuid,
    Date,
    Time,
    LocalDateTime,
    DateTime,
    Json,
    Bytes,
}

impl Scalar {
    pub(super) const ALL: [Scalar; 14] = [
        Scalar::Int,
        Scalar::Float,
        Scalar::String,
        Scalar::Boolean,
        Scalar::Id,
        Scalar::BigInt,
        Scalar::Decimal,
        Scalar::Uuid,
        Scalar::Date,
        Scalar::Time,
        Scalar::LocalDateTime,
        Scalar::DateTime,
        Scalar::Json,
        Scalar::Bytes,
    ];

    /// The GraphQL name.
    pub fn name(self) -> &'static str {
        match self {
            Scalar::Int => "Int",
            Scalar::Float => "Float",
            Scalar::String => "String",
            Scalar::Boolean => "Boolean",
            Scalar::Id => "ID",
            Scalar::BigInt => "BigInt",
            Scalar::Decimal => "Decimal",
            Scalar::Uuid => "UUID",
            Scalar::Date => "Date",
            Scalar::Time => "Time",
            Scalar::LocalDateTime => "LocalDateTime",
            Scalar::DateTime => "DateTime",
            Scalar::Json => "JSON",
            Scalar::Bytes => "Bytes",
        }
    }

    /// The scalar of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scalar| scalar.name() == name)
    }

    /// Its description in the schema; `None` for the specification's own scalars, which a schema does not define.
    pub(super) fn description(self) -> Option<&'static str> {
        Some(match self {
            Scalar::Int | Scalar::Float | Scalar::String | Scalar::Boolean | Scalar::Id => return None,
            Scalar::BigInt => {
                "A 64-bit integer as a string of digits, since JSON numbers lose digits beyond 2^53 in many clients."
            }
            Scalar::Decimal => "A decimal number of any precision as a string, with every digit.",
            Scalar::Uuid => "A UUID in its hyphenated form.",
            Scalar::Date => "A calendar date, such as 2026-11-23.",
            Scalar::Time => "A time of day without an offset, such as 16:16:15.123456.",
            Scalar::LocalDateTime => "A date and time without an offset, such as 2026-11-23T16:16:15.123456.",
            Scalar::DateTime => "A moment as ISO 8601 in UTC, such as 2026-11-23T16:16:15.123456+00:00.",
            Scalar::Json => "Any JSON value.",
            Scalar::Bytes => r"Bytes in hexadecimal after \x, as PostgreSQL prints them.",
        })
    }

    /// The scalar of a column type; `None` for types that have none of their own (enums, arrays, composites, others).
    pub(super) fn of_column(pg_type: &PgType) -> Option<Self> {
        Some(match pg_type {
            PgType::Bool => Scalar::Boolean,
            PgType::Int2 | PgType::Int4 => Scalar::Int,
            PgType::Int8 => Scalar::BigInt,
            PgType::Numeric => Scalar::Decimal,
            PgType::Float4 | PgType::Float8 => Scalar::Float,
            PgType::Text | PgType::Bpchar => Scalar::String,
            PgType::Uuid => Scalar::Uuid,
            PgType::Date => Scalar::Date,
            PgType::Time => Scalar::Time,
            PgType::Timestamp => Scalar::LocalDateTime,
            PgType::TimestampTz => Scalar::DateTime,
            PgType::Json => Scalar::Json,
            PgType::Bytea => Scalar::Bytes,
            PgType::Enum(_) | PgType::Array(_) | PgType::Composite(_) | PgType::Other => return None,
        })
    }

    /// The canonical form of an input value, or what is wrong with it in the words of graphql-js.
    pub(super) fn coerce(self, value: &Value) -> Result<Value, String> {
        match self {
            Scalar::Int => int(value),
            Scalar::Float => value.as_f64().map(|_| value.clone()).ok_or_else(|| refusal(self, "non numeric", value)),
            Scalar::Boolean => {
                value.is_boolean().then(|| value.clone()).ok_or_else(|| refusal(self, "a non boolean", value))
            }
            Scalar::Id => id(value),
            Scalar::BigInt => big_int(value),
            Scalar::Decimal => decimal(value),
            Scalar::Uuid => uuid(value),
            Scalar::Json => Ok(value.clone()),
            // The text of a date is judged where the predicate is parsed: it knows the column.
            Scalar::String | Scalar::Date | Scalar::Time | Scalar::LocalDateTime | Scalar::DateTime | Scalar::Bytes => {
                value.is_string().then(|| value.clone()).ok_or_else(|| refusal(self, "a non string", value))
            }
        }
    }
}

fn refusal(scalar: Scalar, what: &str, value: &Value) -> String {
    format!("{} cannot represent {what} value: {}", scalar.name(), shown(value))
}

/// A client's own value as its error message repeats it: never longer than a line.
pub(super) fn shown(value: &Value) -> String {
    const LENGTH_MAX: usize = 120;
    let text = value.to_string();
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn int(value: &Value) -> Result<Value, String> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0 && is_exact(value));
    let number = number.ok_or_else(|| refusal(Scalar::Int, "non-integer", value))?;
    if number < f64::from(i32::MIN) || number > f64::from(i32::MAX) {
        return Err(refusal(Scalar::Int, "non 32-bit signed integer", value));
    }
    Ok(Value::from(number as i64))
}

/// Whether no digit of a number is lost in an `f64`: of more than 15 significant ones it may be, and no `Int` has as
/// many.
fn is_exact(value: &Value) -> bool {
    let text = value.as_number().map_or("", |number| number.as_str());
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text).replace(['-', '.'], "");
    mantissa.trim_matches('0').len() <= 15
}

fn id(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Number(number) if is_integer(number.as_str()) => Ok(Value::from(number.as_str())),
        _ => Err(format!("ID cannot represent value: {}", shown(value))),
    }
}

fn big_int(value: &Value) -> Result<Value, String> {
    let integer = match value {
        Value::String(text) => text.parse::<i64>().ok(),
        number => number.as_i64(),
    };
    integer
        .map(|integer| Value::from(integer.to_string()))
        .ok_or_else(|| refusal(Scalar::BigInt, "non 64-bit integer", value))
}

fn is_integer(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

fn decimal(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) if is_decimal(text) => Ok(value.clone()),
        Value::Number(number) => Ok(Value::from(number.as_str())),
        _ => Err(refusal(Scalar::Decimal, "non-decimal", value)),
    }
}

/// What PostgreSQL's `numeric` reads: digits with at most one point and an exponent, or one of its words.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return true;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    all_digits(whole)
        && all_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && !exponent.is_empty()
        && all_digits(exponent)
}

fn uuid(value: &Value) -> Result<Value, String> {
    value
        .as_str()
        .and_then(canonical_uuid)
        .map(Value::from)
        .ok_or_else(|| format!("UUID cannot represent value: {}", shown(value)))
}

fn canonical_uuid(text: &str) -> Option<String> {
    let hyphens = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let well_formed = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if hyphens(at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    well_formed.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn input_takes_the_form_that_payloads_have() {
        for (scalar, input, canonical) in [
            (Scalar::Int, json!(3), json!(3)),
            (Scalar::Int, json!(3.0), json!(3)),
            (Scalar::BigInt, json!(9_007_199_254_740_993_i64), json!("9007199254740993")),
            (Scalar::BigInt, json!("-9223372036854775808"), json!("-9223372036854775808")),
            (Scalar::Decimal, json!(19.99), json!("19.99")),
            (Scalar::Decimal, json!(7), json!("7")),
            (Scalar::Decimal, json!("1234567890.12345678901234567890"), json!("1234567890.12345678901234567890")),
            (Scalar::Decimal, json!("-Infinity"), json!("-Infinity")),
            (Scalar::Id, json!(7), json!("7")),
            (
                Scalar::Uuid,
                json!("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
                json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ),
            (Scalar::Json, json!({"a": [1]}), json!({"a": [1]})),
        ] {
            assert_eq!(scalar.coerce(&input), Ok(canonical), "{}", scalar.name());
        }
    }

    #[test]
    fn a_number_keeps_its_digits() {
        let number: Value = serde_json::from_str("1234567890.12345678901234567890").unwrap();
        assert_eq!(Scalar::Decimal.coerce(&number), Ok(json!("1234567890.12345678901234567890")));
        for nearly in ["3.0000000000000000000001", "2.9999999999999999999999"] {
            assert!(Scalar::Int.coerce(&serde_json::from_str(nearly).unwrap()).is_err(), "{nearly}");
        }
        assert_eq!(Scalar::Int.coerce(&serde_json::from_str("3.00000000000000000000000").unwrap()), Ok(json!(3)));
        assert!(Scalar::BigInt.coerce(&json!(1e300)).is_err());
        assert!(Scalar::BigInt.coerce(&json!("9223372036854775808")).is_err());
    }

    #[test]
    fn wrong_input_is_refused_by_every_scalar_but_json() {
        for scalar in Scalar::ALL.into_iter().filter(|scalar| *scalar != Scalar::Json) {
            assert!(scalar.coerce(&json!({"a": 1})).is_err(), "{}", scalar.name());
        }
        for text in ["", ".", "1e", "1.2.3", "0x1", "--1"] {
            assert!(Scalar::Decimal.coerce(&json!(text)).is_err(), "{text}");
        }
        assert!(Scalar::Uuid.coerce(&json!("a0eebc999c0b-4ef8-bb6d-6bb9bd380a11-é")).is_err());
    }

    #[test]
    fn a_message_never_repeats_a_long_value() {
        let message = Scalar::Int.coerce(&json!("é".repeat(100_000))).unwrap_err();
        assert!(message.len() < 400);
    }
}
