//! The engine and its threads, owned by one Python object.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::bus::EventBusConfig;
use super::event::Call;
use super::hub::Hub;
use super::principal;
use super::session::Session;
use crate::config::Settings;
use crate::engine::{Engine, PullQueue};
use crate::error::Error;
use crate::graphql::Request;
use crate::store::{ReplicaIdentityChoice, StatusLine, WatchRequest};

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct SubscriptionExecutor {
    engine: Arc<Engine>,
    runtime: Runtime,
    pulled: DashMap<String, (crate::model::SubscriptionId, Arc<PullQueue>)>,
}

#[pymethods]
impl SubscriptionExecutor {
    #[new]
    #[pyo3(signature = (bus, *, settings = "{}"))]
    fn new(bus: &Bound<'_, EventBusConfig>, settings: &str) -> PyResult<Self> {
        let settings = Settings::parse(settings).map_err(Error::from)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("rowcast").enable_all().build()?;
        let engine = Arc::new(Engine::new(bus.get().0.clone(), settings));
        Ok(SubscriptionExecutor { engine, runtime, pulled: DashMap::new() })
    }

    #[pyo3(signature = (*, dry_run = false))]
    fn migrate(&self, py: Python<'_>, dry_run: bool) -> PyResult<Vec<String>> {
        Ok(py.detach(|| {
            self.runtime.block_on(async {
                if dry_run { self.engine.pending_migrations().await } else { self.engine.migrate().await }
            })
        })?)
    }

    #[pyo3(signature = (fields = "[]"))]
    fn start(&self, py: Python<'_>, fields: &str) -> PyResult<()> {
        Ok(py.detach(|| self.runtime.block_on(self.engine.start(fields)))?)
    }

    #[pyo3(signature = (fields = "[]"))]
    fn describe(&self, py: Python<'_>, fields: &str) -> PyResult<String> {
        Ok(py.detach(|| self.runtime.block_on(self.engine.describe(fields)))?)
    }

    #[pyo3(signature = (timeout = 5.0))]
    fn stop(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = duration(timeout)?;
        py.detach(|| self.runtime.block_on(self.engine.stop(timeout)));
        Ok(())
    }

    fn schema(&self) -> PyResult<String> {
        Ok(self.engine.schema()?)
    }

    fn status(&self, py: Python<'_>) -> PyResult<String> {
        let lines = py.detach(|| self.runtime.block_on(self.engine.status()))?;
        let check =
            |line: StatusLine| json!({ "name": line.name, "value": line.value, "ok": line.ok, "hint": line.hint });
        Ok(json!({ "checks": lines.into_iter().map(check).collect::<Vec<_>>() }).to_string())
    }

    #[pyo3(signature = (table, tenant = None, public = false))]
    fn watch(&self, py: Python<'_>, table: String, tenant: Option<String>, public: bool) -> PyResult<bool> {
        let replica_identity = ReplicaIdentityChoice::Full;
        let request = WatchRequest { relation: table, tenant_column: tenant, public, replica_identity };
        Ok(py.detach(|| self.runtime.block_on(self.engine.watch(&request)))?)
    }

    fn unwatch(&self, py: Python<'_>, table: &str) -> PyResult<bool> {
        Ok(py.detach(|| self.runtime.block_on(self.engine.unwatch(table)))?)
    }

    #[pyo3(signature = (query, variables = None, operation_name = None))]
    fn execute(
        &self,
        py: Python<'_>,
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
    ) -> PyResult<String> {
        let request = request(query, variables, operation_name)?;
        Ok(py.detach(|| self.engine.execute(&request))?)
    }

    fn connect(&self, hub: &Bound<'_, Hub>) -> PyResult<Session> {
        let _entered = self.runtime.enter();
        Ok(Session(self.engine.connect(hub.get().0.clone())?))
    }

    fn resolve_on(&self, hub: &Bound<'_, Hub>) {
        self.engine.resolve_on(hub.get().0.clone());
    }

    fn take_calls(&self, limit: usize) -> Vec<Call> {
        self.engine.take_calls(limit).into_iter().map(Call).collect()
    }

    #[pyo3(signature = (subscription_id, query, variables = None, *, principal, operation_name = None))]
    fn register(
        &self,
        py: Python<'_>,
        subscription_id: String,
        query: String,
        variables: Option<&str>,
        principal: &Bound<'_, PyAny>,
        operation_name: Option<String>,
    ) -> PyResult<()> {
        let principal = Arc::new(principal::extract(principal)?);
        let request = Arc::new(request(query, variables, operation_name)?);
        let entry = match self.pulled.entry(subscription_id) {
            dashmap::Entry::Vacant(entry) => entry,
            dashmap::Entry::Occupied(entry) => {
                let message = format!("a subscription with the id {:?} exists: complete it first", entry.key());
                return Err(Error::Declaration { code: "SUBSCRIPTION_EXISTS", message }.into());
            }
        };
        entry.insert(py.detach(|| self.engine.register(&principal, &request))?);
        Ok(())
    }

    #[pyo3(signature = (topic, payload, tenant = None))]
    fn publish(&self, py: Python<'_>, topic: &str, payload: &str, tenant: Option<&str>) -> PyResult<()> {
        Ok(py.detach(|| self.runtime.block_on(self.engine.publish(topic, payload, tenant)))?)
    }

    #[pyo3(signature = (subscription_id, timeout = Some(0.0)))]
    fn next_event<'py>(
        &self,
        py: Python<'py>,
        subscription_id: &str,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let timeout = timeout.map(duration).transpose()?;
        let queue = self.pulled.get(subscription_id).map(|entry| Arc::clone(&entry.1)).ok_or_else(|| Error::Ended {
            code: "SUBSCRIPTION_UNKNOWN",
            message: format!("there is no subscription with the id {subscription_id:?}: register it first"),
        })?;
        let result = py.detach(|| queue.next(timeout))?;
        Ok(result.map(|bytes| PyBytes::new(py, &bytes)))
    }

    fn complete(&self, py: Python<'_>, subscription_id: &str) -> bool {
        let Some((_, (id, _))) = self.pulled.remove(subscription_id) else { return false };
        py.detach(|| self.engine.complete(id));
        true
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.engine.metrics() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }
}

fn request(query: String, variables: Option<&str>, operation_name: Option<String>) -> PyResult<Request> {
    let variables = variables.map(serde_json::from_str).transpose();
    let variables = variables.map_err(|error| PyValueError::new_err(format!("variables: {error}")))?;
    Ok(Request { query, operation_name, variables, ..Request::default() })
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(format!("timeout: {error}")))
}
