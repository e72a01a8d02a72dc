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

mod declare;
mod dispatch;
mod evict;
mod failure;
mod housekeeping;
mod live;
mod pace;
mod pull;
mod refresh;
mod registry;
mod resolve;
mod session;
mod start;
mod stream;
mod subscribe;
mod subscription;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::{Pool, Runtime};
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use failure::Failure;
pub use pull::PullQueue;
pub use resolve::{Call, Outcome};
pub use session::SessionHandle;

use crate::adapter::Wake;
use crate::capture::Conninfo;
use crate::config::{Bus, Settings};
use crate::decode::json::{self, Written};
use crate::error::Error;
use crate::graphql::{Operation, Request};
use crate::journal::Origin;
use crate::metrics::Metrics;
use crate::model::{Change, Event, Lsn, Message, PgType, Position, Principal, SubscriptionId, Timestamp};
use crate::payload::{Encoder, ValueForm};
use crate::session::Close;
use crate::store::{self, StatusLine, WatchRequest};
use dispatch::Index;
use evict::{Eviction, Evictions};
use live::Live;
use pace::Pace;
use registry::Registry;
use resolve::{CallQueue, Lanes};
use subscribe::Subscribed;
use subscription::Sink;

/// Publishing takes a session for one round trip.
const POOL_SIZE: usize = 4;
const POOL_WAIT: Duration = Duration::from_secs(5);

/// What every thread shares.
pub(crate) struct Core {
    settings: Settings,
    metrics: Metrics,
    registry: Registry,
    index: Mutex<Index>,
    lanes: Lanes,
    calls: CallQueue,
    encoder: Encoder,
    pace: Pace,
    evictions: Evictions,
    live: RwLock<Option<Arc<Live>>>,
    origin: OnceLock<Origin>,
}

/// One engine: one bus, one schema, any number of sessions.
pub struct Engine {
    core: Arc<Core>,
    bus: Bus,
    evicted: Mutex<Option<UnboundedReceiver<Eviction>>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    published: AtomicU64,
    pool: OnceLock<Pool>,
}

impl Engine {
    /// An engine that does nothing yet.
    pub fn new(bus: Bus, settings: Settings) -> Self {
        let (evictions, evicted) = Evictions::new();
        let core = Core::new(settings, evictions);
        Engine {
            core: Arc::new(core),
            bus,
            evicted: Mutex::new(Some(evicted)),
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
            published: AtomicU64::new(0),
            pool: OnceLock::new(),
        }
    }

    /// Applies the migrations that the database lacks; their names.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        let (mut client, connection) = self.conninfo()?.connect().await?;
        let applied = store::migrate(&mut client).await;
        connection.abort();
        Ok(applied?)
    }

    /// The names of the migrations that the database lacks.
    pub async fn pending_migrations(&self) -> Result<Vec<String>, Error> {
        let pending = store::pending(&*self.pool()?.get().await?).await?;
        Ok(pending.into_iter().map(|migration| migration.name).collect())
    }

    /// The schema that [`start`](Self::start) would serve, without serving it: no slot is made or taken.
    pub async fn describe(&self, fields: &str) -> Result<String, Error> {
        let live = match &self.bus {
            Bus::Memory => start::describe_memory(&self.core, fields)?,
            Bus::PostgreSql(bus) => start::describe_postgresql(&self.core, bus, fields).await?,
        };
        Ok(live.schema.sdl().to_owned())
    }

    /// Begins to serve the declared fields, a JSON array. Once in an engine's life.
    pub async fn start(&self, fields: &str) -> Result<(), Error> {
        let evicted = self.evicted.lock().take().ok_or(Error::StartedBefore)?;
        let started = match &self.bus {
            Bus::Memory => start::memory(&self.core, fields),
            Bus::PostgreSql(bus) => start::postgresql(&self.core, bus, fields, self.stop.subscribe()).await,
        };
        match started {
            Ok(stream) => {
                let housekeeping = tokio::spawn(housekeeping::run(Arc::clone(&self.core), evicted));
                self.tasks.lock().extend(stream.into_iter().chain([housekeeping]));
                Ok(())
            }
            Err(error) => {
                // A start that failed may be tried again.
                *self.evicted.lock() = Some(evicted);
                Err(error)
            }
        }
    }

    /// Closes every session with 1001, confirms what was handled and lets the slot go.
    pub async fn stop(&self, timeout: Duration) {
        self.stop.send_replace(true);
        self.core.close_all(&Close::shutting_down());
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let (stream, housekeeping) = tasks.split_at(tasks.len().saturating_sub(1));
        housekeeping.iter().for_each(JoinHandle::abort);
        let deadline = tokio::time::Instant::now() + timeout;
        while !stream.iter().all(JoinHandle::is_finished) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream.iter().for_each(JoinHandle::abort);
        *self.core.live.write() = None;
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
        self.core.live()?;
        let session = SessionHandle::new(&self.core, wake);
        self.core.registry.add_session(&session);
        self.core.metrics.sessions.add(1);
        Ok(session)
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

    /// Publishes JSON text to a topic, in a transaction of its own.
    pub async fn publish(&self, topic: &str, payload: &str, tenant: Option<&str>) -> Result<(), Error> {
        match &self.bus {
            Bus::Memory => {
                self.publish_here(topic, payload, tenant)?;
                self.core.pace().await;
                Ok(())
            }
            Bus::PostgreSql(_) => {
                let client = self.pool()?.get().await?;
                store::publish(&client, topic, payload, tenant).await.map(drop).map_err(Error::Publish)
            }
        }
    }

    /// Follows a table from now on; whether anything changed.
    pub async fn watch(&self, request: &WatchRequest) -> Result<bool, Error> {
        Ok(store::watch(&*self.pool()?.get().await?, request).await?)
    }

    /// Stops following a table; whether it was followed.
    pub async fn unwatch(&self, table: &str) -> Result<bool, Error> {
        Ok(store::unwatch(&*self.pool()?.get().await?, table).await?)
    }

    /// The health of rowcast in the database, in the order in which to read it.
    pub async fn status(&self) -> Result<Vec<StatusLine>, Error> {
        Ok(store::status(&*self.pool()?.get().await?).await?)
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
        metrics.subscriptions.set(self.core.registry.subscription_count());
        metrics.snapshot()
    }

    fn publish_here(&self, topic: &str, payload: &str, tenant: Option<&str>) -> Result<(), Error> {
        self.core.live()?;
        let valid: &serde_json::value::RawValue = serde_json::from_str(payload).map_err(|error| {
            Error::Declaration { code: "PAYLOAD_INVALID", message: format!("the payload is not JSON: {error}") }
        })?;
        let ordinal = self.published.fetch_add(1, Ordering::Relaxed) + 1;
        let message =
            Message { topic: topic.into(), tenant: tenant.map(Into::into), payload: valid.get().to_owned().into() };
        self.core.dispatch(&Arc::new(Event {
            position: Position { commit_lsn: Lsn(ordinal), ordinal: 0 },
            committed_at: Timestamp::now(),
            xid: 0,
            change: Change::Message(message),
        }));
        Ok(())
    }

    /// Sessions for the few statements that the engine itself runs; made when first needed.
    fn pool(&self) -> Result<&Pool, Error> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let pool = Pool::builder(self.conninfo()?.manager())
            .max_size(POOL_SIZE)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_WAIT))
            .build()?;
        Ok(self.pool.get_or_init(|| pool))
    }

    fn conninfo(&self) -> Result<Conninfo, Error> {
        match &self.bus {
            Bus::PostgreSql(bus) => Ok(Conninfo::resolve(bus.url.as_deref())?),
            Bus::Memory => Err(Error::Declaration {
                code: "NO_DATABASE",
                message: "this engine has an in-memory bus and no database: use EventBusConfig.postgresql()".into(),
            }),
        }
    }
}

impl Core {
    fn new(settings: Settings, evictions: Evictions) -> Self {
        Core {
            settings,
            metrics: Metrics::default(),
            registry: Registry::default(),
            index: Mutex::default(),
            lanes: Lanes::default(),
            calls: CallQueue::default(),
            encoder: Encoder::new(write_value),
            pace: Pace::default(),
            evictions,
            live: RwLock::new(None),
            origin: OnceLock::new(),
        }
    }

    fn live(&self) -> Result<Arc<Live>, NotStarted> {
        self.live.read().clone().ok_or(NotStarted)
    }

    fn serve(&self, live: &Arc<Live>) {
        *self.live.write() = Some(Arc::clone(live));
    }

    fn origin(&self) -> Origin {
        self.origin.get().copied().unwrap_or_default()
    }

    fn close_all(&self, close: &Close) {
        for session in self.registry.sessions() {
            session.close(close.clone());
        }
    }

    /// The stream has ended for good: nobody may go on waiting for events that will not come.
    fn fail(&self, reason: &str) {
        tracing::error!("the replication stream has failed: {reason}");
        for subscription in self.registry.subscriptions() {
            subscription.fail_later(Failure::new("CAPTURE_FAILED", format!("no more events can be had: {reason}")));
        }
    }
}

/// The decoder's JSON forms, for the encoder, which does not know the decoder.
fn write_value(pg_type: &PgType, text: &[u8], out: &mut Vec<u8>) -> ValueForm {
    match json::write(pg_type, text, out) {
        Ok(Written::Value) => ValueForm::Value,
        Ok(Written::NoJsonForm) => ValueForm::None,
        Err(_) => ValueForm::Malformed,
    }
}

/// The engine is not serving.
#[derive(Clone, Copy, Debug)]
struct NotStarted;

impl From<NotStarted> for Error {
    fn from(_: NotStarted) -> Self {
        Error::NotStarted
    }
}

impl From<NotStarted> for Failure {
    fn from(_: NotStarted) -> Self {
        Failure::new("NOT_STARTED", "the engine is not serving")
    }
}
