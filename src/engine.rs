//! The engine: the one place that knows all stages.
//!
//! A committed change is *captured* from the WAL, *decoded* to an event that everybody shares, noted by the *journal*
//! (is it new? what may be confirmed?), and *matched*: the index proposes whom it may concern, and how. For each of
//! them the *gate* says what may be seen. The *encoder* writes each distinct payload once, or a *resolver* is asked
//! once for all who would get the same answer. The finished frame is put into each *session*'s queue, and its event
//! loop is told to come and take it.
//!
//! What is promised: a subscription is in force when [`SessionHandle::receive_text`] returns; results come in commit
//! order, each once; nothing is dropped in silence. What is never done: the engine never waits for a client, a resolver
//! or Python.

mod ask;
mod calls;
mod core;
mod database;
mod declare;
mod dispatch;
mod evict;
mod failure;
mod housekeeping;
mod index;
mod live;
mod pace;
mod policy_watch;
mod pull;
mod refresh;
mod registry;
mod resolve;
mod session;
mod stale;
mod start;
mod stream;
mod subscribe;
mod subscription;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::Pool;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use failure::Failure;
pub use pull::PullQueue;
pub use resolve::{Call, Outcome};
pub use session::SessionHandle;

use self::core::Core;
use crate::adapter::Wake;
use crate::config::{Bus, Settings};
use crate::error::Error;
use crate::graphql::{Operation, Request};
use crate::model::{Principal, SubscriptionId};
use evict::{Eviction, Evictions};
use subscribe::Subscribed;
use subscription::Sink;

/// One engine: one bus, one schema, any number of sessions. Dropping it stops it, in the background.
pub struct Engine {
    core: Arc<Core>,
    bus: Bus,
    evicted: Mutex<Option<UnboundedReceiver<Eviction>>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Tasks>,
    published: Mutex<u64>,
    pool: OnceLock<Pool>,
}

/// What runs while the engine serves.
#[derive(Default)]
struct Tasks {
    /// Ends by itself once it is told to stop, after its last word to the server.
    stream: Option<JoinHandle<()>>,
    /// Nobody misses them.
    helpers: Vec<JoinHandle<()>>,
}

impl Engine {
    /// An engine that does nothing yet.
    pub fn new(bus: Bus, settings: Settings) -> Self {
        let (evictions, evicted) = Evictions::new();
        Engine {
            core: Arc::new(Core::new(settings, evictions)),
            bus,
            evicted: Mutex::new(Some(evicted)),
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
            published: Mutex::default(),
            pool: OnceLock::new(),
        }
    }

    /// The schema that [`start`](Self::start) would serve, without serving it: no slot is made or taken.
    pub async fn describe(&self, fields: &str) -> Result<String, Error> {
        let live = match &self.bus {
            Bus::Memory => start::describe_memory(&self.core, fields)?,
            Bus::PostgreSql(bus) => start::describe_postgresql(&self.core, bus, fields).await?,
        };
        Ok(live.schema.sdl().to_owned())
    }

    /// Begins to serve the declared fields, a JSON array. Once in an engine's life; a start that failed may be repeated.
    pub async fn start(&self, fields: &str) -> Result<(), Error> {
        if *self.stop.borrow() {
            return Err(Error::StartedBefore);
        }
        let evicted = self.evicted.lock().take().ok_or(Error::StartedBefore)?;
        match self.begin(fields).await {
            Ok(mut tasks) => {
                tasks.helpers.push(tokio::spawn(housekeeping::run(Arc::clone(&self.core), evicted)));
                *self.tasks.lock() = tasks;
                // A stop that came meanwhile has not seen the tasks.
                if *self.stop.borrow() {
                    self.shut();
                }
                Ok(())
            }
            Err(error) => {
                *self.evicted.lock() = Some(evicted);
                Err(error)
            }
        }
    }

    async fn begin(&self, fields: &str) -> Result<Tasks, Error> {
        match &self.bus {
            Bus::Memory => start::memory(&self.core, fields),
            Bus::PostgreSql(bus) => {
                start::postgresql(&self.core, bus, self.pool()?.clone(), fields, self.stop.subscribe()).await
            }
        }
    }

    /// Closes every session with 1001, ends every other subscription, confirms what was handled and lets the slot go.
    /// Nobody can connect or subscribe any more.
    pub async fn stop(&self, timeout: Duration) {
        if let Some(mut stream) = self.shut()
            && tokio::time::timeout(timeout, &mut stream).await.is_err()
        {
            tracing::warn!("the replication stream did not end within {timeout:?} and is abandoned");
            stream.abort();
        }
    }

    /// The part of stopping that takes no time; the stream is on its way out.
    fn shut(&self) -> Option<JoinHandle<()>> {
        self.stop.send_replace(true);
        self.core.shut();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.helpers.iter().for_each(JoinHandle::abort);
        tasks.stream
    }

    /// The schema in SDL.
    pub fn schema(&self) -> Result<String, Error> {
        Ok(self.core.live()?.schema.sdl().to_owned())
    }

    /// Answers a query; a subscription cannot be answered at once and is refused.
    pub fn execute(&self, request: &Request) -> Result<String, Error> {
        let response = match self.core.live()?.schema.compile(request) {
            Ok(Operation::Query(response)) => return Ok(String::from_utf8_lossy(&response).into_owned()),
            Ok(Operation::Subscription(_)) => {
                Failure::new("OPERATION_NOT_SUPPORTED", "subscriptions need a WebSocket: connect to this URL with one")
            }
            Err(errors) => Failure::from(errors),
        };
        Ok(format!(r#"{{"errors":{}}}"#, response.to_json()))
    }

    /// A session for a socket that was accepted with the subprotocol graphql-transport-ws.
    pub fn connect(&self, wake: Arc<dyn Wake>) -> Result<Arc<SessionHandle>, Error> {
        Ok(self.core.connect(wake)?)
    }

    /// A subscription whose results are fetched.
    pub fn register(
        &self,
        principal: &Arc<Principal>,
        request: &Arc<Request>,
    ) -> Result<(SubscriptionId, Arc<PullQueue>), Error> {
        let queue = Arc::new(PullQueue::new(self.core.settings.queue_bytes_max));
        match self.core.subscribe(principal, request, Sink::Pull(Arc::clone(&queue)))? {
            Subscribed::Live(id) => Ok((id, queue)),
            Subscribed::Answer(_) => {
                let message = "only subscriptions are registered: use execute for a query";
                Err(Failure::new("OPERATION_NOT_SUPPORTED", message).into())
            }
        }
    }

    /// Ends a registered subscription.
    pub fn complete(&self, id: SubscriptionId) {
        if let Some(subscription) = self.core.complete(id) {
            subscription.fail(&Failure::new("COMPLETED", "it was completed"));
        }
    }

    /// Where resolver calls are announced.
    pub fn resolve_on(&self, wake: Arc<dyn Wake>) {
        self.core.calls.resolve_on(wake);
    }

    /// Up to `limit` resolver calls to run.
    pub fn take_calls(&self, limit: usize) -> Vec<Arc<Call>> {
        self.core.calls.take(limit)
    }

    /// Name and value of each metric.
    pub fn metrics(&self) -> Vec<(&'static str, u64)> {
        let metrics = &self.core.metrics;
        metrics.subscriptions.set(self.core.index.lock().len());
        metrics.snapshot()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut();
        self.core.forget_sessions();
    }
}
