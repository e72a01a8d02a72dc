//! The Python object that owns an engine and its threads.
//!
//! - No lock of this file is held while another thread may be waiting for the interpreter.
//! - An engine that is dropped without a `stop` closes its sessions and releases its threads without waiting for
//!   them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::bus::EventBusConfig;
use super::event::Call;
use super::home::Home;
use super::hub::Hub;
use super::log;
use super::principal;
use super::request::{self, GraphQLRequest};
use super::session::Session;
use crate::config::Settings;
use crate::engine::{Engine, Inquiry, PullQueue, Unsettled};
use crate::error::Error;
use crate::model::{Operation, Selector, SubscriptionId, Timestamp};
use crate::session::Dialect;
use crate::store::{ReplicaIdentityChoice, StatusLine, StoreError, Uninstall, WatchRequest};

/// How often the main thread checks for signals: the longest delay before Ctrl-C has an effect.
const SIGNALS: Duration = Duration::from_millis(100);

/// Default time for a stream to release its slot.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// See `_engine.pyi`.
#[pyclass(frozen, module = "rowcast._engine")]
pub(super) struct SubscriptionExecutor {
    engine: Arc<Engine>,
    /// Only `drop` takes it out.
    runtime: Option<Runtime>,
    pulled: Mutex<HashMap<String, (SubscriptionId, Arc<PullQueue>)>>,
    /// Set before a stop begins, and read when a start is done: one of the two undoes what the start has begun.
    stopped: AtomicBool,
    home: Home,
}

#[pymethods]
impl SubscriptionExecutor {
    #[new]
    #[pyo3(signature = (bus, *, settings = "{}"))]
    fn new(bus: &Bound<'_, EventBusConfig>, settings: &str) -> PyResult<Self> {
        log::listen();
        let settings = Settings::parse(settings).map_err(Error::from)?;
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("rowcast").enable_all().build()?;
        let engine = Arc::new(Engine::new(bus.get().0.clone(), settings));
        Ok(SubscriptionExecutor {
            engine,
            runtime: Some(runtime),
            pulled: Mutex::default(),
            stopped: AtomicBool::new(false),
            home: Home::here(),
        })
    }

    #[pyo3(signature = (*, dry_run = false))]
    fn migrate(&self, py: Python<'_>, dry_run: bool) -> PyResult<Vec<String>> {
        let runtime = self.runtime()?;
        Ok(py.detach(|| {
            runtime.block_on(async {
                if dry_run { self.engine.pending_migrations().await } else { self.engine.migrate().await }
            })
        })?)
    }

    #[pyo3(signature = (fields = "[]"))]
    fn start(&self, py: Python<'_>, fields: &str) -> PyResult<()> {
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.start_unless_stopped(fields)))?)
    }

    #[pyo3(signature = (fields = "[]"))]
    fn describe(&self, py: Python<'_>, fields: &str) -> PyResult<String> {
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.describe(fields)))?)
    }

    #[pyo3(signature = (timeout = 5.0))]
    fn stop(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let (timeout, runtime) = (duration(timeout)?, self.runtime()?);
        py.detach(|| {
            self.stopped.store(true, Ordering::SeqCst);
            runtime.block_on(self.engine.stop(timeout));
            self.end_pulled();
        });
        Ok(())
    }

    fn schema(&self) -> PyResult<String> {
        Ok(self.engine.schema()?)
    }

    fn status(&self, py: Python<'_>) -> PyResult<String> {
        let runtime = self.runtime()?;
        let lines = py.detach(|| runtime.block_on(self.engine.status()))?;
        let check =
            |line: StatusLine| json!({ "name": line.name, "value": line.value, "ok": line.ok, "hint": line.hint });
        Ok(json!({ "checks": lines.into_iter().map(check).collect::<Vec<_>>() }).to_string())
    }

    #[pyo3(signature = (*, dry_run = false))]
    fn uninstall(&self, py: Python<'_>, dry_run: bool) -> PyResult<String> {
        let runtime = self.runtime()?;
        let Uninstall { obstacles, statements, slots, leaves } =
            py.detach(|| runtime.block_on(self.engine.uninstall(dry_run)))?;
        Ok(json!({ "obstacles": obstacles, "statements": statements, "slots": slots, "leaves": leaves }).to_string())
    }

    #[pyo3(signature = (table, principal, *, row = None, old = None, operation = None, field = None))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn explain(
        &self,
        py: Python<'_>,
        table: String,
        principal: &Bound<'_, PyAny>,
        row: Option<String>,
        old: Option<String>,
        operation: Option<&str>,
        field: Option<String>,
    ) -> PyResult<String> {
        let principal = principal::extract(principal)?;
        let inquiry = Inquiry { table, field, row, old, operation: operation.map(change).transpose()? };
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.explain(&principal, &inquiry)))?)
    }

    #[pyo3(signature = (table, tenant = None, public = false))]
    fn watch(&self, py: Python<'_>, table: String, tenant: Option<String>, public: bool) -> PyResult<bool> {
        let replica_identity = ReplicaIdentityChoice::Full;
        let request = WatchRequest { relation: table, tenant_column: tenant, public, replica_identity };
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.watch(&request)))?)
    }

    fn unwatch(&self, py: Python<'_>, table: &str) -> PyResult<bool> {
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.unwatch(table)))?)
    }

    #[pyo3(signature = (query, variables = None, operation_name = None, *, principal = None))]
    fn execute(
        &self,
        py: Python<'_>,
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
        principal: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let principal = principal.map(principal::extract).transpose()?;
        let request = request::parse(query, variables, operation_name, None)?;
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.execute(principal.as_ref(), &request)))?)
    }

    #[pyo3(signature = (request, *, principal = None))]
    fn answer(
        &self,
        py: Python<'_>,
        request: &Bound<'_, GraphQLRequest>,
        principal: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<String> {
        let principal = principal.map(principal::extract).transpose()?;
        let (request, runtime) = (&request.get().0, self.runtime()?);
        Ok(py.detach(|| runtime.block_on(self.engine.execute(principal.as_ref(), request)))?)
    }

    #[pyo3(signature = (hub, address = None))]
    fn connect(&self, hub: &Bound<'_, Hub>, address: Option<&str>) -> PyResult<Session> {
        self.home.check()?;
        Ok(Session::new(self.engine.connect_from(hub.get().0.clone(), address)?))
    }

    #[pyo3(signature = (hub, address = None, *, single = false))]
    fn open_stream(&self, hub: &Bound<'_, Hub>, address: Option<&str>, single: bool) -> PyResult<Session> {
        self.home.check()?;
        let dialect = if single { Dialect::Single } else { Dialect::Distinct };
        Ok(Session::new(self.engine.open(hub.get().0.clone(), address, dialect)?))
    }

    #[pyo3(signature = (*, user_id = None, tenant_id = None, role = None))]
    fn revoke(
        &self,
        py: Python<'_>,
        user_id: Option<String>,
        tenant_id: Option<String>,
        role: Option<String>,
    ) -> PyResult<usize> {
        let runtime = self.runtime()?;
        let who = Selector { user_id, tenant_id, role };
        Ok(py.detach(|| runtime.block_on(self.engine.revoke(who)))?)
    }

    #[pyo3(signature = (*, user_id = None, tenant_id = None, role = None, code = 1012, reason = "Service restart"))]
    fn disconnect(
        &self,
        py: Python<'_>,
        user_id: Option<String>,
        tenant_id: Option<String>,
        role: Option<String>,
        code: u16,
        reason: &str,
    ) -> PyResult<usize> {
        let runtime = self.runtime()?;
        let who = Selector { user_id, tenant_id, role };
        Ok(py.detach(|| runtime.block_on(self.engine.disconnect(who, code, reason)))?)
    }

    fn resolve_on(&self, hub: &Bound<'_, Hub>) {
        self.engine.resolve_on(hub.get().0.clone());
    }

    fn take_calls(&self, limit: usize) -> Vec<Call> {
        self.engine.take_calls(limit).into_iter().map(Call::new).collect()
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
        self.home.check()?;
        let principal = Arc::new(principal::extract(principal)?);
        let request = Arc::new(request::parse(query, variables, operation_name, None)?);
        Ok(py.detach(|| {
            if self.pulled.lock().contains_key(&subscription_id) {
                return Err(exists(&subscription_id));
            }
            let registered = self.engine.register(&principal, &request).map_err(registration)?;
            self.keep(subscription_id, registered)
        })?)
    }

    #[pyo3(signature = (topic, payload, tenant = None))]
    fn publish(&self, py: Python<'_>, topic: &str, payload: &str, tenant: Option<&str>) -> PyResult<()> {
        let runtime = self.runtime()?;
        Ok(py.detach(|| runtime.block_on(self.engine.publish(topic, payload, tenant))).map_err(publication)?)
    }

    #[pyo3(signature = (changes, committed_at_us = None))]
    fn commit(&self, py: Python<'_>, changes: &str, committed_at_us: Option<i64>) -> PyResult<Vec<String>> {
        self.home.check()?;
        Ok(py.detach(|| self.engine.commit(changes, committed_at_us.map(Timestamp)))?)
    }

    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<f64> {
        self.home.check()?;
        let by = duration(seconds)?;
        Ok(py.detach(|| self.engine.advance(by))?.as_secs_f64())
    }

    fn date_us(&self) -> i64 {
        self.engine.date().0
    }

    fn unsettled(&self, py: Python<'_>) -> (u64, usize, usize) {
        let Unsettled { resolver_calls, replays, endings } = py.detach(|| self.engine.unsettled());
        (resolver_calls, replays, endings)
    }

    #[pyo3(signature = (subscription_id, timeout = Some(0.0)), text_signature = "($self, subscription_id, timeout=0.0)")]
    fn next_event<'py>(
        &self,
        py: Python<'py>,
        subscription_id: &str,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.home.check()?;
        let deadline = timeout.map(duration).transpose()?.and_then(|timeout| Instant::now().checked_add(timeout));
        let queue = self.pulled.lock().get(subscription_id).map(|(_, queue)| Arc::clone(queue));
        let queue = queue.ok_or_else(|| unknown(subscription_id))?;
        // Other threads hear no signals, so they wait in one piece.
        let slice = if is_main_thread(py)? { SIGNALS } else { Duration::MAX };
        loop {
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if let Some(result) = py.detach(|| queue.next(Some(left.min(slice))))? {
                return Ok(Some(PyBytes::new(py, &result)));
            }
            py.check_signals()?;
            if left <= slice {
                return Ok(None);
            }
        }
    }

    fn complete(&self, py: Python<'_>, subscription_id: &str) -> bool {
        let removed = self.pulled.lock().remove(subscription_id);
        let Some((id, _)) = removed else { return false };
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

impl SubscriptionExecutor {
    fn runtime(&self) -> Result<&Runtime, Error> {
        self.home.check()?;
        self.runtime.as_ref().ok_or(Error::NotStarted)
    }

    /// A caller that waits for a start may stop the engine before it is done; the engine must not serve after that.
    async fn start_unless_stopped(&self, fields: &str) -> Result<(), Error> {
        if !self.stopped.load(Ordering::SeqCst) {
            self.engine.start(fields).await?;
        }
        if self.stopped.load(Ordering::SeqCst) {
            self.engine.stop(STOP_WAIT).await;
            return Err(Error::StartedBefore);
        }
        Ok(())
    }

    /// Two threads may have registered one id at once: the first stays.
    fn keep(&self, subscription_id: String, registered: (SubscriptionId, Arc<PullQueue>)) -> Result<(), Error> {
        let id = registered.0;
        let taken = match self.pulled.lock().entry(subscription_id) {
            Entry::Vacant(entry) => {
                entry.insert(registered);
                return Ok(());
            }
            Entry::Occupied(entry) => exists(entry.key()),
        };
        self.engine.complete(id);
        Err(taken)
    }

    /// Wakes callers that wait for an event; events that have arrived can still be fetched.
    fn end_pulled(&self) {
        let ids: Vec<_> = self.pulled.lock().values().map(|(id, _)| *id).collect();
        for id in ids {
            self.engine.complete(id);
        }
    }
}

impl Drop for SubscriptionExecutor {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if !self.home.is_here() {
            std::mem::forget((runtime, Arc::clone(&self.engine)));
            return;
        }
        runtime.block_on(self.engine.stop(Duration::ZERO));
        self.end_pulled();
        // Calls that were not taken hold their lanes, and lanes hold their calls; dropping the calls breaks the cycle.
        drop(self.take_calls(usize::MAX));
        // A worker may be in a DNS lookup, which cannot be cancelled.
        runtime.shutdown_background();
    }
}

fn exists(subscription_id: &str) -> Error {
    let message = format!("a subscription with the id {subscription_id:?} exists: complete it first");
    Error::Declaration { code: "SUBSCRIPTION_EXISTS", message }
}

fn unknown(subscription_id: &str) -> Error {
    let message = format!("subscription {subscription_id:?} does not exist: register it first");
    Error::Ended { code: "SUBSCRIPTION_UNKNOWN", message }
}

/// If the engine does not run, the error concerns the engine and not the request.
fn registration(error: Error) -> Error {
    if error.code() == "NOT_STARTED" { Error::NotStarted } else { error }
}

/// Both buses report invalid JSON with the same error.
fn publication(error: Error) -> Error {
    if error.code() == "PAYLOAD_INVALID" { Error::Publish(StoreError::InvalidJson) } else { error }
}

/// What may happen to a row.
fn change(name: &str) -> Result<Operation, Error> {
    [Operation::Insert, Operation::Update, Operation::Delete].into_iter().find(|known| known.name() == name).ok_or_else(
        || Error::Declaration {
            code: "OPERATION_UNKNOWN",
            message: format!("{name:?} is not an operation: use INSERT, UPDATE or DELETE"),
        },
    )
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    Ok(threading.call_method0("current_thread")?.is(&threading.call_method0("main_thread")?))
}

fn duration(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(format!("timeout: {error}")))
}
