//! Python values as GraphQL scalars, straight to JSON. An error is the sentence part that says what was expected.
//!
//! What a user's class says of itself is never written unquoted: numbers are read by value, not by `str`, which a
//! subclass may define as it likes. Decimals are written in full, as PostgreSQL prints them.

use std::fmt::Write;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMapping, PyMemoryView, PyString};

use super::convert::{is_date, is_datetime, is_decimal, is_time, is_uuid};
use crate::decode::json::write_string;
use crate::graphql::Scalar;
use crate::graphql::plan::LeafKind;

/// JSON values nest no deeper than this in a result.
const DEPTH_MAX: usize = 64;

/// `numeric` has no more digits than these before and behind its point; what has more keeps its exponent.
const DECIMAL_DIGITS_MAX: i64 = 131_072;

/// Writes one leaf.
pub(super) fn write(kind: &LeafKind, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), String> {
    match kind {
        LeafKind::Scalar(scalar) => write_scalar(*scalar, value, out).map_err(ToOwned::to_owned),
        LeafKind::Enum { name, values } => {
            let text = enum_name(value).filter(|text| values.iter().any(|known| **known == **text));
            quoted(&text.ok_or_else(|| format!("a value of enum {name}"))?, out);
            Ok(())
        }
    }
}

fn write_scalar(scalar: Scalar, value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match scalar {
        Scalar::Int => number(integer(value).filter(|n| i32::try_from(*n).is_ok()), out).ok_or("a 32-bit integer"),
        Scalar::Float => float(value, out).ok_or("a finite number"),
        Scalar::Boolean => boolean(value, out).ok_or("a bool"),
        Scalar::BigInt => string(integer(value).map(|n| n.to_string()), out).ok_or("a 64-bit integer"),
        Scalar::String | Scalar::Id => string(text(value), out).ok_or("a string"),
        Scalar::Decimal => string(decimal(value), out).ok_or("a Decimal"),
        Scalar::Uuid => string(uuid(value), out).ok_or("a UUID"),
        Scalar::Date => string(moment(value, is_date), out).ok_or("a date"),
        Scalar::Time => string(moment(value, is_time), out).ok_or("a time"),
        Scalar::LocalDateTime | Scalar::DateTime => string(moment(value, is_datetime), out).ok_or("a datetime"),
        Scalar::Bytes => string(hexadecimal(value).or_else(|| plain(value)), out).ok_or("bytes"),
        Scalar::Json => json(value, out, DEPTH_MAX).ok_or("a JSON value"),
    }
}

fn number<T: std::fmt::Display>(number: Option<T>, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(number?.to_string().as_bytes());
    Some(())
}

fn string(text: Option<String>, out: &mut Vec<u8>) -> Option<()> {
    quoted(&text?, out);
    Some(())
}

fn quoted(text: &str, out: &mut Vec<u8>) {
    write_string(text.as_bytes(), out);
}

fn boolean(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Option<()> {
    let value = value.cast::<PyBool>().ok()?.is_true();
    out.extend_from_slice(if value { b"true" } else { b"false" });
    Some(())
}

/// Unlike in Python, `True` is not an integer here; a string of digits is one, because clients send big integers so.
fn integer(value: &Bound<'_, PyAny>) -> Option<i64> {
    match plain(value) {
        Some(digits) => digits.parse().ok(),
        None => whole(value)?.extract().ok(),
    }
}

fn whole<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyInt>> {
    value.cast::<PyInt>().ok().filter(|_| !value.is_instance_of::<PyBool>())
}

/// All digits of an integer of any size.
fn digits(value: &Bound<'_, PyInt>) -> Option<String> {
    if let Ok(small) = value.extract::<i64>() {
        return Some(small.to_string());
    }
    value.py().get_type::<PyInt>().call_method1("__repr__", (value,)).ok()?.extract().ok()
}

/// The shortest text that reads back the same.
fn float(value: &Bound<'_, PyAny>, out: &mut Vec<u8>) -> Option<()> {
    let is_number = !value.is_instance_of::<PyBool>() && !value.is_instance_of::<PyString>();
    let float: f64 = is_number.then(|| value.extract().ok()).flatten()?;
    number(serde_json::Number::from_f64(float), out)
}

/// What has one text form: strings, UUIDs, integers, Decimals, moments, enums.
fn text(value: &Bound<'_, PyAny>) -> Option<String> {
    plain(value)
        .or_else(|| whole(value).and_then(digits))
        .or_else(|| uuid(value))
        .or_else(|| is_decimal(value).then(|| fixed(value)).flatten())
        .or_else(|| moment(value, |value| is_datetime(value) || is_date(value) || is_time(value)))
        .or_else(|| enum_name(value))
}

/// A `str`, by its value.
fn plain(value: &Bound<'_, PyAny>) -> Option<String> {
    value.cast::<PyString>().ok()?.to_str().ok().map(ToOwned::to_owned)
}

fn uuid(value: &Bound<'_, PyAny>) -> Option<String> {
    match plain(value) {
        Some(text) => Some(text).filter(|text| is_uuid_text(text)),
        None if is_uuid(value) => shown(value).filter(|text| is_uuid_text(text)),
        None => None,
    }
}

fn is_uuid_text(text: &str) -> bool {
    let is_dash = |index: usize| matches!(index, 8 | 13 | 18 | 23);
    text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(index, byte)| if is_dash(index) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

fn decimal(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Some(text) = plain(value) {
        return Some(text).filter(|text| is_decimal_text(text));
    }
    if let Some(whole) = whole(value) {
        return digits(whole);
    }
    if value.is_instance_of::<PyFloat>() {
        let float: f64 = value.extract().ok()?;
        return Some(if float.is_finite() { float.to_string() } else { not_finite(float).to_owned() });
    }
    is_decimal(value).then(|| fixed(value)).flatten()
}

/// A Decimal by the method of its base class, without exponent.
fn fixed(value: &Bound<'_, PyAny>) -> Option<String> {
    let class = value.py().import("decimal").ok()?.getattr("Decimal").ok()?;
    let magnitude: i64 = class.call_method1("adjusted", (value,)).ok()?.extract().ok()?;
    let form = if magnitude.abs() <= DECIMAL_DIGITS_MAX { "f" } else { "" };
    let text: String = class.call_method1("__format__", (value, form)).ok()?.extract().ok()?;
    Some(text).filter(|text| is_decimal_text(text))
}

fn not_finite(float: f64) -> &'static str {
    match float {
        _ if float.is_nan() => "NaN",
        _ if float > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// A JSON number, or what `numeric` knows beside them.
fn is_decimal_text(text: &str) -> bool {
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || is_number && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
}

/// Dates and times in ISO 8601, or the text that stands for one that Python cannot hold.
fn moment(value: &Bound<'_, PyAny>, is_kind: impl Fn(&Bound<'_, PyAny>) -> bool) -> Option<String> {
    plain(value).or_else(|| is_kind(value).then(|| value.call_method0("isoformat").ok()?.extract().ok()).flatten())
}

fn hexadecimal(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Some(hex(bytes.as_bytes()));
    }
    let is_buffer = value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>();
    let bytes = is_buffer.then(|| value.py().get_type::<PyBytes>().call1((value,)).ok()).flatten()?;
    Some(hex(bytes.cast::<PyBytes>().ok()?.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An enum member's name, or the string that is one.
fn enum_name(value: &Bound<'_, PyAny>) -> Option<String> {
    if value.hasattr("_name_").unwrap_or(false) {
        return value.getattr("name").ok()?.extract().ok();
    }
    plain(value)
}

/// Any JSON value; what JSON has no form for takes its scalar's.
fn json(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    if value.is_none() {
        out.extend_from_slice(b"null");
        return Some(());
    }
    if value.is_instance_of::<PyBool>() {
        return boolean(value, out);
    }
    if let Some(whole) = whole(value) {
        return number(digits(whole), out);
    }
    if value.is_instance_of::<PyFloat>() {
        return float(value, out);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return json_object(dict, out, depth);
    }
    if let Some(text) = hexadecimal(value).or_else(|| text(value)) {
        return string(Some(text), out);
    }
    match value.cast::<PyMapping>() {
        Ok(mapping) => {
            json_object(&value.py().get_type::<PyDict>().call1((mapping,)).ok()?.cast_into().ok()?, out, depth)
        }
        Err(_) => json_array(value, out, depth),
    }
}

fn json_object(dict: &Bound<'_, PyDict>, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    out.push(b'{');
    for (index, (key, value)) in dict.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quoted(key.cast::<PyString>().ok()?.to_str().ok()?, out);
        out.push(b':');
        json(&value, out, depth)?;
    }
    out.push(b'}');
    Some(())
}

fn json_array(value: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> Option<()> {
    out.push(b'[');
    for (index, item) in value.try_iter().ok()?.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json(&item.ok()?, out, depth)?;
    }
    out.push(b']');
    Some(())
}

fn shown(value: &Bound<'_, PyAny>) -> Option<String> {
    value.str().ok()?.extract().ok()
}
