//! Where events come from, as the user says it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::config::{Bus, PostgreSqlBus, Rehearsal};
use crate::model::Timestamp;

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
    #[pyo3(signature = (url = None, *, slot = "rowcast", publication = "rowcast"))]
    fn postgresql(url: Option<String>, slot: &str, publication: &str) -> Self {
        let (slot, publication) = (slot.to_owned(), publication.to_owned());
        EventBusConfig(Bus::PostgreSql(PostgreSqlBus { url, slot, publication }))
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.0 {
            Bus::Memory | Bus::Rehearsal(_) => "memory",
            Bus::PostgreSql(_) => "postgresql",
        }
    }

    /// Without the URL: it may hold a password.
    fn __repr__(&self) -> String {
        format!("<EventBusConfig {}>", self.kind())
    }
}
