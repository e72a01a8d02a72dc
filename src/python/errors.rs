//! Engine errors as the exceptions of `rowcast.errors`, each with its stable code.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use super::convert::loads;
use crate::error::{Error, Kind};

/// So that `?` turns an engine error into its Python exception.
impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        Python::attach(|py| raise(py, &error))
    }
}

/// One exhaustive match: a new kind must choose its class.
fn class_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Configuration => "ConfigurationError",
        Kind::Connection => "ConnectionFailed",
        Kind::Authentication => "AuthenticationFailed",
        Kind::Capture => "CaptureError",
        Kind::Migration => "MigrationError",
        Kind::Database => "DatabaseError",
        Kind::Schema => "SchemaError",
        Kind::Publish => "PublishError",
        Kind::Request => "RequestRefused",
        Kind::Ended => "SubscriptionEnded",
        Kind::RateLimited => "RateLimited",
        Kind::NotStarted => "NotStarted",
    }
}

fn raise(py: Python<'_>, error: &Error) -> PyErr {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let build = || -> PyResult<PyErr> {
        let module = MODULE.get_or_try_init(py, || py.import("rowcast.errors").map(Bound::unbind))?;
        let class = module.bind(py).getattr(class_name(error.kind()))?.cast_into::<PyType>()?;
        let keywords = PyDict::new(py);
        keywords.set_item("code", error.code())?;
        if let Error::Request(failure) = error {
            keywords.set_item("errors", loads(py, &failure.to_json())?)?;
        }
        if let Error::RateLimited { retry_after_s } = error {
            keywords.set_item("retry_after_s", retry_after_s)?;
        }
        Ok(PyErr::from_value(class.call((error.to_string(),), Some(&keywords))?))
    };
    build().unwrap_or_else(|broken| broken)
}
