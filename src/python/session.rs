//! One client's conversation as the protocol handler drives it.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::home::Home;
use super::principal;
use super::request::GraphQLRequest;
use crate::engine::SessionHandle;
use crate::model::Request;

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct Session(Arc<SessionHandle>, Home);

#[pymethods]
impl Session {
    #[getter]
    fn token(&self) -> u64 {
        self.0.id().0
    }

    fn receive_text(&self, py: Python<'_>, text: &str) -> Option<String> {
        py.detach(|| self.0.receive_text(text)).map(Into::into)
    }

    fn receive_bytes(&self, py: Python<'_>) {
        py.detach(|| self.0.receive_binary());
    }

    #[pyo3(signature = (principal, payload = None))]
    fn accept(&self, py: Python<'_>, principal: &Bound<'_, PyAny>, payload: Option<&str>) -> PyResult<()> {
        let principal = principal::extract(principal)?;
        payload.map(check_object).transpose()?;
        py.detach(|| self.0.accept(principal, payload));
        Ok(())
    }

    fn refuse(&self, py: Python<'_>, code: u16, reason: &str) {
        py.detach(|| self.0.refuse(code, reason));
    }

    /// Each frame is copied once, into its string: sockets take `str`, and clients close on a binary frame.
    #[pyo3(signature = (limit = 64))]
    fn take<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyList>> {
        let frames = self.0.take(limit);
        let mut text = Vec::new();
        let list = PyList::empty(py);
        for frame in frames {
            text.clear();
            frame.write_to(&mut text);
            list.append(PyString::from_bytes(py, &text)?)?;
        }
        Ok(list)
    }

    fn start(&self, py: Python<'_>, operation: &str, request: &Bound<'_, GraphQLRequest>) -> Option<String> {
        let request = Request::clone(&request.get().0);
        py.detach(|| self.0.start(operation, request)).err().map(|failure| failure.to_json())
    }

    fn end(&self, py: Python<'_>, operation: &str) {
        py.detach(|| self.0.end(operation));
    }

    fn claim(&self, py: Python<'_>) {
        py.detach(|| self.0.claim());
    }

    /// Written as they go over the wire, so that one object goes to the server.
    #[pyo3(signature = (limit = 64))]
    fn take_events<'py>(&self, py: Python<'py>, limit: usize) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.take_events(limit)))
    }

    fn farewell(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.0.farewell()).map(Into::into)
    }

    fn closing(&self) -> Option<(u16, String, bool)> {
        self.0.closing().map(|close| (close.code().code(), close.reason().to_owned(), !close.flush()))
    }

    fn leave(&self, py: Python<'_>) {
        py.detach(|| self.0.leave());
    }

    fn disconnect(&self, py: Python<'_>) {
        py.detach(|| self.0.disconnect());
    }
}

impl Session {
    pub(super) fn new(handle: Arc<SessionHandle>) -> Self {
        Session(handle, Home::here())
    }
}

impl Drop for Session {
    /// The engine and its sessions hold references to each other until the session disconnects.
    fn drop(&mut self) {
        if self.1.is_here() {
            self.0.disconnect();
        } else {
            std::mem::forget(Arc::clone(&self.0));
        }
    }
}

/// The ack's payload goes into a frame as it is.
fn check_object(payload: &str) -> PyResult<()> {
    let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(payload);
    parsed.map(drop).map_err(|error| PyValueError::new_err(format!("payload must be a JSON object: {error}")))
}
