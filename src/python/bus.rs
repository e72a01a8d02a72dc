//! Where events come from, as the user says it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::catalog::CaptureMode;
use crate::config::{Bus, PostgreSqlBus, Rehearsal};
use crate::error::Error;
use crate::model::Timestamp;
use crate::postgres::Conninfo;

/// See `_engine.pyi`.
#[pyclass(frozen, from_py_object, module = "rowcast._engine")]
#[derive(Clone)]
pub(super) struct EventBusConfig(pub(super) Bus);

#[pymethods]
impl EventBusConfig {
    #[staticmethod]
    fn memory() -> Self {
        EventBusConfig(Bus::Memory)
    }

    #[staticmethod]
    fn rehearsal(tables: &str, roles: Vec<String>, begins_at_us: i64) -> PyResult<Self> {
        let tables = serde_json::from_str(tables).map_err(|error| PyValueError::new_err(format!("tables: {error}")))?;
        Ok(EventBusConfig(Bus::Rehearsal(Rehearsal { tables, roles, begins: Timestamp(begins_at_us) })))
    }

    #[staticmethod]
    #[pyo3(signature = (url = None, *, slot = None, publication = "rowcast", capture = "auto"))]
    fn postgresql(url: Option<String>, slot: Option<String>, publication: &str, capture: &str) -> PyResult<Self> {
        let publication = publication.to_owned();
        let capture = match capture {
            "auto" => None,
            "wal" => Some(CaptureMode::Wal),
            "outbox" => Some(CaptureMode::Outbox),
            other => {
                let message = format!("capture must be \"auto\", \"wal\" or \"outbox\", not {other:?}");
                return Err(PyValueError::new_err(message));
            }
        };
        Ok(EventBusConfig(Bus::PostgreSql(PostgreSqlBus { url, slot, publication, capture })))
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.0 {
            Bus::Memory | Bus::Rehearsal(_) => "memory",
            Bus::PostgreSql(_) => "postgresql",
        }
    }

    #[getter]
    fn database(&self) -> PyResult<Option<String>> {
        match &self.0 {
            Bus::Memory | Bus::Rehearsal(_) => Ok(None),
            Bus::PostgreSql(bus) => {
                let conninfo = Conninfo::resolve(bus.url.as_deref()).map_err(Error::from)?;
                Ok(Some(conninfo.to_string()))
            }
        }
    }

    /// Without the URL: it may hold a password.
    fn __repr__(&self) -> String {
        format!("<EventBusConfig {}>", self.kind())
    }
}
