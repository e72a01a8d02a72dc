//! What one commit changed, in one message, for fields with `transactions=True`.
//!
//! The input is a subscription's results, in commit order, and the end of each transaction, which takes the way of its
//! events: through the lane of delegated policies, then through its resolver's. The output is one part that begins and
//! ends, or several within bounds for a large transaction; the last says that it is the last. Nothing is delivered
//! twice, and no part holds changes of two commits.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::index::Index;
use super::subscription::{Stamp, Subscription};
use crate::graphql::Plan;
use crate::model::{Event, Lsn, Position, SubscriptionId};
use crate::payload::{Body, Part, Transaction};

/// A part is delivered when it has so many changes, or bytes: then a frame's overhead does not matter.
const CHANGES_MAX: usize = 1024;
const BYTES_MAX: usize = 256 * 1024;

/// Changes that one subscription has not got yet. It outlives changes of the table's shape.
#[derive(Debug)]
pub(crate) struct Grouping(Mutex<Group>);

#[derive(Debug, Default)]
struct Group {
    changes: Vec<Body>,
    bytes: usize,
    /// That of the last change.
    stamp: Option<Stamp>,
    /// The one whose first part was delivered.
    begun: Whole,
}

/// What belongs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Whole {
    /// Nothing was delivered yet.
    #[default]
    Nothing,
    /// The rows of a snapshot, the events that came while it was sent, and the mark of its end.
    Snapshot,
    /// What one commit changed.
    Commit(Lsn),
}

impl Whole {
    fn of(stamp: &Stamp) -> Self {
        stamp.position.map_or(Whole::Snapshot, |position| Whole::Commit(position.commit_lsn))
    }
}

/// A part to deliver.
pub(crate) struct Told {
    pub(crate) transaction: Transaction,
    pub(crate) stamp: Stamp,
}

impl Grouping {
    /// `after` is where its client left off: the rest of that transaction does not begin it.
    pub(crate) fn new(after: Option<Position>) -> Arc<Self> {
        let begun = after.map_or(Whole::Nothing, |after| Whole::Commit(after.commit_lsn));
        Arc::new(Grouping(Mutex::new(Group { begun, ..Group::default() })))
    }

    /// The transaction that was begun does not continue.
    pub(crate) fn forget(&self) {
        *self.0.lock() = Group::default();
    }

    /// Puts a change to the others; a part when there are enough.
    pub(crate) fn add(&self, plan: &Plan, body: Body, stamp: &Stamp) -> Option<Told> {
        let mut group = self.0.lock();
        group.bytes += body.len();
        group.changes.push(body);
        group.stamp = Some(stamp.clone());
        let is_full = group.changes.len() >= CHANGES_MAX || group.bytes >= BYTES_MAX;
        if is_full { group.take(plan, false) } else { None }
    }

    /// The last part; `None` when the subscription got nothing of the transaction and gets nothing.
    pub(crate) fn end(&self, plan: &Plan) -> Option<Told> {
        self.0.lock().take(plan, true)
    }
}

impl Group {
    fn take(&mut self, plan: &Plan, end: bool) -> Option<Told> {
        let stamp = if end { self.stamp.take() } else { self.stamp.clone() }?;
        let whole = Whole::of(&stamp);
        let begin = self.begun != Whole::Snapshot && self.begun != whole;
        if begin || end {
            self.begun = whole;
        }
        let part = Part { begin, end, cursor: &stamp.cursor, committed_at: stamp.committed_at };
        let transaction = Transaction::new(plan, plan.transaction.as_ref()?, &self.changes, &part);
        (self.changes, self.bytes) = (Vec::new(), 0);
        Some(Told { transaction, stamp })
    }
}

/// Subscriptions that get, or got, an event of a transaction that is not over.
#[derive(Default)]
pub(crate) struct Transactions(Mutex<Open>);

#[derive(Default)]
struct Open {
    /// The one that the stream is in.
    current: Option<Lsn>,
    /// With the last event of theirs.
    concerned: FxHashMap<SubscriptionId, Concerned>,
}

pub(crate) struct Concerned {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) event: Arc<Event>,
    pub(crate) stamp: Stamp,
}

impl Transactions {
    /// The stream is in a transaction that commits here.
    pub(crate) fn begin(&self, commit_lsn: Lsn) {
        self.0.lock().current = Some(commit_lsn);
    }

    /// An event is on its way to a subscription that groups.
    pub(crate) fn concern(&self, subscription: &Arc<Subscription>, event: &Arc<Event>, stamp: &Stamp) {
        let (subscription, event, stamp) = (Arc::clone(subscription), Arc::clone(event), stamp.clone());
        self.0.lock().concerned.insert(subscription.id, Concerned { subscription, event, stamp });
    }

    /// Its transaction will never be over.
    pub(crate) fn forget(&self, id: SubscriptionId) {
        self.0.lock().concerned.remove(&id);
    }

    /// All but those that catch up: their transactions end in their own time.
    pub(crate) fn over(&self, index: &Index) -> Vec<Concerned> {
        let mut open = self.0.lock();
        open.current = None;
        let over: Vec<_> = open.concerned.keys().copied().filter(|id| !index.is_held(*id)).collect();
        over.iter().filter_map(|id| open.concerned.remove(id)).collect()
    }

    /// This one, unless its transaction is `next`, or the stream is still in it.
    pub(crate) fn over_for(&self, id: SubscriptionId, next: Option<Lsn>) -> Option<Concerned> {
        let mut open = self.0.lock();
        let position = open.concerned.get(&id)?.stamp.position;
        let goes_on = position.is_some_and(|position| next.or(open.current) == Some(position.commit_lsn));
        if goes_on { None } else { open.concerned.remove(&id) }
    }
}
