//! Delivers a table's current rows and then its changes, without a gap, a repeat or a lock.
//!
//! A held subscription gets, in this order:
//!
//! 1. the rows of one moment, as its principal sees them, each once;
//! 2. every event of a transaction that this moment does not see, in commit order, wherever it is in the stream;
//! 3. the mark of the end, with the first cursor. From then on it is live.
//!
//! - Two transactions are not compared by their LSNs: the stream carries some up to 0.1 s before other sessions see them
//!   (longer while a synchronous standby is awaited), and others after they are seen.
//! - A subscriber that reads slowly costs no more memory than a page.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Beginning, CatchUp, GLANCE, SETTLED, give_way};
use crate::engine::deliver::{Concern, Condition, Core, Source, Subscription, Telling};
use crate::failure::Failure;
use crate::journal::Expired;
use crate::model::{Change, Event, Lsn, Position, Seen, Table, Timestamp, Transition};
use crate::predicate::Truth;
use crate::probe::{Pages, Probe, Scan};

/// On a busy server the stream passes the snapshot within this time.
const MOMENT: Duration = Duration::from_millis(20);
/// How long between two attempts to take a snapshot, or to move a stream that stands still.
const PATIENCE: Duration = Duration::from_secs(1);
/// Writes a transaction to the WAL. The stream contains only what is on disk, and an idle server flushes late.
const STEP: &str = "select pg_catalog.set_config('synchronous_commit', 'local', true); \
                    select pg_catalog.pg_logical_emit_message(true, 'rowcast.fence', '')";

/// The end of a snapshot: separates its rows from the events that follow.
pub(crate) struct Fence {
    seen: Seen,
    /// When the snapshot was taken.
    pub(super) at: Timestamp,
    pub(super) table: Arc<Table>,
}

/// A snapshot that was taken.
struct Taken {
    pages: Pages,
    fence: Fence,
    /// Everything that it sees is in the stream before this position.
    written: Lsn,
    /// How many transactions the ring had dropped by then.
    gone: u64,
}

impl Fence {
    /// Whether its transaction's work is not in the snapshot's rows.
    pub(crate) fn lets_pass(&self, event: &Event) -> bool {
        !self.seen.sees(event.xid)
    }
}

/// Whether a snapshot can be given, if one may have to be.
pub(crate) fn check(core: &Core, subscription: &Subscription, beginning: Beginning) -> Result<(), Failure> {
    match (beginning, &subscription.source) {
        (Beginning::Now | Beginning::After(_), _) => Ok(()),
        (_, Source::Topic(_)) => Err(unsupported("a topic has no rows")),
        (_, Source::Table(_)) if core.snapshots.get().is_none() => Err(unsupported("the engine has no database")),
        (_, Source::Table(_)) => Ok(()),
    }
}

impl CatchUp {
    /// Delivers the rows, and then the events that the snapshot does not see, to a held subscription, which is live
    /// after that.
    pub(crate) async fn snapshot(&self) -> Result<(), Failure> {
        let (Some(probe), Ok(_turn)) = (self.core.snapshots.get(), self.core.snapshot_turns.acquire().await) else {
            return Err(unsupported("this engine has no database to read rows from"));
        };
        self.core.metrics.snapshots_total.add(1);
        let Some(mut taken) = self.take_snapshot(probe).await? else { return Ok(()) };
        let process = taken.pages.process();
        let told = tokio::select! {
            told = self.tell_rows(&mut taken.pages, &taken.fence) => told?,
            () = give_way::waited_for(self.core.pool.get(), process) => return Err(give_way::gave_way()),
        };
        if !told {
            return Ok(());
        }
        let interruptions = self.core.metrics.capture_interruptions_total.get();
        let Taken { pages, fence, written, gone } = taken;
        pages.close().await?;
        self.pass(&fence, written).await;
        // A server that crashed may have lost what was seen but not yet on disk, and gives its number to another one.
        if self.core.metrics.capture_interruptions_total.get() != interruptions {
            let message = "the stream was interrupted before it had passed the snapshot: subscribe again";
            return Err(Failure::new("SNAPSHOT_INTERRUPTED", message));
        }
        let from = self.from(&fence, gone)?;
        self.go_on(from, Some(&fence)).await
    }

    /// `None` when the subscription has ended.
    async fn take_snapshot(&self, probe: &Probe) -> Result<Option<Taken>, Failure> {
        let deadline = Instant::now() + SETTLED;
        loop {
            let Some((subscription, Some(condition))) = self.held() else { return Ok(None) };
            if let Some(taken) = self.try_snapshot(probe, &subscription, &condition).await? {
                return Ok(Some(taken));
            }
            if Instant::now() >= deadline {
                return Err(expired());
            }
            tokio::time::sleep(PATIENCE / 10).await;
        }
    }

    /// `None` when another snapshot has to be taken.
    async fn try_snapshot(
        &self,
        probe: &Probe,
        subscription: &Subscription,
        condition: &Condition,
    ) -> Result<Option<Taken>, Failure> {
        let Source::Table(table) = &subscription.source else { return Err(unsupported("a topic has no rows")) };
        let columns = readable(subscription, condition, table)?;
        let principal = &subscription.principal;
        let scan = Scan {
            table,
            columns: &columns,
            tenant: table.tenant.and(principal.tenant_id.as_deref()),
            role: principal.role.as_deref(),
            settings: &principal.settings,
        };
        let Some(pages) = probe.pages(&scan).await? else { return Ok(None) };
        let moment = pages.moment().clone();
        let seen: Seen = moment.snapshot.parse().map_err(|_| Failure::new("DEFECT", "the snapshot has no form"))?;
        let (known, gone) = {
            let ring = self.core.ring.lock();
            (ring.before_unseen(|xid| !seen.sees(xid)), ring.gone())
        };
        if known.is_ok() {
            let fence = Fence { seen, at: moment.at, table: Arc::clone(table) };
            return Ok(Some(Taken { pages, fence, written: moment.written, gone }));
        }
        pages.close().await?;
        Ok(None)
    }

    /// The position behind which the stream has everything that the snapshot does not see. An error when some of that has
    /// left the window.
    fn from(&self, fence: &Fence, gone: u64) -> Result<Position, Failure> {
        let ring = self.core.ring.lock();
        let from = ring.before_unseen(|xid| !fence.seen.sees(xid)).map_err(|Expired| expired())?;
        if ring.remembers(gone) { Ok(from) } else { Err(expired()) }
    }

    /// Waits until the stream has delivered all that the snapshot sees.
    async fn pass(&self, fence: &Fence, written: Lsn) {
        let mut look = Instant::now() + MOMENT;
        while !self.has_passed(fence, written) && self.held().is_some() {
            if Instant::now() >= look {
                self.move_stream().await;
                look = Instant::now() + PATIENCE;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// An outbox assigns positions after the commits, so its horizon reports what it has delivered.
    fn has_passed(&self, fence: &Fence, written: Lsn) -> bool {
        match self.core.horizon.get() {
            Some(horizon) => horizon.has_passed(&fence.seen),
            None => self.core.ring.lock().has_come_to(written),
        }
    }

    /// On a standby this is not possible; there the stream advances without it.
    async fn move_stream(&self) {
        if let Some(horizon) = self.core.horizon.get() {
            return horizon.nudge();
        }
        let Some(pool) = self.core.pool.get() else { return };
        let Ok(client) = pool.get().await else { return };
        if let Err(error) = client.batch_execute(STEP).await {
            tracing::debug!("the stream was not moved: {error}");
        }
    }

    /// Delivers the mark of the end; what came before it is in the stream up to `position`.
    pub(crate) fn tell_end(&self, subscription: &Arc<Subscription>, fence: &Fence, position: Position) {
        let change = Change::SnapshotEnd(Arc::clone(&fence.table));
        let event = Arc::new(Event { position, committed_at: fence.at, xid: 0, change });
        let concern = Concern { transition: Transition::Stay, old: Truth::Unavailable, new: Truth::Unavailable };
        let mut telling = Telling::new(&self.core, &event);
        telling.tell(subscription, concern);
        telling.finish();
    }
}

/// The columns to read. They must include every column that decides about a row, or rows that the stream delivers would
/// be missing.
fn readable(subscription: &Subscription, condition: &Condition, table: &Table) -> Result<Vec<usize>, Failure> {
    let columns = subscription.admission.columns();
    let all = || 0..table.columns.len();
    let asked = subscription.admission.question().map(|question| &question.reads);
    let mut decisive = condition.predicate.columns().into_iter().chain(all().filter(|index| {
        asked.is_some_and(|reads| match reads {
            crate::security::Reads::Row => true,
            crate::security::Reads::Columns(columns) => columns.contains(index),
        })
    }));
    match decisive.find(|index| !columns.contains(*index)) {
        None => Ok(all().filter(|index| columns.contains(*index)).collect()),
        Some(index) => Err(forbidden(table, &table.columns[index].name)),
    }
}

/// Only a policy may name the column, so the name goes to the log.
fn forbidden(table: &Table, column: &str) -> Failure {
    tracing::warn!(
        code = "SNAPSHOT_FORBIDDEN",
        "a client was refused a snapshot of {}: which rows are visible depends on column {column}, which its role may not \
         read: grant select on it",
        table.name
    );
    let message =
        "which rows are visible depends on a column that the principal may not read: subscribe without snapshot";
    Failure::new("SNAPSHOT_FORBIDDEN", message)
}

pub(crate) fn unsupported(reason: &str) -> Failure {
    Failure::new("SNAPSHOT_UNSUPPORTED", format!("no snapshot can be given: {reason}"))
}

/// The ring of recent events no longer has what must be delivered.
pub(crate) fn expired() -> Failure {
    let message = "what changed since the snapshot is not kept any more: read faster, ask for fewer rows, or raise \
                   replay_window_bytes and replay_window_s; then subscribe again";
    Failure::new("SNAPSHOT_EXPIRED", message)
}
