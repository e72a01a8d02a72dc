//! One live subscription: what it wants, what it may see, and where its results go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::evict::{Eviction, Evictions};
use super::failure::Failure;
use super::pull::{Kept, PullQueue};
use super::resolve::Lane;
use super::session::SessionHandle;
use crate::graphql::{Plan, Request};
use crate::matcher::OperationSet;
use crate::model::{OperationId, Position, Principal, SubscriptionId, Table};
use crate::payload::Frame;
use crate::predicate::Predicate;
use crate::security::Admission;

/// Where an event stands, as a position and as the text that clients are given.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) position: Position,
    pub(super) cursor: Arc<str>,
}

/// What its results are made from.
pub(super) enum Source {
    /// Rows of a table that satisfy a predicate.
    Table { table: Arc<Table>, predicate: Arc<Predicate>, operations: OperationSet },
    /// Messages of a topic.
    Topic(Box<str>),
}

/// Who makes the results.
pub(super) enum Maker {
    /// The encoder, from the event itself.
    Engine,
    /// A resolver. `leave` says whether it is called for rows that left the view.
    Resolver { lane: Arc<Lane>, leave: bool },
}

/// Where results go.
pub(super) enum Sink {
    /// A client's socket.
    Session { session: Arc<SessionHandle>, operation: OperationId, head: Bytes },
    /// `next_event`.
    Pull(Arc<PullQueue>),
}

/// One live subscription. Frozen, but for whether it is live: a change of the table's shape makes a new one with the
/// same id.
pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    pub(super) principal: Arc<Principal>,
    pub(super) request: Arc<Request>,
    pub(super) source: Source,
    pub(super) admission: Admission,
    pub(super) plan: Arc<Plan>,
    pub(super) maker: Maker,
    pub(super) sink: Arc<Sink>,
    pub(super) live: Arc<AtomicBool>,
    pub(super) evictions: Evictions,
}

impl Subscription {
    /// False from the moment that it was completed or failed.
    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Queues a result. Takes no lock but the queue's, so it may be called under the index's and the lane's.
    pub(super) fn tell(&self, body: Bytes, stamp: &Stamp) {
        match &*self.sink {
            Sink::Session { session, operation, head } => {
                session.tell(&self.live, operation, Frame::next(head.clone(), body), stamp);
            }
            Sink::Pull(queue) => {
                if queue.push(body, &stamp.cursor) == Kept::Overflow {
                    self.live.store(false, Ordering::Release);
                    self.evictions.send(Eviction::Forget(self.id));
                }
            }
        }
    }

    /// Ends it with errors a moment later, from any thread and under any lock; nothing is told any more.
    pub(super) fn fail_later(&self, failure: Failure) {
        if self.live.swap(false, Ordering::AcqRel) {
            self.evictions.send(Eviction::Fail(self.id, failure));
        }
    }

    /// Tells its reader why it ended.
    pub(super) fn fail(&self, failure: &Failure) {
        match &*self.sink {
            Sink::Session { session, operation, .. } => session.fail(operation, failure),
            Sink::Pull(queue) => queue.end(failure.code(), failure.to_string()),
        }
    }
}
