//! One live subscription: what it wants, what it may see, and where its results go.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::policies::PolicyLane;
use super::resolvers::ResolverLane;
use super::transaction::{Grouping, Told};
use crate::config::SlowClient;
use crate::engine::outbound::{Eviction, Evictions, Kept, Mailbox, Progress, PullQueue};
use crate::failure::Failure;
use crate::graphql::{Plan, Request};
use crate::model::{OperationId, Position, Principal, RowKey, SubscriptionId, Table, Timestamp, Transition};
use crate::payload::{Body, Frame};
use crate::security::Admission;
use crate::session::RowNews;

/// Where its client may resume once it has an event, as a position and as the text that clients are given, and the row
/// that it is about.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) position: Option<Position>,
    /// Empty without a position.
    pub(crate) cursor: Arc<str>,
    /// `None` when it is not about one row, or when no session coalesces results.
    pub(crate) row: Option<RowKey>,
    pub(crate) committed_at: Timestamp,
}

impl Stamp {
    /// The stamp of events inside a snapshot: a client that loses the rest begins again.
    pub(crate) fn nowhere(committed_at: Timestamp) -> Self {
        Stamp { position: None, cursor: "".into(), row: None, committed_at }
    }
}

/// What its results are made from.
pub(crate) enum Source {
    /// Rows of a table, in the shape that the subscription was compiled for.
    Table(Arc<Table>),
    /// Messages of a topic.
    Topic(Box<str>),
}

impl Source {
    /// The table's OID.
    pub(crate) fn table(&self) -> Option<u32> {
        match self {
            Source::Table(table) => Some(table.oid),
            Source::Topic(_) => None,
        }
    }
}

/// What makes the results.
pub(crate) enum Maker {
    /// The encoder, from the event itself.
    Engine,
    /// A resolver. `leave` says whether it is called for rows that left the view.
    Resolver { lane: Arc<ResolverLane>, leave: bool },
}

/// Where results go.
#[derive(Clone)]
pub(crate) enum Sink {
    /// A client's session.
    Session { mailbox: Arc<Mailbox>, operation: OperationId, head: Bytes },
    /// `next_event`.
    Pull(Arc<PullQueue>),
}

impl Sink {
    /// An operation begins, whose results may come `behind` later ones of others.
    pub(crate) fn begins(&self, behind: bool) {
        match self {
            Sink::Session { mailbox, .. } => mailbox.begins(behind),
            Sink::Pull(_) => {}
        }
    }

    /// What waits for its reader is delivered, and none of its positions is taken for one of the history that follows.
    pub(crate) fn leave_history(&self) {
        match self {
            Sink::Session { mailbox, .. } => mailbox.leave_history(),
            // Cursors are made when results are queued.
            Sink::Pull(_) => {}
        }
    }
}

/// One live subscription. Frozen, but for its progress: a change of the table's shape makes a new one with the same id,
/// reader and progress.
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    pub(crate) principal: Arc<Principal>,
    pub(crate) request: Arc<Request>,
    pub(crate) source: Source,
    pub(crate) admission: Admission,
    pub(crate) plan: Arc<Plan>,
    /// Where its events wait while PostgreSQL is asked, when its policies need that.
    pub(crate) policy: Option<Arc<PolicyLane>>,
    pub(crate) maker: Maker,
    pub(crate) sink: Sink,
    /// What becomes of its results when its client reads too slowly.
    pub(crate) slow_client: SlowClient,
    /// Where its results wait for their transaction's end, if they do.
    pub(crate) grouping: Option<Arc<Grouping>>,
    /// Its client keeps rows, and can get a new snapshot.
    pub(crate) keeps_rows: bool,
    pub(crate) progress: Arc<Progress>,
    pub(crate) evictions: Evictions,
}

impl Subscription {
    pub(crate) fn is_live(&self) -> bool {
        self.progress.is_live()
    }

    /// Whether no event waits anywhere.
    pub(crate) fn is_idle(&self) -> bool {
        let resolver = match &self.maker {
            Maker::Engine => true,
            Maker::Resolver { lane, .. } => lane.is_idle(),
        };
        resolver && self.policy.as_ref().is_none_or(|lane| lane.is_idle())
    }

    /// No client can resume from where it stood.
    pub(crate) fn forget(&self) {
        self.progress.told(Position::default());
        self.progress.resume_from(None);
        if let Some(grouping) = &self.grouping {
            grouping.forget();
        }
    }

    /// Whether its results are queued when they are made, not when the stream comes to their events.
    pub(crate) fn is_told_later(&self) -> bool {
        self.policy.is_some() || self.grouping.is_some() || matches!(self.maker, Maker::Resolver { .. })
    }

    /// Whether events wait in a lane that its successor does not use.
    pub(crate) fn leaves_unfinished(&self, successor: &Subscription) -> bool {
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
    pub(crate) fn has_room(&self) -> bool {
        let lanes = self.policy.as_ref().is_none_or(|lane| lane.has_room())
            && match &self.maker {
                Maker::Engine => true,
                Maker::Resolver { lane, .. } => lane.has_room(),
            };
        lanes
            && match &self.sink {
                Sink::Session { mailbox, .. } => mailbox.has_room(),
                Sink::Pull(queue) => queue.has_room(),
            }
    }

    /// Queues a result, or keeps it for its transaction's end. Takes no lock but the queue's and what is before it, so
    /// it may be called under the index's and the lane's.
    pub(crate) fn tell(&self, body: Body, stamp: &Stamp, transition: Transition, now: Instant) {
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
    pub(crate) fn end_transaction(&self, now: Instant) {
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
            Sink::Session { mailbox, operation, head } => {
                mailbox.deliver(&self.progress, operation, frame(head.clone()), stamp.position, row, now);
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
    pub(crate) fn fail_later(&self, failure: Failure) {
        if self.progress.end() {
            self.evictions.send(Eviction::Fail(self.id, failure));
        }
    }
}
