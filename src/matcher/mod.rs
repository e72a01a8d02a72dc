//! Matches row changes to subscriptions: for each match, the row enters the subscription's view, stays, or leaves.
//!
//! - A change matches exactly the subscriptions whose condition holds.
//! - The cost follows the number of matches, not the number of subscriptions.
//! - An index only proposes candidates; the condition of each is evaluated before it matches.
//! - A condition that a partial image cannot decide does not match ([`transition()`]).
//!
//! ```text
//! table ─▶ entries (equal condition and operations: one entry, many subscriptions)
//!            ├ equality   a hash map for each set of columns that some condition pins to values
//!            ├ range      an interval tree for each column that some condition only bounds
//!            ├ always     no condition at all
//!            ├ residual   everything else: evaluated for every change, so it is counted
//!            └ (never)    cannot hold for any row: kept, never looked at
//! ```
//!
//! One owner inserts and removes; a search takes `&self` and a [`Scratch`]. The index uses no locks.

mod access;
mod entry;
mod equality;
mod interval;
mod operations;
mod range;
mod residual;
mod set;
mod table_index;
mod transition;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use operations::OperationSet;
pub use transition::transition;

use crate::model::{Operation, RowChange, SubscriptionId, Table, Transition};
use crate::predicate::{Predicate, RowImage, Truth};
use entry::{Entries, Entry, EntryId};
use set::Set;
use table_index::TableIndex;

/// The index of all conditions.
#[derive(Debug, Default)]
pub struct Matcher {
    /// By table OID; more than one only while subscriptions for an older shape of the table are being replaced.
    tables: FxHashMap<u32, Vec<TableIndex>>,
    entries: Entries,
    subscriptions: FxHashMap<SubscriptionId, EntryId>,
}

/// What one change means to one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The subscription.
    pub id: SubscriptionId,
    /// What the change means to its view.
    pub transition: Transition,
    /// Whether the row was in view; `Unavailable` also without an old image.
    pub old: Truth,
    /// Whether it is in view now.
    pub new: Truth,
}

/// Memory of a search, kept by the caller and reused.
#[derive(Debug, Default)]
pub struct Scratch {
    candidates: Vec<EntryId>,
    matches: Vec<Match>,
}

/// How conditions are found; `residual` is what every change of its table pays for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Subscriptions.
    pub subscriptions: usize,
    /// Distinct conditions (per table, with their operations).
    pub entries: usize,
    /// Entries found by equality and membership.
    pub equality: usize,
    /// Entries found by an interval of one column.
    pub range: usize,
    /// Entries without a condition.
    pub always: usize,
    /// Entries that are evaluated for every change.
    pub residual: usize,
    /// Entries that hold for no row.
    pub never: usize,
    /// Hash lookups and tree searches that a change of the worst table costs before any candidate is seen.
    pub probes: usize,
}

impl Matcher {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a subscription; one that is there already is replaced. Returns the condition that it now shares with
    /// equal ones: keep that and drop your own.
    ///
    /// The condition speaks of columns of this shape of the table. Changes that come with another shape do not match
    /// it: after a schema change the caller compiles and inserts again.
    pub fn insert(
        &mut self,
        id: SubscriptionId,
        table: &Arc<Table>,
        predicate: &Arc<Predicate>,
        operations: OperationSet,
    ) -> Arc<Predicate> {
        self.remove(id);
        let shapes = self.tables.entry(table.oid).or_default();
        let at = shapes.iter().position(|index| index.is_for(table)).unwrap_or_else(|| {
            shapes.push(TableIndex::new(table));
            shapes.len() - 1
        });
        let index = &mut shapes[at];
        let entry = match index.find(predicate, operations) {
            Some(entry) => {
                self.entries.subscribe(entry, id);
                entry
            }
            None => self.entries.add(Entry {
                table: Arc::clone(index.table()),
                predicate: Arc::clone(predicate),
                operations,
                place: index.insert(self.entries.next(), predicate, operations),
                subscribers: Set::One(id),
            }),
        };
        self.subscriptions.insert(id, entry);
        self.entries.get(entry).map_or_else(|| Arc::clone(predicate), |entry| Arc::clone(&entry.predicate))
    }

    /// Forgets a subscription; `false` when it was not there.
    pub fn remove(&mut self, id: SubscriptionId) -> bool {
        let Some(entry) = self.subscriptions.remove(&id) else { return false };
        if let Some(unused) = self.entries.unsubscribe(entry, id)
            && let Some(shapes) = self.tables.get_mut(&unused.table.oid)
        {
            shapes
                .iter_mut()
                .filter(|index| index.is_for(&unused.table))
                .for_each(|index| index.remove(entry, &unused));
            shapes.retain(|index| !index.is_empty());
            if shapes.is_empty() {
                self.tables.remove(&unused.table.oid);
            }
        }
        true
    }

    /// The subscriptions that the change concerns, each once, in no particular order.
    pub fn matches<'s>(&self, change: &RowChange, scratch: &'s mut Scratch) -> &'s [Match] {
        scratch.candidates.clear();
        scratch.matches.clear();
        if let Some(index) = self.index_for(&change.table) {
            let image = |tuple| RowImage::new(&change.table, tuple);
            let (old, new) = (change.old.as_ref().map(image), change.new.as_ref().map(image));
            index.propose(old.as_ref(), new.as_ref(), &mut scratch.candidates);
            self.decide(change.operation, old.as_ref(), new.as_ref(), scratch);
        }
        &scratch.matches
    }

    /// Evaluates each candidate once per image. A missing image decides nothing.
    fn decide(
        &self,
        operation: Operation,
        old: Option<&RowImage<'_>>,
        new: Option<&RowImage<'_>>,
        scratch: &mut Scratch,
    ) {
        let candidates = scratch.candidates.iter().filter_map(|id| self.entries.get(*id));
        for entry in candidates.filter(|entry| entry.operations.contains(operation)) {
            let truth =
                |image: Option<&RowImage<'_>>| image.map_or(Truth::Unavailable, |image| entry.predicate.eval(image));
            let (old, new) = (truth(old), truth(new));
            if let Some(transition) = transition(operation, old, new) {
                scratch.matches.extend(entry.subscribers.iter().map(|id| Match { id, transition, old, new }));
            }
        }
    }

    /// The same shape, not merely the same table: column indexes of another shape would read other columns.
    fn index_for(&self, table: &Arc<Table>) -> Option<&TableIndex> {
        self.tables.get(&table.oid)?.iter().find(|index| index.is_for(table))
    }

    /// How the conditions are found.
    pub fn stats(&self) -> Stats {
        let mut stats =
            Stats { subscriptions: self.subscriptions.len(), entries: self.entries.len(), ..Stats::default() };
        self.tables.values().flatten().for_each(|index| index.count(&mut stats));
        stats
    }
}
