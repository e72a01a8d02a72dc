//! Events and resolver calls as Python sees them. Dicts are made when first asked for, and then kept.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::convert;
use super::home::Home;
use super::walker;
use crate::engine::{Call as EngineCall, Outcome};
use crate::model::Change;
use crate::security::Image;

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct Event {
    call: Arc<EngineCall>,
    row: Kept,
    key: Kept,
    payload: Kept,
}

/// A value that is made once, so that a resolver may change what it was given.
type Kept = OnceLock<Py<PyAny>>;

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
            Change::Truncate(table) | Change::SnapshotEnd(table) => Some(table.name.to_string()),
            Change::Message(_) => None,
        })
    }

    #[getter]
    fn topic(&self) -> PyResult<Option<&str>> {
        Ok(match &self.visible()?.event().change {
            Change::Message(message) => Some(&message.topic),
            Change::Row(_) | Change::Truncate(_) | Change::SnapshotEnd(_) => None,
        })
    }

    #[getter]
    fn row<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        kept(py, &self.row, || {
            let visible = self.visible()?;
            match visible.image() {
                Image::Row(change, tuple) => Ok(convert::row(py, &change.table, tuple, visible.columns())?.into_any()),
                Image::Key(..) | Image::None => Ok(py.None().into_bound(py)),
            }
        })
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        kept(py, &self.key, || {
            let visible = self.visible()?;
            match visible.image() {
                Image::Row(change, tuple) | Image::Key(change, tuple) => {
                    Ok(convert::key(py, &change.table, tuple, visible.columns())?.into_any())
                }
                Image::None => Ok(py.None().into_bound(py)),
            }
        })
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
        kept(py, &self.payload, || match &self.visible()?.event().change {
            Change::Message(message) => convert::loads(py, convert::utf8(&message.payload)?),
            Change::Row(_) | Change::Truncate(_) | Change::SnapshotEnd(_) => Ok(py.None().into_bound(py)),
        })
    }

    #[getter]
    fn cursor(&self) -> &str {
        self.call.cursor()
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

    /// A cycle goes through one of these, and the collector empties dicts and lists.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        [&self.row, &self.key, &self.payload].into_iter().try_for_each(|value| visit.call(value.get()))
    }
}

impl Event {
    fn visible(&self) -> PyResult<crate::security::Visible<'_>> {
        self.call.visible().ok_or_else(|| PyRuntimeError::new_err("the event is visible to nobody any more"))
    }
}

fn kept<'py>(
    py: Python<'py>,
    cell: &Kept,
    value: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(known) = cell.get() {
        return Ok(known.bind(py).clone());
    }
    // Making it may let other threads run; the first value is kept.
    let value = value()?;
    Ok(cell.get_or_init(|| value.unbind()).bind(py).clone())
}

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct Call(Arc<EngineCall>, Home);

#[pymethods]
impl Call {
    #[getter]
    fn resolver(&self) -> usize {
        self.0.resolver()
    }

    #[getter]
    fn event(&self) -> Event {
        Event { call: Arc::clone(&self.0), row: Kept::new(), key: Kept::new(), payload: Kept::new() }
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

    fn finish(&self, py: Python<'_>, result: &Bound<'_, PyAny>) -> Option<String> {
        let (outcome, problem) = walker::outcome(&self.0, result);
        py.detach(|| self.0.settle(outcome));
        problem
    }

    fn fail(&self, py: Python<'_>, message: &Bound<'_, PyString>, code: &Bound<'_, PyString>) -> PyResult<()> {
        let (message, code) = (message.to_str()?.to_owned(), code.to_str()?.to_owned());
        py.detach(|| self.0.fail(&message, &code));
        Ok(())
    }
}

impl Call {
    pub(super) fn new(call: Arc<EngineCall>) -> Self {
        Call(call, Home::here())
    }
}

impl Drop for Call {
    /// A call that a worker lost must neither hold up its lane for ever nor end in silence.
    fn drop(&mut self) {
        if !self.1.is_here() {
            return;
        }
        if self.0.pending() {
            self.0.fail("the resolver call was given up", "RESOLVER_FAILED");
        }
        // No caller waits for it any more, but others may be queued in the lane behind it. No effect once settled.
        self.0.settle(Outcome::Skip);
    }
}
