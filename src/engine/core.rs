//! What all threads share, and which schema is served at this moment.
//!
//! The served schema changes only under the index's lock. So a subscription that was compiled for one schema cannot enter
//! the index after the change to the next one, and none can enter after the end was sent to all.

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};

use deadpool_postgres::Pool;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::ask::Policies;
use super::calls::{CallQueue, Lanes};
use super::clock::Clock;
use super::evict::{Eviction, Evictions};
use super::horizon::Horizon;
use super::index::Index;
use super::live::Live;
use super::losses::Losses;
use super::pace::Pace;
use super::rate::Rates;
use super::registry::Registry;
use super::revoke::Revocations;
use super::session::SessionHandle;
use super::subscription::Subscription;
use super::transaction::Transactions;
use crate::adapter::Wake;
use crate::config::Settings;
use crate::decode::json::{self, Written};
use crate::error::Error;
use crate::failure::Failure;
use crate::journal::{Cursor, History, Origin, Ring};
use crate::metrics::Metrics;
use crate::model::{Lsn, PgType};
use crate::payload::{Encoder, ValueForm};
use crate::probe::Probe;
use crate::session::{Close, Dialect};

/// Sessions in which rows of snapshots are read. Further subscribers wait for their turn.
pub(super) const SNAPSHOT_SESSIONS: usize = 4;

/// What every thread shares.
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) clock: Clock,
    /// Of this engine among all of the database.
    pub(super) name: String,
    pub(super) revocations: Revocations,
    pub(super) metrics: Arc<Metrics>,
    pub(super) registry: Registry,
    pub(super) rates: Rates,
    pub(super) index: Mutex<Index>,
    pub(super) lanes: Lanes,
    pub(super) policies: Policies,
    pub(super) calls: CallQueue,
    pub(super) encoder: Encoder,
    pub(super) pace: Pace,
    /// Somebody's results may be coalesced; stays. Until then no event's key is read.
    pub(super) coalesces: AtomicBool,
    /// Those that are open.
    pub(super) transactions: Transactions,
    pub(super) evictions: Evictions,
    history: RwLock<History>,
    /// Where changes of a table were lost, as the stream says it.
    pub(super) losses: Losses,
    /// The events that clients can still resume from. Locked after the index.
    pub(super) ring: Mutex<Ring>,
    /// How many subscriptions are catching up.
    pub(super) replaying: AtomicUsize,
    /// The slot that is streamed from.
    pub(super) slot: Mutex<Option<String>>,
    /// How far an outbox was delivered; set by a start that captures from one.
    pub(super) horizon: OnceLock<Horizon>,
    /// Where tasks run; set by the start.
    pub(super) runtime: OnceLock<Handle>,
    /// Sessions for the few statements that the engine itself runs, and those in which others are read as; set by a
    /// start with a database.
    pub(super) pool: OnceLock<Pool>,
    pub(super) by_key: OnceLock<Arc<Probe>>,
    /// Where the rows of snapshots are read, and whose turn it is.
    pub(super) snapshots: OnceLock<Probe>,
    pub(super) snapshot_turns: Semaphore,
    serving: RwLock<Serving>,
}

/// Where an engine is in its life.
enum Serving {
    /// Entered at birth.
    NotYet,
    /// Entered by the start; again with each new schema.
    Live(Arc<Live>),
    /// Entered when the stream has ended for good. Queries are answered; subscriptions are refused with the reason.
    Failed(Arc<Live>, Failure),
    /// Entered by the stop, from everywhere. Final.
    Stopped,
}

impl Core {
    pub(super) fn new(settings: Settings, clock: Clock, evictions: Evictions) -> Self {
        let metrics = Arc::new(Metrics::default());
        Core {
            name: format!("{:032x}", rand::random::<u128>()),
            revocations: Revocations::default(),
            rates: Rates::new(&settings.limits, Arc::clone(&metrics)),
            registry: Registry::default(),
            index: Mutex::default(),
            lanes: Lanes::new(Arc::clone(&metrics), clock.clone()),
            policies: Policies::new(Arc::clone(&metrics), settings.policy_backlog_bytes_max),
            metrics,
            calls: CallQueue::default(),
            encoder: Encoder::new(write_value),
            pace: Pace::default(),
            coalesces: AtomicBool::new(false),
            transactions: Transactions::default(),
            evictions,
            history: RwLock::default(),
            losses: Losses::default(),
            ring: Mutex::new(Ring::new(settings.replay_window(), Lsn::default(), Lsn::default())),
            replaying: AtomicUsize::new(0),
            slot: Mutex::default(),
            horizon: OnceLock::new(),
            runtime: OnceLock::new(),
            pool: OnceLock::new(),
            by_key: OnceLock::new(),
            snapshots: OnceLock::new(),
            snapshot_turns: Semaphore::new(SNAPSHOT_SESSIONS),
            settings,
            clock,
            serving: RwLock::new(Serving::NotYet),
        }
    }

    /// Returns when the next event may be delivered.
    pub(super) async fn pace(&self) {
        self.pace.wait(|look| self.registry.each_session(|session| look(session.sender()))).await;
    }

    pub(super) fn live(&self) -> Result<Arc<Live>, NotServing> {
        match &*self.serving.read() {
            Serving::Live(live) | Serving::Failed(live, _) => Ok(Arc::clone(live)),
            Serving::NotYet | Serving::Stopped => Err(NotServing),
        }
    }

    /// Whether `live` is what is served. Asked with the index, so that the answer holds while it is held.
    pub(super) fn is_served(&self, _index: &Index, live: &Arc<Live>) -> Result<bool, Failure> {
        match &*self.serving.read() {
            Serving::Live(served) => Ok(Arc::ptr_eq(served, live)),
            Serving::Failed(_, failure) => Err(failure.clone()),
            Serving::NotYet | Serving::Stopped => Err(NotServing.into()),
        }
    }

    /// Serves this from now on, unless the engine was stopped.
    pub(super) fn serve(&self, live: &Arc<Live>) -> Result<(), Error> {
        let _index = self.index.lock();
        let mut serving = self.serving.write();
        if matches!(*serving, Serving::Stopped) {
            return Err(Error::StartedBefore);
        }
        let before = std::mem::replace(&mut *serving, Serving::Live(Arc::clone(live)));
        drop(serving);
        live.warn_of_problems(if let Serving::Live(before) = &before { Some(before) } else { None });
        Ok(())
    }

    /// A session is made while the engine cannot stop, so that the stop closes it.
    pub(super) fn connect(
        self: &Arc<Self>,
        wake: Arc<dyn Wake>,
        address: Option<&str>,
        dialect: Dialect,
    ) -> Result<Arc<SessionHandle>, NotServing> {
        let serving = self.serving.read();
        match *serving {
            Serving::Live(_) | Serving::Failed(..) => {
                let session = SessionHandle::new(self, wake, address, dialect);
                self.registry.add_session(&session);
                if dialect != Dialect::Socket {
                    session.begin_authentication();
                }
                self.metrics.sessions.add(1);
                Ok(session)
            }
            Serving::NotYet | Serving::Stopped => Err(NotServing),
        }
    }

    /// The stream has ended for good: no client may wait for events that will not come. The reason names hosts and repeats
    /// the server's words, so it goes to the log; clients get its code.
    pub(super) fn fail(&self, code: &str, reason: &str) {
        tracing::error!(code, "the replication stream has failed: {reason}");
        self.metrics.capture_failed.set(1);
        self.metrics.capture_streaming.set(0);
        let failure = Failure::new(
            "CAPTURE_FAILED",
            format!("no more events can be delivered ({code}); the server's log has the reason"),
        );
        let index = self.index.lock();
        let mut serving = self.serving.write();
        if let Serving::Live(live) = &*serving {
            *serving = Serving::Failed(Arc::clone(live), failure.clone());
        }
        index.all().for_each(|subscription| subscription.fail_later(failure.clone()));
        // A revoke may be behind the end. Sessions get the errors first, and nothing is delivered any more.
        self.evictions.send(Eviction::Doubt);
    }

    /// No event of a table can be delivered correctly until the catalog is read again. Its subscriptions end.
    pub(super) fn set_aside(&self, table: u32, failure: &Failure) {
        let mut index = self.index.lock();
        index.set_aside(table, failure.clone());
        let concerned = index.all().filter(|subscription| subscription.source.table() == Some(table));
        concerned.for_each(|subscription| subscription.fail_later(failure.clone()));
    }

    /// The catalog was read again.
    pub(super) fn readmit(&self) {
        self.index.lock().readmit();
    }

    /// A copy, so that no thread holds the index while it compiles.
    pub(super) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.index.lock().all().cloned().collect()
    }

    /// The engine stops: all sessions and subscriptions end, and no client can connect.
    pub(super) fn shut(&self) {
        {
            let _index = self.index.lock();
            *self.serving.write() = Serving::Stopped;
        }
        for session in self.registry.sessions() {
            session.close(Close::shutting_down());
        }
        for subscription in self.subscriptions().iter().filter_map(|pulled| self.complete(pulled.id)) {
            subscription.fail(&Failure::new("SHUTTING_DOWN", "the engine was stopped"));
        }
        self.policies.close();
        self.lanes.close();
        self.calls.close();
    }

    /// Sessions hold the core and the core holds them: one side has to let go.
    pub(super) fn forget_sessions(&self) {
        self.registry.forget_sessions();
    }

    pub(super) fn origin(&self) -> Origin {
        self.history.read().origin
    }

    /// Whether a cursor's position means the same here.
    pub(super) fn knows(&self, cursor: &Cursor) -> bool {
        self.history.read().contains(cursor)
    }

    /// The cursor of a subscription that begins now.
    pub(super) fn here(&self) -> Option<Cursor> {
        let ring = self.ring.lock();
        ring.position().map(|position| Cursor { origin: self.origin(), position })
    }

    /// Positions belong to this history from now on.
    pub(super) fn follow(&self, history: History) {
        *self.history.write() = history;
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

/// The engine was not started, or was stopped.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotServing;

impl From<NotServing> for Error {
    fn from(_: NotServing) -> Self {
        Error::NotStarted
    }
}

impl From<NotServing> for Failure {
    fn from(_: NotServing) -> Self {
        Failure::new("NOT_STARTED", "the engine is not serving")
    }
}
