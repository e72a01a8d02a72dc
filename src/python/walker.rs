//! A resolver's result to JSON, along the plan's shape (GraphQL specification, section 6.4.3 "Value Completion").
//!
//! A value that its type does not allow is null with an error; where null is not allowed either, null moves up to the
//! nearest place that may be null.

use pyo3::exceptions::{PyAttributeError, PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMapping, PyString, PyTuple};

use super::leaf;
use crate::engine::{Call, Outcome};
use crate::graphql::Plan;
use crate::graphql::plan::{ObjectShape, PlanRoot, Shape, ValueField};
use crate::payload::{Body, FieldError, PathSegment, resolved_body};

/// The bodies for all subscriptions that wait for this call, and the first problem of the result, for the log;
/// `None` skips the event.
pub(super) fn outcome(call: &Call, result: &Bound<'_, PyAny>) -> (Outcome, Option<String>) {
    if result.is_none() {
        return (Outcome::Skip, None);
    }
    let mut problem = None;
    let bodies = call.plans().into_iter().map(|plan| {
        let (body, first) = body(call, &plan, result);
        problem = problem.take().or(first);
        (plan, body)
    });
    (Outcome::Bodies(bodies.collect()), problem)
}

fn body(call: &Call, plan: &Plan, result: &Bound<'_, PyAny>) -> (Body, Option<String>) {
    let mut walk = Walk { out: Vec::with_capacity(256), errors: Vec::new(), path: Vec::new() };
    let written = match &plan.root {
        PlanRoot::Value(shape) => {
            walk.step(PathSegment::Key(plan.response_key.clone()), |walk| walk.value(shape, result))
        }
        // Only fields with a resolver are called, and their plans have a value at the root.
        PlanRoot::Event(_) | PlanRoot::Topic(_) => Err(Nulled),
    };
    let problem = walk.errors.first().map(|error| error.message.clone());
    (resolved_body(plan, written.is_ok().then_some(&*walk.out), walk.errors, &call.meta()), problem)
}

/// A place that may not be null has no value.
struct Nulled;

struct Walk {
    out: Vec<u8>,
    errors: Vec<FieldError>,
    path: Vec<PathSegment>,
}

impl Walk {
    /// A nullable place becomes `null` if the value below it has an error.
    fn value(&mut self, shape: &Shape, value: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        if let Shape::NonNull(inner) = shape {
            return self.non_null(inner, value);
        }
        let start = self.out.len();
        if value.is_none() && !matches!(shape, Shape::Constant(_)) || self.bare(shape, value).is_err() {
            self.out.truncate(start);
            self.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    fn non_null(&mut self, shape: &Shape, value: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        if value.is_none() && !matches!(shape, Shape::Constant(_)) {
            return self.refuse("NULL_IN_NON_NULL", "Cannot return null for a non-nullable field.".to_owned());
        }
        self.bare(shape, value)
    }

    fn bare(&mut self, shape: &Shape, value: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        match shape {
            Shape::NonNull(inner) => self.non_null(inner, value),
            Shape::List(inner) => self.list(inner, value),
            Shape::Object(object) => self.object(object, value),
            Shape::Leaf(kind) => match leaf::write(kind, value, &mut self.out) {
                Ok(()) => Ok(()),
                Err(expected) => self.wrong(value, &expected),
            },
            Shape::Constant(bytes) => {
                self.out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn list(&mut self, shape: &Shape, value: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        let Some(items) =
            (!is_atom(value) && value.cast::<PyMapping>().is_err()).then(|| value.try_iter().ok()).flatten()
        else {
            return self.wrong(value, "a list");
        };
        self.out.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let Ok(item) = item else { return self.wrong(value, "a list that can be read to its end") };
            self.step(PathSegment::Index(index), |walk| walk.value(shape, &item))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, object: &ObjectShape, value: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        if is_atom(value)
            || value.is_instance_of::<PyList>()
            || value.is_instance_of::<PyTuple>() && !value.hasattr("_fields").unwrap_or(false)
        {
            return self.wrong(value, "a mapping or an object with attributes");
        }
        self.out.push(b'{');
        for (index, field) in object.fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(&field.key);
            self.step(PathSegment::Key(field.name.clone()), |walk| walk.field(field, value))?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn field(&mut self, field: &ValueField, parent: &Bound<'_, PyAny>) -> Result<(), Nulled> {
        match member(field, parent) {
            Ok(value) => self.value(&field.shape, &value),
            Err(error) => self.missing(field, parent, &error),
        }
    }

    /// A key that is not there is a mistake in the resolver, never a quiet null.
    fn missing(&mut self, field: &ValueField, parent: &Bound<'_, PyAny>, error: &PyErr) -> Result<(), Nulled> {
        let (parent, py) = (type_name(parent), parent.py());
        let message = if is_absence(error, py) {
            format!("The resolver's result ({parent}) has no {:?}.", field.attribute)
        } else {
            let raised = error.get_type(py).name().map_or_else(|_| "an error".to_owned(), |name| name.to_string());
            format!("Reading {:?} of the resolver's result ({parent}) raised {raised}.", field.attribute)
        };
        let refused = self.refuse("RESOLVER_RESULT_INVALID", message);
        if matches!(field.shape, Shape::NonNull(_)) {
            return refused;
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn wrong(&mut self, value: &Bound<'_, PyAny>, expected: &str) -> Result<(), Nulled> {
        let message = format!("The resolver's result has a {} where {expected} is expected.", type_name(value));
        self.refuse("RESOLVER_RESULT_INVALID", message)
    }

    fn refuse(&mut self, code: &str, message: String) -> Result<(), Nulled> {
        self.errors.push(FieldError { message, path: self.path.clone(), code: code.to_owned() });
        Err(Nulled)
    }

    fn step<T>(&mut self, segment: PathSegment, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(segment);
        let result = inside(self);
        self.path.pop();
        result
    }
}

/// The value of a field: a mapping's item, or an attribute. A mapping has attributes as well (`items`, `keys`), and
/// they are not meant.
fn member<'py>(field: &ValueField, parent: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (py, name) = (parent.py(), &*field.attribute);
    if name.is_empty() {
        return Ok(py.None().into_bound(py));
    }
    if parent.cast::<PyMapping>().is_ok() {
        return parent.get_item(name);
    }
    match parent.getattr(name) {
        Err(error) if error.is_instance_of::<PyAttributeError>(py) => parent.get_item(name).map_err(|_| error),
        found => found,
    }
}

/// Not there, as opposed to: reading it went wrong.
fn is_absence(error: &PyErr, py: Python<'_>) -> bool {
    let kind = error.get_type(py);
    error.is_instance_of::<PyAttributeError>(py)
        || kind.is(py.get_type::<PyKeyError>())
        || kind.is(py.get_type::<PyIndexError>())
}

/// Iterable, but one value.
fn is_atom(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
}

/// The type's name alone: an error must not repeat a value.
fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "value".to_owned(), |name| name.to_string())
}
