//! Entries without a key, in a list. Evaluating one costs the same for every change of the table, so it is counted.

use std::collections::BTreeSet;

use super::entry::EntryId;

#[derive(Debug, Default)]
pub(super) struct ResidualList(BTreeSet<EntryId>);

impl ResidualList {
    pub(super) fn insert(&mut self, entry: EntryId) {
        self.0.insert(entry);
    }

    pub(super) fn remove(&mut self, entry: EntryId) {
        self.0.remove(&entry);
    }

    pub(super) fn candidates(&self, into: &mut Vec<EntryId>) {
        into.extend(&self.0);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
