//! Events and resolver calls as Python sees them. Dicts are made when first asked for.

use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::convert;
use super::walker;
use crate::engine::Call as EngineCall;
use crate::model::Change;
use crate::security::Image;

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct Event(Arc<EngineCall>);

#[pymethods]
impl Event {
    #[getter]
    fn operation(&self) -> PyResult<&'static str> {
        Ok(self.visible()?.event().operation().name())
    }

    #[getter]
    fn transition(&self) -> PyResult<&'static str> {
        Ok(self.visible()?.transition().name())
    }

    #[getter]
    fn table(&self) -> PyResult<Option<String>> {
        Ok(match &self.visible()?.event().change {
            Change::Row(row) => Some(row.table.name.to_string()),
            Change::Truncate(table) => Some(table.name.to_string()),
            Change::Message(_) => None,
        })
    }

    #[getter]
    fn topic(&self) -> PyResult<Option<&str>> {
        Ok(match &self.visible()?.event().change {
            Change::Message(message) => Some(&message.topic),
            Change::Row(_) | Change::Truncate(_) => None,
        })
    }

    #[getter]
    fn row<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match self.visible()?.image() {
            Image::Row(change, tuple) => convert::row(py, &change.table, tuple).map(Some),
            Image::Key(..) | Image::None => Ok(None),
        }
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        match self.visible()?.image() {
            Image::Row(change, tuple) | Image::Key(change, tuple) => convert::key(py, &change.table, tuple).map(Some),
            Image::None => Ok(None),
        }
    }

    #[getter]
    fn changed(&self) -> PyResult<Vec<String>> {
        let visible = self.visible()?;
        let Image::Row(change, _) = visible.image() else { return Ok(Vec::new()) };
        let names = visible.changed_columns().map(|index| change.table.columns[index].name.clone());
        Ok(names.collect())
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.visible()?.event().change {
            Change::Message(message) => convert::loads(py, convert::utf8(&message.payload)?),
            Change::Row(_) | Change::Truncate(_) => Ok(py.None().into_bound(py)),
        }
    }

    #[getter]
    fn cursor(&self) -> &str {
        self.0.cursor()
    }

    #[getter]
    fn committed_at<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        convert::datetime(py, self.visible()?.event().committed_at)
    }

    /// Names the event without its values: a log line must not hold a tenant's row.
    fn __repr__(&self) -> PyResult<String> {
        let visible = self.visible()?;
        let what = self.table()?.or(self.topic()?.map(str::to_owned)).unwrap_or_default();
        Ok(format!("<Event {} {what} {}>", visible.event().operation().name(), self.cursor()))
    }
}

impl Event {
    fn visible(&self) -> PyResult<crate::security::Visible<'_>> {
        self.0.visible().ok_or_else(|| PyRuntimeError::new_err("the event is visible to nobody any more"))
    }
}

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct Call(pub(super) Arc<EngineCall>);

#[pymethods]
impl Call {
    #[getter]
    fn resolver(&self) -> usize {
        self.0.resolver()
    }

    #[getter]
    fn event(&self) -> Event {
        Event(Arc::clone(&self.0))
    }

    #[getter]
    fn variables<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let json = serde_json::Value::Object(self.0.variables().clone()).to_string();
        convert::loads(py, &json)
    }

    #[getter]
    fn pending(&self) -> bool {
        self.0.pending()
    }

    fn finish(&self, py: Python<'_>, result: &Bound<'_, PyAny>) {
        let outcome = walker::outcome(&self.0, result);
        py.detach(|| self.0.settle(outcome));
    }

    fn fail(&self, py: Python<'_>, message: &Bound<'_, PyString>, code: &Bound<'_, PyString>) -> PyResult<()> {
        let (message, code) = (message.to_str()?.to_owned(), code.to_str()?.to_owned());
        py.detach(|| self.0.fail(&message, &code));
        Ok(())
    }
}

impl Drop for Call {
    /// A call that a worker lost must neither hold up its lane for ever nor end in silence.
    fn drop(&mut self) {
        if self.0.pending() {
            self.0.fail("the resolver call was given up", "RESOLVER_FAILED");
        }
    }
}
