//! PostgreSQL's text format to Python's own types, for the events that resolvers receive.
//!
//! A value that its Python type cannot hold (`infinity`, a year BC or past 9999) is the text of its JSON form, so nothing
//! is lost. Arrays, composites and JSON arrive in their JSON form, parsed.

use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::decode::json;
use crate::model::{Datum, PgType, Table, Timestamp, Tuple};
use crate::security::Columns;

/// A row as a dict by column name, without columns whose value is unknown.
pub(super) fn row<'py>(
    py: Python<'py>,
    table: &Table,
    tuple: &Tuple,
    readable: &Columns,
) -> PyResult<Bound<'py, PyDict>> {
    columns(py, table, tuple, (0..table.columns.len()).filter(|index| readable.contains(*index)))
}

/// The readable columns of the primary key as a dict by column name.
pub(super) fn key<'py>(
    py: Python<'py>,
    table: &Table,
    tuple: &Tuple,
    readable: &Columns,
) -> PyResult<Bound<'py, PyDict>> {
    columns(py, table, tuple, table.key.iter().copied().filter(|index| readable.contains(*index)))
}

fn columns<'py>(
    py: Python<'py>,
    table: &Table,
    tuple: &Tuple,
    indexes: impl Iterator<Item = usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for index in indexes {
        let column = &table.columns[index];
        match tuple.get(index) {
            Datum::Absent | Datum::Unchanged => {}
            Datum::Null => dict.set_item(&column.name, py.None())?,
            Datum::Text(text) => dict.set_item(&column.name, value(py, &column.pg_type, text)?)?,
        }
    }
    Ok(dict)
}

/// One value in text format.
fn value<'py>(py: Python<'py>, pg_type: &PgType, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let text = utf8(bytes)?;
    match pg_type {
        PgType::Bool => (text == "t").into_bound_py_any(py),
        PgType::Int2 | PgType::Int4 | PgType::Int8 => parse_integer(text)?.into_bound_py_any(py),
        PgType::Numeric => class(py, &DECIMAL, "decimal", "Decimal")?.call1((text,)),
        PgType::Float4 | PgType::Float8 => parse_float(text)?.into_bound_py_any(py),
        PgType::Uuid => class(py, &UUID, "uuid", "UUID")?.call1((text,)),
        PgType::Date => from_iso(py, &DATE, "date", text, (pg_type, bytes)),
        PgType::Time => from_iso(py, &TIME, "time", &with_microseconds(text), (pg_type, bytes)),
        PgType::Timestamp | PgType::TimestampTz => {
            from_iso(py, &DATETIME, "datetime", &iso_timestamp(text), (pg_type, bytes))
        }
        PgType::Json | PgType::Array(_) | PgType::Composite(_) => json_value(py, pg_type, bytes),
        PgType::Bytea => match text.strip_prefix("\\x") {
            Some(hex) => py.get_type::<pyo3::types::PyBytes>().call_method1("fromhex", (hex,)),
            None => text.into_bound_py_any(py),
        },
        PgType::Text | PgType::Bpchar | PgType::Enum(_) | PgType::Other => text.into_bound_py_any(py),
    }
}

/// Microseconds since the epoch as an aware `datetime` in UTC.
pub(super) fn datetime(py: Python<'_>, at: Timestamp) -> PyResult<Bound<'_, PyAny>> {
    let utc = class(py, &TIMEZONE, "datetime", "timezone")?.getattr("utc")?;
    let epoch = class(py, &DATETIME, "datetime", "datetime")?.call1((1970, 1, 1, 0, 0, 0, 0, utc))?;
    let delta = class(py, &TIMEDELTA, "datetime", "timedelta")?.call1((0, 0, at.0))?;
    epoch.add(delta)
}

/// JSON text as Python values.
pub(super) fn loads<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")?.call1((text,))
}

/// The engine's text is UTF-8 by construction; should it not be, Python raises what it raises for its own.
pub(super) fn utf8(bytes: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(bytes).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn json_value<'py>(py: Python<'py>, pg_type: &PgType, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let _form = json::write(pg_type, bytes, &mut out).map_err(|error| PyValueError::new_err(error.to_string()))?;
    loads(py, utf8(&out)?)
}

fn parse_integer(text: &str) -> PyResult<i64> {
    text.parse()
        .map_err(|_| PyValueError::new_err("the server sent a value that is not an integer for an integer column"))
}

fn parse_float(text: &str) -> PyResult<f64> {
    let parsed = match text {
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        finite => finite.parse(),
    };
    parsed.map_err(|_| PyValueError::new_err("the server sent a value that is not a number for a float column"))
}

/// `fromisoformat`, or the JSON form's text when Python's type cannot hold the value.
fn from_iso<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    name: &str,
    iso: &str,
    (pg_type, bytes): (&PgType, &[u8]),
) -> PyResult<Bound<'py, PyAny>> {
    let class = class(py, cell, "datetime", name)?;
    match class.call_method1("fromisoformat", (iso,)) {
        Ok(value) => Ok(value),
        Err(error) if error.is_instance_of::<PyValueError>(py) => json_value(py, pg_type, bytes),
        Err(error) => Err(error),
    }
}

/// `2026-11-23 16:16:15.5+00` as Python 3.10's `fromisoformat` reads it: six digits, `+00:00`.
fn iso_timestamp(text: &str) -> String {
    match text.strip_suffix("+00") {
        Some(local) => with_microseconds(local) + "+00:00",
        None => with_microseconds(text),
    }
}

fn with_microseconds(text: &str) -> String {
    match text.rsplit_once('.') {
        Some((whole, fraction)) => format!("{whole}.{fraction:0<6}"),
        None => text.to_owned(),
    }
}

/// `isinstance` for the classes that have a scalar of their own; unlike in Python, a `datetime` is not a date here.
pub(super) fn is_decimal(value: &Bound<'_, PyAny>) -> bool {
    is_a(value, &DECIMAL, "decimal", "Decimal")
}

pub(super) fn is_uuid(value: &Bound<'_, PyAny>) -> bool {
    is_a(value, &UUID, "uuid", "UUID")
}

pub(super) fn is_datetime(value: &Bound<'_, PyAny>) -> bool {
    is_a(value, &DATETIME, "datetime", "datetime")
}

pub(super) fn is_date(value: &Bound<'_, PyAny>) -> bool {
    is_a(value, &DATE, "datetime", "date") && !is_datetime(value)
}

pub(super) fn is_time(value: &Bound<'_, PyAny>) -> bool {
    is_a(value, &TIME, "datetime", "time")
}

fn is_a(value: &Bound<'_, PyAny>, cell: &'static PyOnceLock<Py<PyType>>, module: &str, name: &str) -> bool {
    class(value.py(), cell, module, name).and_then(|class| value.is_instance(class)).unwrap_or(false)
}

static DECIMAL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static UUID: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DATE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static TIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DATETIME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static TIMEZONE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static TIMEDELTA: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn class<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyType>> {
    cell.import(py, module, name)
}
