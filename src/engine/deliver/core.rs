//! What all threads share, and which schema is served at this moment.
//!
//! The served schema changes only under the index's lock. So a subscription that was compiled for one schema cannot
//! enter the index after the change to the next one, and none can enter after the end was sent to all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use deadpool_postgres::Pool;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::horizon::Horizon;
use super::index::Index;
use super::losses::Losses;
use super::policies::PolicyLanes;
use super::resolvers::{CallQueue, ResolverLanes};
use super::subscription::Subscription;
use super::transaction::Transactions;
use crate::config::Settings;
use crate::decode::json::{self, Written};
use crate::engine::clock::Clock;
use crate::engine::outbound::{Eviction, Evictions, Outbound};
use crate::engine::rate::Rates;
use crate::engine::served::Live;
use crate::error::Error;
use crate::failure::Failure;
use crate::journal::{Cursor, Ring};
use crate::metrics::Metrics;
use crate::model::{Lsn, PgType, SubscriptionId};
use crate::payload::{Encoder, ValueForm};
use crate::probe::Probe;
use crate::security::Question;

/// Sessions in which rows of snapshots are read. Further subscribers wait for their turn.
pub(crate) const SNAPSHOT_SESSIONS: usize = 4;

/// What every thread shares.
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// The number given last.
    last_id: AtomicU64,
    pub(crate) rates: Rates,
    pub(crate) index: Mutex<Index>,
    pub(crate) lanes: ResolverLanes,
    pub(crate) policies: PolicyLanes,
    pub(crate) calls: CallQueue,
    pub(crate) encoder: Encoder,
    pub(crate) outbound: Arc<Outbound>,
    /// A session's results may be coalesced; never reset. Until it is set, no event's key is read.
    pub(crate) coalesces: AtomicBool,
    /// Those that are open.
    pub(crate) transactions: Transactions,
    /// Where changes of a table were lost, as the stream says it.
    pub(crate) losses: Losses,
    /// The events that clients can still resume from. Locked after the index.
    pub(crate) ring: Mutex<Ring>,
    /// How many subscriptions are catching up.
    pub(crate) replaying: AtomicUsize,
    /// The slot that is streamed from.
    pub(crate) slot: Mutex<Option<String>>,
    /// How far an outbox was delivered; set by a start that captures from one.
    pub(crate) horizon: OnceLock<Horizon>,
    /// Where tasks run; set by the start.
    pub(crate) runtime: OnceLock<Handle>,
    /// Sessions for the few statements that the engine itself runs, and those in which others are read as; set by a
    /// start with a database.
    pub(crate) pool: OnceLock<Pool>,
    pub(crate) by_key: OnceLock<Arc<Probe>>,
    /// Where the rows of snapshots are read, and whose turn it is.
    pub(crate) snapshots: OnceLock<Probe>,
    pub(crate) snapshot_turns: Semaphore,
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
    pub(crate) fn new(settings: Settings, clock: Clock, evictions: Evictions) -> Self {
        let metrics = Arc::new(Metrics::default());
        Core {
            rates: Rates::new(&settings.limits, Arc::clone(&metrics)),
            last_id: AtomicU64::new(0),
            index: Mutex::default(),
            lanes: ResolverLanes::new(Arc::clone(&metrics), clock.clone()),
            policies: PolicyLanes::new(Arc::clone(&metrics), settings.policy_backlog_bytes_max),
            outbound: Arc::new(Outbound::new(evictions, Arc::clone(&metrics))),
            metrics,
            calls: CallQueue::default(),
            encoder: Encoder::new(write_value),
            coalesces: AtomicBool::new(false),
            transactions: Transactions::default(),
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

    /// A number for a session or a subscription; from 1, never given again.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn live(&self) -> Result<Arc<Live>, NotServing> {
        match &*self.serving.read() {
            Serving::Live(live) | Serving::Failed(live, _) => Ok(Arc::clone(live)),
            Serving::NotYet | Serving::Stopped => Err(NotServing),
        }
    }

    /// Whether `live` is what is served. Asked with the index, so that the answer holds while it is held.
    pub(crate) fn is_served(&self, _index: &Index, live: &Arc<Live>) -> Result<bool, Failure> {
        match &*self.serving.read() {
            Serving::Live(served) => Ok(Arc::ptr_eq(served, live)),
            Serving::Failed(_, failure) => Err(failure.clone()),
            Serving::NotYet | Serving::Stopped => Err(NotServing.into()),
        }
    }

    /// Serves this from now on, unless the engine was stopped.
    pub(crate) fn serve(&self, live: &Arc<Live>) -> Result<(), Error> {
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

    /// Does something while the engine cannot stop.
    pub(crate) fn while_serving<T>(&self, work: impl FnOnce() -> T) -> Result<T, NotServing> {
        let serving = self.serving.read();
        match *serving {
            Serving::Live(_) | Serving::Failed(..) => Ok(work()),
            Serving::NotYet | Serving::Stopped => Err(NotServing),
        }
    }

    /// Refuses a delegated policy when there is no database to evaluate it: a waiting row would look like a hidden one.
    pub(crate) fn check_askable(&self, question: &Question) -> Result<(), Failure> {
        if !self.clock.is_by_hand() {
            return Ok(());
        }
        let message = format!(
            "a row policy of {} must be answered by PostgreSQL, and here is none: test it against a server",
            question.table
        );
        Err(Failure::new("POLICY_NEEDS_DATABASE", message))
    }

    /// The stream has ended for good: no client may wait for events that will not come. The reason names hosts and
    /// repeats the server's words, so it goes to the log; clients get its code.
    pub(crate) fn fail(&self, code: &str, reason: &str) {
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
        self.outbound.evictions.send(Eviction::Doubt);
    }

    /// Ends a subscription without a word to its reader; `None` when it had ended.
    pub(crate) fn complete(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        let subscription = self.index.lock().remove(id)?;
        subscription.progress.end();
        Some(subscription)
    }

    /// Ends a subscription with errors a moment later, if it is there.
    pub(crate) fn fail_later(&self, id: SubscriptionId, failure: Failure) {
        let found = self.index.lock().find(id);
        if let Some(subscription) = found {
            subscription.fail_later(failure);
        }
    }

    /// No event of a table can be delivered correctly until the catalog is read again. Its subscriptions end.
    pub(crate) fn set_aside(&self, table: u32, failure: &Failure) {
        let mut index = self.index.lock();
        index.set_aside(table, failure.clone());
        let concerned = index.all().filter(|subscription| subscription.source.table() == Some(table));
        concerned.for_each(|subscription| subscription.fail_later(failure.clone()));
    }

    /// The catalog was read again.
    pub(crate) fn readmit(&self) {
        self.index.lock().readmit();
    }

    /// A copy, so that no thread holds the index while it compiles.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.index.lock().all().cloned().collect()
    }

    /// No client can connect or subscribe from now on.
    pub(crate) fn stop_serving(&self) {
        let _index = self.index.lock();
        *self.serving.write() = Serving::Stopped;
    }

    /// No policy and no resolver is asked any more.
    pub(crate) fn close(&self) {
        self.policies.close();
        self.lanes.close();
        self.calls.close();
    }

    /// The cursor of a subscription that begins now.
    pub(crate) fn here(&self) -> Option<Cursor> {
        let ring = self.ring.lock();
        ring.position().map(|position| self.outbound.history.cursor(position))
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
pub(crate) struct NotServing;

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
