//! The engine: the one place that knows all stages.
//!
//! A committed change is *captured*, *decoded* to an event that all subscribers share, noted by the *journal* (is it new?
//! what may be confirmed?), and *matched*: the index proposes the subscriptions that it may concern, and how. For each of
//! them the *gate* says what may be seen. The *encoder* writes each distinct payload once, or a *resolver* is called once
//! for all subscriptions that would get the same answer. The finished frame goes into the *mailbox* of each session, and
//! the event loop is woken to take it.
//!
//! - A subscription is in force when [`SessionHandle::receive_text`] returns.
//! - Results come in commit order, each once. Nothing is dropped in silence.
//! - The engine never waits for a client, a resolver or Python.
//!
//! Its rooms depend on each other in one direction: `outbound` ◀ `deliver` ◀ `catch_up` ◀ `serve` ◀ `client` ◀ `follow`.

mod catch_up;
mod client;
mod clock;
mod database;
mod deliver;
mod explain;
mod follow;
mod outbound;
mod rate;
mod rehearse;
mod serve;
mod served;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::Pool;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use client::SessionHandle;
pub use deliver::resolvers::{Call, Outcome};
pub use explain::Inquiry;
pub use outbound::PullQueue;
pub use rehearse::Unsettled;

use crate::adapter::Wake;
use crate::config::{Bus, Settings};
use crate::error::Error;
use crate::failure::{Failure, RetryAfter};
use crate::graphql::{EntityRequest, Operation, Request};
use crate::model::{Principal, SubscriptionId};
use crate::session::Dialect;
use client::Clients;
use deliver::{Core, Sink};
use follow::{Tasks, start};
use outbound::{Eviction, Evictions};
use serve::{Subscribe, Subscribed, refuse_expired};
use served::Live;

/// One engine: one bus, one schema, any number of sessions. Dropping it stops it, in the background.
pub struct Engine {
    core: Arc<Core>,
    clients: Arc<Clients>,
    bus: Bus,
    evicted: Mutex<Option<UnboundedReceiver<Eviction>>>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Tasks>,
    published: Mutex<u64>,
    pool: OnceLock<Pool>,
}

impl Engine {
    /// An engine that does nothing yet.
    pub fn new(bus: Bus, settings: Settings) -> Self {
        let (evictions, evicted) = Evictions::new();
        let core = Arc::new(Core::new(settings, rehearse::clock(&bus), evictions));
        Engine {
            clients: Arc::new(Clients::new(Arc::clone(&core))),
            core,
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
            Bus::Rehearsal(rehearsal) => rehearse::describe(&self.core, rehearsal, fields)?,
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
                tasks.helpers.push(tokio::spawn(client::keep_house(Arc::clone(&self.clients), evicted)));
                *self.tasks.lock() = tasks;
                // A stop during the start has not seen the tasks.
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
        let _ = self.core.runtime.set(Handle::current());
        match &self.bus {
            Bus::Memory => start::memory(&self.core, start::describe_memory(&self.core, fields)?),
            Bus::Rehearsal(rehearsal) => start::memory(&self.core, rehearse::describe(&self.core, rehearsal, fields)?),
            Bus::PostgreSql(bus) => {
                start::postgresql(&self.clients, bus, self.pool()?.clone(), fields, self.stop.subscribe()).await
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
        self.clients.shut();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.helpers.iter().for_each(JoinHandle::abort);
        tasks.stream
    }

    /// The schema in SDL.
    pub fn schema(&self) -> Result<String, Error> {
        Ok(self.core.live()?.schema.sdl().to_owned())
    }

    /// Answers a query; a subscription cannot be answered at once and is refused. Rows by key are for a principal, whose
    /// requests for the schema count in its rates.
    pub async fn execute(&self, principal: Option<&Principal>, request: &Request) -> Result<String, Error> {
        let live = self.core.live()?;
        Ok(match self.response(&live, principal, request).await {
            Ok(response) => String::from_utf8_lossy(&response).into_owned(),
            Err(failure) => format!(r#"{{"errors":{}}}"#, failure.to_json()),
        })
    }

    async fn response(&self, live: &Live, principal: Option<&Principal>, request: &Request) -> Result<Bytes, Failure> {
        if let Some(principal) = principal.filter(|_| live.schema.introspects(request)) {
            self.core.rates.check_introspection(self.core.rates.of_principal(principal, None))?;
        }
        match live.schema.compile(request)? {
            Operation::Query(response) => Ok(response),
            Operation::Entities(asked) => match principal {
                Some(principal) => self.answer(live, principal, &asked).await,
                None => Err(Failure::new("PRINCIPAL_REQUIRED", "rows are given to somebody: say who asks")),
            },
            Operation::Subscription(_) => {
                let message = "subscriptions need a WebSocket or an event stream: connect to this URL with one, or send `Accept: \
                               text/event-stream`";
                Err(Failure::new("OPERATION_NOT_SUPPORTED", message))
            }
        }
    }

    async fn answer(&self, live: &Live, principal: &Principal, asked: &EntityRequest) -> Result<Bytes, Failure> {
        self.core.rates.check_subscribe(self.core.rates.of_principal(principal, None))?;
        serve::answer(&self.core, live, principal, asked).await
    }

    /// A session for a socket that was accepted with the subprotocol graphql-transport-ws.
    pub fn connect(&self, wake: Arc<dyn Wake>) -> Result<Arc<SessionHandle>, Error> {
        self.connect_from(wake, None)
    }

    /// The same, for a peer whose address is known and limited.
    pub fn connect_from(&self, wake: Arc<dyn Wake>, address: Option<&str>) -> Result<Arc<SessionHandle>, Error> {
        self.open(wake, address, Dialect::Socket)
    }

    /// A session that speaks graphql-sse over an HTTP response, for such a peer. It waits for
    /// [`accept`](SessionHandle::accept).
    pub fn open(
        &self,
        wake: Arc<dyn Wake>,
        address: Option<&str>,
        dialect: Dialect,
    ) -> Result<Arc<SessionHandle>, Error> {
        let checked = self.core.rates.check_connect(address);
        checked.map_err(|RetryAfter(retry_after_s)| Error::RateLimited { retry_after_s })?;
        Ok(self.clients.connect(wake, address, dialect)?)
    }

    /// A subscription whose results are fetched.
    pub fn register(
        &self,
        principal: &Arc<Principal>,
        request: &Arc<Request>,
    ) -> Result<(SubscriptionId, Arc<PullQueue>), Error> {
        let key = self.core.rates.of_principal(principal, None);
        self.core.rates.check_subscribe(key)?;
        refuse_expired(principal, self.core.clock.date())?;
        let registering = self.clients.revocations.registering();
        registering.check(principal)?;
        let queue = Arc::new(PullQueue::new(self.core.settings.queue_bytes_max));
        let sink = Sink::Pull(Arc::clone(&queue));
        let subscribe = Subscribe { core: &self.core, principal, rates: key, request, sink };
        match subscribe.begin()? {
            Subscribed::Live(id) => {
                self.clients.expiring.add(principal.expires_at, id, &queue);
                Ok((id, queue))
            }
            Subscribed::Answer(_) | Subscribed::Entities(..) => {
                let message = "only subscriptions are registered: use execute for a query";
                Err(Failure::new("OPERATION_NOT_SUPPORTED", message).into())
            }
        }
    }

    /// Ends a registered subscription.
    pub fn complete(&self, id: SubscriptionId) {
        self.clients.fail(id, &Failure::new("COMPLETED", "it was completed"));
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
        let queued: usize = self.clients.sessions().iter().map(|session| session.mailbox().bytes()).sum();
        metrics.queue_bytes.set(queued as u64);
        metrics.snapshot()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shut();
        self.clients.forget_all();
    }
}
