//! A GraphQL request as Python gives it: objects come as JSON text.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::{Map, Value};

use crate::graphql::Request;

pub(super) fn parse(
    query: String,
    variables: Option<&str>,
    operation_name: Option<String>,
    extensions: Option<&str>,
) -> PyResult<Request> {
    let (variables, extensions) = (object("variables", variables)?, object("extensions", extensions)?);
    Ok(Request { query, operation_name, variables, extensions })
}

fn object(name: &str, text: Option<&str>) -> PyResult<Option<Map<String, Value>>> {
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}
