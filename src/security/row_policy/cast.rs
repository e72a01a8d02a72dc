//! Text as a value of a type, as the type's input function reads it, as far as that is the same in every version and
//! under every setting.

use std::borrow::Cow;

use super::constant::{Stop, Value};
use super::types::Type;
use super::why::Why;
use crate::predicate::{Numeric, Scalar};

/// PostgreSQL's `NAMEDATALEN` less one: longer names are cut.
const NAME_BYTES_MAX: usize = 63;

/// `text::to`
pub(super) fn text(text: &str, to: &Type) -> Result<Value, Stop> {
    let invalid = || Stop::Invalid { expected: to.to_string().into() };
    let unclear = || Stop::Delegated(Why::Spelling(to.to_string().into()));
    match to {
        Type::Name if text.len() > NAME_BYTES_MAX => Err(unclear()),
        Type::Text | Type::Name | Type::Named(_) => Ok(Value::text(text)),
        Type::Bpchar => Ok(Value::text(text.trim_end_matches(' '))),
        Type::Bool => boolean(text).map(Value::bool).ok_or_else(invalid),
        Type::Int2 | Type::Int4 | Type::Int8 => integer(text, to, invalid, unclear),
        Type::Numeric => number(text, invalid, unclear),
        Type::Uuid => plain(text, to).ok_or_else(invalid),
        Type::Date | Type::Timestamp | Type::TimestampTz => iso(text, to).ok_or_else(unclear),
        Type::Double => Err(unclear()),
        Type::Json | Type::Jsonb => super::claims::parse(text, invalid, unclear),
        Type::Array(element) => array(text, element, invalid, unclear),
    }
}

fn plain(text: &str, to: &Type) -> Option<Value> {
    Scalar::from_text(&to.pg_type()?, text.as_bytes()).map(Value::Scalar)
}

/// Any unambiguous beginning of a word, in any case, between blanks.
fn boolean(text: &str) -> Option<bool> {
    let word = trimmed(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    match word.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        _ if begins("true", 1) || begins("yes", 1) || begins("on", 2) => Some(true),
        _ if begins("false", 1) || begins("no", 1) || begins("off", 2) => Some(false),
        _ => None,
    }
}

/// Digits of other bases and with underscores are read by PostgreSQL 16 and newer alone.
fn integer(text: &str, to: &Type, invalid: impl Fn() -> Stop, unclear: impl Fn() -> Stop) -> Result<Value, Stop> {
    let text = trimmed(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(invalid());
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let newer = digits.contains('_') || digits.starts_with('0');
        return Err(if newer { unclear() } else { invalid() });
    }
    let value = text.parse::<i64>().ok().filter(|value| in_range(*value, to));
    value.map(Value::int).ok_or_else(invalid)
}

/// Whether an integer is one of this width.
pub(super) fn in_range(value: i64, to: &Type) -> bool {
    match to {
        Type::Int2 => i16::try_from(value).is_ok(),
        Type::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    }
}

fn number(text: &str, invalid: impl Fn() -> Stop, unclear: impl Fn() -> Stop) -> Result<Value, Stop> {
    let text = trimmed(text);
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        let special = text.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
        return Err(if special { unclear() } else { invalid() });
    }
    let written = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+');
    let value = if text.bytes().all(written) { Numeric::parse(text) } else { None };
    value.map(|value| Value::Scalar(Scalar::Numeric(value))).ok_or_else(unclear)
}

/// A year of four digits first: `DateStyle` does not matter then.
fn iso(text: &str, to: &Type) -> Option<Value> {
    let four = text.len() >= 10 && text.as_bytes().get(4) == Some(&b'-');
    let digits = text.bytes().take(4).all(|byte| byte.is_ascii_digit());
    (four && digits && !text.ends_with("BC")).then(|| plain(text, to)).flatten()
}

/// `{a,b}` without quotes, escapes, blanks and further dimensions.
fn array(text: &str, element: &Type, invalid: impl Fn() -> Stop, unclear: impl Fn() -> Stop) -> Result<Value, Stop> {
    if !text.trim_start().starts_with(['{', '[']) {
        return Err(invalid());
    }
    let body = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).ok_or_else(&unclear)?;
    if body.contains(['"', '\\', '{', '}']) || body.contains(|letter: char| letter.is_whitespace()) {
        return Err(unclear());
    }
    let items: Vec<&str> = if body.is_empty() { Vec::new() } else { body.split(',').collect() };
    if items.iter().any(|item| item.is_empty()) {
        return Err(invalid());
    }
    let read = |item: &&str| if item.eq_ignore_ascii_case("null") { Ok(None) } else { scalar(item, element) };
    Ok(Value::Array(items.iter().map(read).collect::<Result<_, _>>()?))
}

/// An element, or an element of another array cast.
pub(super) fn scalar(text: &str, to: &Type) -> Result<Option<Scalar>, Stop> {
    match self::text(text, to)? {
        Value::Scalar(scalar) => Ok(Some(scalar)),
        Value::Null => Ok(None),
        Value::Json(_) | Value::Array(_) => Err(Stop::Delegated(Why::Form("an array of documents"))),
    }
}

/// What C's `isspace` takes for a blank.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}'])
}

/// A value's text, for casts to text.
pub(super) fn to_text(scalar: &Scalar) -> Option<Cow<'_, str>> {
    match scalar {
        Scalar::Text(text) => Some(Cow::Borrowed(text)),
        Scalar::Int(value) => Some(Cow::Owned(value.to_string())),
        Scalar::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        _ => None,
    }
}
