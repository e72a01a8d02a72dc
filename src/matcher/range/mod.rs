//! Ranges. Key: a column, then the interval that the condition leaves it (`gt`, `gte`, `lt`, `lte` and their AND).

mod tree;

use rustc_hash::FxHashMap;

use super::entry::EntryId;
use super::interval::Interval;
use crate::predicate::RowImage;
use tree::IntervalTree;

#[derive(Debug, Default)]
pub(super) struct RangeIndex {
    columns: FxHashMap<u16, IntervalTree>,
}

impl RangeIndex {
    pub(super) fn insert(&mut self, entry: EntryId, column: u16, interval: Interval) {
        self.columns.entry(column).or_default().insert(interval, entry);
    }

    /// A column's tree goes with its last entry.
    pub(super) fn remove(&mut self, entry: EntryId, column: u16, interval: &Interval) {
        if let Some(tree) = self.columns.get_mut(&column) {
            tree.remove(interval, entry);
            if tree.len() == 0 {
                self.columns.remove(&column);
            }
        }
    }

    pub(super) fn candidates(&self, row: &RowImage<'_>, into: &mut Vec<EntryId>) {
        for (column, tree) in &self.columns {
            if let Some(value) = row.scalar(*column) {
                tree.around(value, into);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.values().map(IntervalTree::len).sum()
    }

    /// Searches that each image costs.
    pub(super) fn probes(&self) -> usize {
        self.columns.len()
    }
}
