//! One live subscription: what it wants, what it may see, and where its results go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use super::ask;
use super::evict::{Eviction, Evictions};
use super::pull::{Kept, PullQueue};
use super::resolve::Lane;
use super::session::SessionHandle;
use super::transaction::{Grouping, Told};
use crate::config::SlowClient;
use crate::failure::Failure;
use crate::graphql::{Plan, Request};
use crate::model::{Lsn, OperationId, Position, Principal, RowKey, SubscriptionId, Table, Timestamp, Transition};
use crate::payload::{Body, Frame};
use crate::security::Admission;
use crate::session::RowNews;

/// Where its client may resume once it has an event, as a position and as the text that clients are given, and the row
/// that it is about.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) position: Option<Position>,
    /// Empty without a position.
    pub(super) cursor: Arc<str>,
    /// `None` when it is not about one row, and where nobody's results are coalesced.
    pub(super) row: Option<RowKey>,
    pub(super) committed_at: Timestamp,
}

impl Stamp {
    /// The stamp of events inside a snapshot: a client that loses the rest begins again.
    pub(super) fn nowhere(committed_at: Timestamp) -> Self {
        Stamp { position: None, cursor: "".into(), row: None, committed_at }
    }
}

/// What its results are made from.
pub(super) enum Source {
    /// Rows of a table, in the shape that the subscription was compiled for.
    Table(Arc<Table>),
    /// Messages of a topic.
    Topic(Box<str>),
}

impl Source {
    /// The table's OID.
    pub(super) fn table(&self) -> Option<u32> {
        match self {
            Source::Table(table) => Some(table.oid),
            Source::Topic(_) => None,
        }
    }
}

/// What changes while a subscription lives: whether it still does, and how far it has come.
#[derive(Debug)]
pub(super) struct Progress {
    live: AtomicBool,
    /// The position delivered last, in two halves: both are written and read under the lock of its session's queue.
    commit_lsn: AtomicU64,
    ordinal: AtomicU32,
    /// The cursor that it resumed from, until it gets a new snapshot.
    resumed_from: Mutex<Option<Position>>,
}

impl Progress {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Progress {
            live: AtomicBool::new(true),
            commit_lsn: AtomicU64::new(0),
            ordinal: AtomicU32::new(0),
            resumed_from: Mutex::new(None),
        })
    }

    pub(super) fn resume_from(&self, position: Option<Position>) {
        *self.resumed_from.lock() = position;
    }

    /// Whether it is live by a cursor from before this position.
    pub(super) fn resumed_before(&self, position: Position) -> bool {
        self.resumed_from.lock().is_some_and(|from| from < position)
    }

    /// False from the moment that it was completed or failed.
    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Whether this is what ended it.
    pub(super) fn end(&self) -> bool {
        self.live.swap(false, Ordering::AcqRel)
    }

    pub(super) fn told(&self, position: Position) {
        self.commit_lsn.store(position.commit_lsn.0, Ordering::Relaxed);
        self.ordinal.store(position.ordinal, Ordering::Relaxed);
    }

    /// `None` when nothing was delivered yet.
    pub(super) fn last_told(&self) -> Option<Position> {
        let commit_lsn = Lsn(self.commit_lsn.load(Ordering::Relaxed));
        let position = Position { commit_lsn, ordinal: self.ordinal.load(Ordering::Relaxed) };
        (commit_lsn != Lsn::default()).then_some(position)
    }
}

/// Who makes the results.
pub(super) enum Maker {
    /// The encoder, from the event itself.
    Engine,
    /// A resolver. `leave` says whether it is called for rows that left the view.
    Resolver { lane: Arc<Lane>, leave: bool },
}

/// Where results go.
#[derive(Clone)]
pub(super) enum Sink {
    /// A client's socket.
    Session { session: Arc<SessionHandle>, operation: OperationId, head: Bytes },
    /// `next_event`.
    Pull(Arc<PullQueue>),
}

impl Sink {
    /// An operation begins, whose results may come `behind` later ones of others.
    pub(super) fn begins(&self, behind: bool) {
        match self {
            Sink::Session { session, .. } => session.begins(behind),
            Sink::Pull(_) => {}
        }
    }

    /// What waits for its reader is delivered, and none of its positions is taken for one of the history that follows.
    pub(super) fn leave_history(&self) {
        match self {
            Sink::Session { session, .. } => session.leave_history(),
            // Cursors are made when results are queued.
            Sink::Pull(_) => {}
        }
    }

    /// Where its reader connected from, if that is known.
    pub(super) fn address(&self) -> Option<&str> {
        match self {
            Sink::Session { session, .. } => session.address(),
            Sink::Pull(_) => None,
        }
    }
}

/// One live subscription. Frozen, but for its progress: a change of the table's shape makes a new one with the same id,
/// reader and progress.
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) principal: Arc<Principal>,
    pub(super) request: Arc<Request>,
    pub(super) source: Source,
    pub(super) admission: Admission,
    pub(super) plan: Arc<Plan>,
    /// Where its events wait while PostgreSQL is asked, when its policies need that.
    pub(super) policy: Option<Arc<ask::Lane>>,
    pub(super) maker: Maker,
    pub(super) sink: Sink,
    /// What becomes of its results when its client reads too slowly.
    pub(super) slow_client: SlowClient,
    /// Where its results wait for their transaction's end, if they do.
    pub(super) grouping: Option<Arc<Grouping>>,
    /// Its client keeps rows, and can get a new snapshot.
    pub(super) keeps_rows: bool,
    pub(super) progress: Arc<Progress>,
    pub(super) evictions: Evictions,
}

impl Subscription {
    pub(super) fn is_live(&self) -> bool {
        self.progress.is_live()
    }

    /// Whether no event waits anywhere.
    pub(super) fn is_idle(&self) -> bool {
        let resolver = match &self.maker {
            Maker::Engine => true,
            Maker::Resolver { lane, .. } => lane.is_idle(),
        };
        resolver && self.policy.as_ref().is_none_or(|lane| lane.is_idle())
    }

    /// No client can resume from where it stood.
    pub(super) fn forget(&self) {
        self.progress.told(Position::default());
        self.progress.resume_from(None);
        if let Some(grouping) = &self.grouping {
            grouping.forget();
        }
    }

    /// Whether its results are queued when they are made, not when the stream comes to their events.
    pub(super) fn is_told_later(&self) -> bool {
        self.policy.is_some() || self.grouping.is_some() || matches!(self.maker, Maker::Resolver { .. })
    }

    /// Whether events wait in a lane that its successor does not use.
    pub(super) fn leaves_unfinished(&self, successor: &Subscription) -> bool {
        let policy = self.policy.as_ref().is_some_and(|lane| {
            !lane.is_idle() && !successor.policy.as_ref().is_some_and(|other| Arc::ptr_eq(lane, other))
        });
        let resolver = match (&self.maker, &successor.maker) {
            (Maker::Resolver { lane, .. }, Maker::Resolver { lane: other, .. }) if Arc::ptr_eq(lane, other) => false,
            (Maker::Resolver { lane, .. }, Maker::Resolver { .. } | Maker::Engine) => !lane.is_idle(),
            (Maker::Engine, _) => false,
        };
        policy || resolver
    }

    /// Whether it can get more of what it missed: neither its reader nor its lanes are behind.
    pub(super) fn has_room(&self) -> bool {
        let lanes = self.policy.as_ref().is_none_or(|lane| lane.has_room())
            && match &self.maker {
                Maker::Engine => true,
                Maker::Resolver { lane, .. } => lane.has_room(),
            };
        lanes
            && match &self.sink {
                Sink::Session { session, .. } => session.has_room(),
                Sink::Pull(queue) => queue.has_room(),
            }
    }

    /// Queues a result, or keeps it for its transaction's end. Takes no lock but the queue's and what is before it, so it
    /// may be called under the index's and the lane's.
    pub(super) fn tell(&self, body: Body, stamp: &Stamp, transition: Transition, now: Instant) {
        match &self.grouping {
            Some(grouping) => {
                if let Some(told) = grouping.add(&self.plan, body, stamp) {
                    self.tell_transaction(told, now);
                }
            }
            None => self.send(stamp, self.row_news(stamp, transition), now, |head| Frame::next(head, &body)),
        }
    }

    /// It got all of a transaction that concerned it.
    pub(super) fn end_transaction(&self, now: Instant) {
        if let Some(told) = self.grouping.as_ref().and_then(|grouping| grouping.end(&self.plan)) {
            self.tell_transaction(told, now);
        }
    }

    fn tell_transaction(&self, told: Told, now: Instant) {
        let Told { transaction, stamp } = told;
        self.send(&stamp, None, now, |head| Frame::transaction(head, transaction));
    }

    fn send(&self, stamp: &Stamp, row: Option<RowNews>, now: Instant, frame: impl FnOnce(Bytes) -> Frame) {
        match &self.sink {
            Sink::Session { session, operation, head } => {
                session.tell(&self.progress, operation, frame(head.clone()), stamp.position, row, now);
            }
            Sink::Pull(queue) if self.is_live() => {
                if queue.push(frame(Bytes::new()).into_body(), &stamp.cursor) == Kept::Overflow {
                    self.progress.end();
                    self.evictions.send(Eviction::Forget(self.id));
                }
            }
            Sink::Pull(_) => {}
        }
    }

    fn row_news(&self, stamp: &Stamp, transition: Transition) -> Option<RowNews> {
        let key = stamp.row.as_ref().filter(|_| self.slow_client == SlowClient::Coalesce)?;
        Some(RowNews { key: key.clone(), leaves: transition == Transition::Leave })
    }

    /// Ends it with errors a moment later, from any thread and under any lock; nothing more is delivered.
    pub(super) fn fail_later(&self, failure: Failure) {
        if self.progress.end() {
            self.evictions.send(Eviction::Fail(self.id, failure));
        }
    }

    /// Sends its reader the reason for its end.
    pub(super) fn fail(&self, failure: &Failure) {
        match &self.sink {
            Sink::Session { session, operation, .. } => session.fail(operation, self.id, failure, &self.progress),
            Sink::Pull(queue) => queue.end(failure.code(), failure.to_string()),
        }
    }
}
