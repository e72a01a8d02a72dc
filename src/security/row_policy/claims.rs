//! JSON in settings: the claims of a token, and `->`, `->>`, `#>`, `#>>` and `?` on them (manual, section 9.16).

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::constant::{Stop, Value};
use super::why::Why;
use crate::predicate::Scalar;

/// A step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `-> 'key'`: of an object.
    Key(Box<str>),
    /// `-> 0`: of an array; from its end when negative.
    Index(i64),
    /// `#> '{a,0}'`: whichever each word means where it is applied.
    Path(Box<[Box<str>]>),
}

/// A document that PostgreSQL takes too, with the same numbers.
pub(super) fn parse<E>(text: &str, invalid: impl Fn() -> E, unclear: impl Fn() -> E) -> Result<Value, E> {
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return Err(invalid());
    }
    // Refused by jsonb, and by json once it is looked into; and what only json keeps apart.
    if text.contains("\\u0000") {
        return Err(unclear());
    }
    serde_json::from_str(text).map(Value::Json).map_err(|_| unclear())
}

/// `document -> step`
pub(super) fn step(document: &Json, step: &Step) -> Result<Option<Json>, Stop> {
    match (document, step) {
        (Json::Object(members), Step::Key(key)) => Ok(members.get(&**key).cloned()),
        (Json::Array(items), Step::Index(index)) => Ok(element(items, *index).cloned()),
        (_, Step::Key(_)) | (Json::Object(_), Step::Index(_)) => Ok(None),
        // A scalar of jsonb is stored as an array of one, and this shows.
        (_, Step::Index(_)) => Err(Stop::Delegated(Why::Form("an index into a JSON scalar"))),
        (_, Step::Path(path)) => Ok(walk(document, path)?.cloned()),
    }
}

fn walk<'j>(document: &'j Json, path: &[Box<str>]) -> Result<Option<&'j Json>, Stop> {
    let mut at = document;
    for word in path {
        let next = match at {
            Json::Object(members) => members.get(&**word),
            Json::Array(items) => match word.parse::<i32>() {
                Ok(index) if word.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) => {
                    element(items, index.into())
                }
                _ => return Err(Stop::Delegated(Why::Form("a word that is not an index into a JSON array"))),
            },
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

fn element(items: &[Json], index: i64) -> Option<&Json> {
    let from_end = |index: i64| i64::try_from(items.len()).ok()?.checked_add(index);
    let index = if index < 0 { from_end(index)? } else { index };
    items.get(usize::try_from(index).ok()?)
}

/// `->>`: strings as they are, `null` as NULL; integers and truth values as they are printed.
pub(super) fn text(document: &Json) -> Result<Value, Stop> {
    match document {
        Json::Null => Ok(Value::Null),
        Json::String(text) => Ok(Value::text(text)),
        Json::Bool(value) => Ok(Value::text(if *value { "true" } else { "false" })),
        Json::Number(number) if is_printed_alike(number) => Ok(Value::text(number.as_str())),
        Json::Number(_) => Err(Stop::Delegated(Why::Spelling("as an integer".into()))),
        Json::Array(_) | Json::Object(_) => Err(Stop::Delegated(Why::Form("the text of a JSON array or object"))),
    }
}

/// Whether `jsonb` prints it as it is written: an integer, and not `-0`.
fn is_printed_alike(number: &serde_json::Number) -> bool {
    (number.is_i64() || number.is_u64()) && number.as_str() != "-0"
}

/// `document ? word`
pub(super) fn has(document: &Json, word: &str) -> Value {
    Value::Scalar(Scalar::Bool(match document {
        Json::Object(members) => members.contains_key(word),
        Json::Array(items) => items.iter().any(|item| item.as_str() == Some(word)),
        scalar => scalar.as_str() == Some(word),
    }))
}
