//! `rowcast.Principal` into the engine's own.

use std::collections::BTreeMap;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::model::{Principal, Timestamp, is_custom_setting};

/// Reads the attributes of the Python dataclass.
pub(super) fn extract(principal: &Bound<'_, PyAny>) -> PyResult<Principal> {
    Ok(Principal {
        user_id: text(principal, "user_id")?,
        tenant_id: text(principal, "tenant_id")?,
        role: text(principal, "role")?,
        settings: settings(principal)?,
        claims: claims(principal)?,
        scopes: texts(principal, "scopes")?,
        services: texts(principal, "services")?,
        expires_at: expiry(principal)?,
    })
}

fn text(principal: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<String>> {
    let value = principal.getattr(name)?;
    if value.is_none() { Ok(None) } else { Ok(Some(value.str()?.to_str()?.to_owned())) }
}

fn texts(principal: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<String>> {
    principal.getattr(name)?.try_iter()?.map(|item| item?.extract()).collect()
}

fn settings(principal: &Bound<'_, PyAny>) -> PyResult<BTreeMap<String, String>> {
    let items = principal.getattr("settings")?.call_method0("items")?;
    items.try_iter()?.map(|item| setting(item?.extract()?)).collect()
}

/// `rowcast.Principal` has looked at it already, but an object that only looks like one has not.
fn setting((name, value): (String, String)) -> PyResult<(String, String)> {
    if is_custom_setting(&name) {
        return Ok((name, value));
    }
    Err(PyValueError::new_err(format!(
        "setting {name:?} is not a custom setting: its name needs a dot, as app.tenant_id"
    )))
}

/// Claims are JSON by nature; `default=str` takes what a token library parsed (dates, UUIDs).
fn claims(principal: &Bound<'_, PyAny>) -> PyResult<serde_json::Map<String, serde_json::Value>> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = principal.py();
    let keywords = pyo3::types::PyDict::new(py);
    keywords.set_item("default", py.get_type::<pyo3::types::PyString>())?;
    let claims = py.get_type::<pyo3::types::PyDict>().call1((principal.getattr("claims")?,))?;
    let json: String = DUMPS.import(py, "json", "dumps")?.call((claims,), Some(&keywords))?.extract()?;
    serde_json::from_str(&json).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn expiry(principal: &Bound<'_, PyAny>) -> PyResult<Option<Timestamp>> {
    let microseconds: Option<i64> = principal.getattr("expires_at_us")?.extract()?;
    Ok(microseconds.map(Timestamp))
}
