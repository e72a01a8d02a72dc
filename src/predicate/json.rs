//! JSON documents for `@>` (manual, section 8.14.3 "jsonb Containment and Existence").
//!
//! Numbers are numeric, as in `jsonb`: `1`, `1.0` and `1e0` are one number and no digit is lost. Object keys are sorted
//! and the last of equal keys wins, also as in `jsonb`. A document is read as deep as an operand may nest: what lies
//! deeper is contained in nothing, and neither compared nor kept.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::Numeric;

/// A JSON value. The order is only for sorting conditions; PostgreSQL has another one, which no operator here uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number.
    Number(Numeric),
    /// A string.
    String(Box<str>),
    /// An array.
    Array(Box<[Json]>),
    /// An object, by key.
    Object(BTreeMap<Box<str>, Json>),
    /// What lies deeper than any operand.
    Deeper,
}

impl Json {
    /// How deep an operand may nest.
    pub const OPERAND_DEPTH_MAX: usize = 128;

    /// Reads a document of any depth.
    pub fn parse(text: &str) -> Option<Json> {
        read(text.trim_matches(BLANKS), 0, Some(&Json::Deeper))
    }

    /// Reads what documents are to contain; `None` also where it nests deeper than they are read.
    pub fn operand(text: &str) -> Option<Json> {
        read(text.trim_matches(BLANKS), 0, None)
    }

    /// Whether `self @> part`.
    pub fn contains(&self, part: &Json) -> bool {
        match (self, part) {
            // The one exception to "same structure": an array contains a scalar, at the top only.
            (Json::Array(items), Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => {
                items.contains(part)
            }
            _ => self.covers(part),
        }
    }

    fn covers(&self, part: &Json) -> bool {
        match (self, part) {
            (Json::Object(whole), Json::Object(parts)) => {
                parts.iter().all(|(key, part)| whole.get(key).is_some_and(|value| value.covers(part)))
            }
            (Json::Array(items), Json::Array(parts)) => {
                parts.iter().all(|part| items.iter().any(|item| item.covers(part)))
            }
            _ => self == part,
        }
    }
}

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// One level at a time, because only the raw text of a number has all its digits.
fn read(text: &str, depth: usize, deeper: Option<&Json>) -> Option<Json> {
    if depth > Json::OPERAND_DEPTH_MAX {
        return deeper.cloned();
    }
    Some(match text.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<Box<str>, &RawValue> = serde_json::from_str(text).ok()?;
            let read = |(key, value): (_, &RawValue)| Some((key, read(value.get(), depth + 1, deeper)?));
            Json::Object(members.into_iter().map(read).collect::<Option<_>>()?)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Json::Array(items.into_iter().map(|item| read(item.get(), depth + 1, deeper)).collect::<Option<_>>()?)
        }
        b'"' => Json::String(serde_json::from_str(text).ok()?),
        b't' | b'f' => Json::Bool(serde_json::from_str(text).ok()?),
        b'n' => serde_json::from_str::<()>(text).ok().map(|()| Json::Null)?,
        b'-' | b'0'..=b'9' => Json::Number(Numeric::parse(text)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Json;

    #[test]
    fn numbers_keep_every_digit() {
        let json = Json::parse(r#"{"n": [12345678901234567890.12345678901234567890, 1.0]}"#).unwrap();
        assert!(json.contains(&Json::parse(r#"{"n": [12345678901234567890.1234567890123456789]}"#).unwrap()));
        assert!(!json.contains(&Json::parse(r#"{"n": [12345678901234567890.1234567890123456788]}"#).unwrap()));
        assert!(json.contains(&Json::parse(r#"{"n": [1]}"#).unwrap()));
    }

    #[test]
    fn a_document_contains_an_operand_however_deep_it_nests_itself() {
        let nested = |depth: usize| "[".repeat(depth) + "1" + &"]".repeat(depth);
        let deepest = Json::operand(&nested(Json::OPERAND_DEPTH_MAX)).unwrap();
        let brackets = "[".repeat(128) + &"]".repeat(128);
        for depth in [Json::OPERAND_DEPTH_MAX, Json::OPERAND_DEPTH_MAX + 1, 10_000] {
            let document = Json::parse(&nested(depth)).unwrap();
            assert_eq!(document.contains(&deepest), depth == Json::OPERAND_DEPTH_MAX, "{depth}");
            assert!(document.contains(&Json::operand(&brackets).unwrap()), "{depth}");
        }
        assert_eq!(Json::operand(&nested(Json::OPERAND_DEPTH_MAX + 1)), None);
    }

    #[test]
    fn a_broken_document_is_not_read() {
        for text in ["", "{", "nul", "[1,]", "1 2", "-", "{\"a\":}", "\"\\ud800\""] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }
}
