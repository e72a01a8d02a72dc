//! A GraphQL request from Python. Only the engine parses its JSON: Python's parser would round numbers.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::model::{Request, RequestUnreadable};

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct GraphQLRequest(pub(super) Arc<Request>);

#[pymethods]
impl GraphQLRequest {
    #[new]
    #[pyo3(signature = (query, variables = None, operation_name = None, extensions = None))]
    fn new(
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
        extensions: Option<&str>,
    ) -> PyResult<Self> {
        with_a_query(parse(query, variables, operation_name, extensions)?)
    }

    /// Some clients begin the body with a byte order mark.
    #[staticmethod]
    fn parse(py: Python<'_>, body: &[u8]) -> PyResult<Self> {
        let text = std::str::from_utf8(body).map_err(|_| unreadable(&RequestUnreadable::Json("not UTF-8".into())))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        with_a_query(py.detach(|| Request::parse(text)).map_err(|error| unreadable(&error))?)
    }

    /// Where the client says which operation of its event stream it starts.
    #[getter]
    fn operation_id(&self) -> Option<&str> {
        self.0.extensions.as_ref()?.get("operationId")?.as_str().filter(|id| !id.is_empty())
    }

    fn resumed(&self, last_event_id: &str) -> Self {
        GraphQLRequest(Arc::new(Request::clone(&self.0).resumed(last_event_id)))
    }
}

pub(super) fn parse(
    query: String,
    variables: Option<&str>,
    operation_name: Option<String>,
    extensions: Option<&str>,
) -> PyResult<Request> {
    Request::from_parts(query, variables, operation_name, extensions).map_err(|error| unreadable(&error))
}

fn with_a_query(request: Request) -> PyResult<GraphQLRequest> {
    if request.query.is_empty() {
        return Err(PyValueError::new_err("`query` is missing"));
    }
    Ok(GraphQLRequest(Arc::new(request)))
}

fn unreadable(error: &RequestUnreadable) -> PyErr {
    PyValueError::new_err(error.to_string())
}
