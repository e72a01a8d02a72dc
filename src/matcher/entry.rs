//! Entries: one for each distinct (table, condition, operations), with all subscriptions that share it.

use std::sync::Arc;

use super::OperationSet;
use super::access::Place;
use super::set::Set;
use crate::model::{SubscriptionId, Table};
use crate::predicate::Predicate;

/// An entry's number. Reused after the entry is gone, so indexes must forget it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct EntryId(pub(super) u32);

#[derive(Debug)]
pub(super) struct Entry {
    /// The very `Arc` of its table's index.
    pub(super) table: Arc<Table>,
    pub(super) predicate: Arc<Predicate>,
    pub(super) operations: OperationSet,
    pub(super) place: Place,
    pub(super) subscribers: Set<SubscriptionId>,
}

/// All entries by number.
#[derive(Debug, Default)]
pub(super) struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<EntryId>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Entry> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The number that the next `add` gives, for the indexes, which must know it before the entry knows its place.
    pub(super) fn next(&self) -> EntryId {
        self.free.last().copied().unwrap_or(EntryId(self.slots.len() as u32))
    }

    pub(super) fn add(&mut self, entry: Entry) -> EntryId {
        let id = self.next();
        if self.free.pop().is_some() {
            self.slots[id.0 as usize] = Some(entry);
        } else {
            self.slots.push(Some(entry));
        }
        id
    }

    pub(super) fn subscribe(&mut self, id: EntryId, subscription: SubscriptionId) {
        if let Some(Some(entry)) = self.slots.get_mut(id.0 as usize) {
            entry.subscribers.insert(subscription);
        }
    }

    /// Gives the entry back when that was its last subscription.
    pub(super) fn unsubscribe(&mut self, id: EntryId, subscription: SubscriptionId) -> Option<Entry> {
        let slot = self.slots.get_mut(id.0 as usize)?;
        let unused = slot.as_mut()?.subscribers.remove(subscription);
        if !unused {
            return None;
        }
        self.free.push(id);
        slot.take()
    }
}
