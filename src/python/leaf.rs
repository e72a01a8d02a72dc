//! Python values as GraphQL scalars, straight to JSON. An error is the sentence part that says what was expected.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyString};

use crate::decode::json::write_string;
use crate::graphql::Scalar;
use crate::graphql::plan::LeafKind;

/// JSON values nest no deeper than this in a result.
const DEPTH_MAX: usize = 64;

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
        Scalar::Float => number(float(value), out).ok_or("a finite number"),
        Scalar::Boolean => boolean(value, out).ok_or("a bool"),
        Scalar::BigInt => string(integer(value).map(|n| n.to_string()), out).ok_or("a 64-bit integer"),
        Scalar::String | Scalar::Id => string(text(value), out).ok_or("a string"),
        Scalar::Decimal => string(decimal(value), out).ok_or("a Decimal"),
        Scalar::Uuid => string(text(value), out).ok_or("a UUID"),
        Scalar::Date => string(moment(value), out).ok_or("a date"),
        Scalar::Time => string(moment(value), out).ok_or("a time"),
        Scalar::LocalDateTime | Scalar::DateTime => string(moment(value), out).ok_or("a datetime"),
        Scalar::Bytes => string(hexadecimal(value), out).ok_or("bytes"),
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

/// `True` is no integer here, whatever Python says; digits in a string are one, as big integers travel so.
fn integer(value: &Bound<'_, PyAny>) -> Option<i64> {
    if value.is_instance_of::<PyBool>() {
        return None;
    }
    match value.cast::<PyString>() {
        Ok(digits) => digits.to_str().ok()?.parse().ok(),
        Err(_) => value.cast::<PyInt>().ok()?.extract().ok(),
    }
}

fn float(value: &Bound<'_, PyAny>) -> Option<f64> {
    let is_number = !value.is_instance_of::<PyBool>() && !value.is_instance_of::<PyString>();
    is_number.then(|| value.extract::<f64>().ok()).flatten().filter(|value| value.is_finite())
}

/// What has one text form: strings, UUIDs, integers, Decimals, enums.
fn text(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return text.to_str().ok().map(ToOwned::to_owned);
    }
    let known = value.cast::<PyInt>().is_ok() && !value.is_instance_of::<PyBool>()
        || matches!(class_name(value)?.as_str(), "UUID" | "Decimal");
    if known { shown(value) } else { moment(value).or_else(|| enum_name(value)) }
}

fn decimal(value: &Bound<'_, PyAny>) -> Option<String> {
    let is_number = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>()
        || value.is_instance_of::<PyFloat>()
        || value.is_instance_of::<PyString>()
        || class_name(value)? == "Decimal";
    is_number.then(|| shown(value)).flatten()
}

/// Dates and times in ISO 8601, or the text that PostgreSQL printed for one that Python cannot hold.
fn moment(value: &Bound<'_, PyAny>) -> Option<String> {
    match value.cast::<PyString>() {
        Ok(text) => text.to_str().ok().map(ToOwned::to_owned),
        Err(_) => value.call_method0("isoformat").ok()?.extract().ok(),
    }
}

fn hexadecimal(value: &Bound<'_, PyAny>) -> Option<String> {
    match value.cast::<PyBytes>() {
        Ok(bytes) => Some(bytes.as_bytes().iter().fold("\\x".to_owned(), |text, byte| format!("{text}{byte:02x}"))),
        Err(_) => value.cast::<PyString>().ok()?.to_str().ok().map(ToOwned::to_owned),
    }
}

/// An enum member's name, or the string that is one.
fn enum_name(value: &Bound<'_, PyAny>) -> Option<String> {
    if value.hasattr("_name_").unwrap_or(false) {
        return value.getattr("name").ok()?.extract().ok();
    }
    value.cast::<PyString>().ok()?.to_str().ok().map(ToOwned::to_owned)
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
    if value.is_instance_of::<PyInt>() {
        return number(shown(value), out);
    }
    if value.is_instance_of::<PyFloat>() {
        return number(shown(value).filter(|_| float(value).is_some()), out);
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        return json_object(dict, out, depth);
    }
    if let Some(text) = hexadecimal(value).or_else(|| text(value)) {
        return string(Some(text), out);
    }
    json_array(value, out, depth)
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

fn class_name(value: &Bound<'_, PyAny>) -> Option<String> {
    value.get_type().name().ok()?.extract().ok()
}
