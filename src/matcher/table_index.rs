//! All conditions on one shape of one table: interned, and each placed where it is found cheapest.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::{Access, Place};
use super::entry::{Entry, EntryId};
use super::equality::EqualityIndex;
use super::range::RangeIndex;
use super::residual::ResidualList;
use super::{OperationSet, Stats};
use crate::model::Table;
use crate::predicate::{Predicate, RowImage};

#[derive(Debug)]
pub(super) struct TableIndex {
    table: Arc<Table>,
    /// Hashed under a random key, as clients choose the conditions.
    interned: HashMap<(Arc<Predicate>, OperationSet), EntryId>,
    equality: EqualityIndex,
    range: RangeIndex,
    always: ResidualList,
    residual: ResidualList,
}

impl TableIndex {
    pub(super) fn new(table: &Arc<Table>) -> Self {
        TableIndex {
            table: Arc::clone(table),
            interned: HashMap::default(),
            equality: EqualityIndex::default(),
            range: RangeIndex::default(),
            always: ResidualList::default(),
            residual: ResidualList::default(),
        }
    }

    /// Whether it is the same table in the same shape; the same `Arc` in all but the moments around a reload.
    pub(super) fn is_for(&self, table: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.table, table) || self.table == *table
    }

    pub(super) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    pub(super) fn is_empty(&self) -> bool {
        self.interned.is_empty()
    }

    pub(super) fn find(&self, predicate: &Arc<Predicate>, operations: OperationSet) -> Option<EntryId> {
        self.interned.get(&(Arc::clone(predicate), operations)).copied()
    }

    /// A condition that `find` did not find.
    pub(super) fn insert(&mut self, id: EntryId, predicate: &Arc<Predicate>, operations: OperationSet) -> Place {
        self.interned.insert((Arc::clone(predicate), operations), id);
        match Access::of(&self.table, predicate) {
            Access::Never => Place::Never,
            Access::Always => {
                self.always.insert(id);
                Place::Always
            }
            Access::Equality(pinned) => Place::Equality { columns: self.equality.insert(id, &pinned) as u8 },
            Access::Range { column, interval } => {
                self.range.insert(id, column, interval);
                Place::Range
            }
            Access::Residual => {
                self.residual.insert(id);
                Place::Residual
            }
        }
    }

    /// The entry's last subscription is gone.
    pub(super) fn remove(&mut self, id: EntryId, entry: &Entry) {
        self.interned.remove(&(Arc::clone(&entry.predicate), entry.operations));
        match (entry.place, Access::of(&self.table, &entry.predicate)) {
            (Place::Equality { columns }, Access::Equality(pinned)) => {
                self.equality.remove(id, &pinned[..usize::from(columns)]);
            }
            (Place::Range, Access::Range { column, interval }) => self.range.remove(id, column, &interval),
            (Place::Always, _) => self.always.remove(id),
            (Place::Residual, _) => self.residual.remove(id),
            (Place::Never | Place::Equality { .. } | Place::Range, _) => {}
        }
    }

    /// Everything that might hold for one of the images, each entry once.
    pub(super) fn propose(&self, old: Option<&RowImage<'_>>, new: Option<&RowImage<'_>>, into: &mut Vec<EntryId>) {
        for image in [old, new].into_iter().flatten() {
            self.equality.candidates(image, into);
            self.range.candidates(image, into);
        }
        if old.is_some() && new.is_some() {
            into.sort_unstable();
            into.dedup();
        }
        self.residual.candidates(into);
        self.always.candidates(into);
    }

    pub(super) fn count(&self, stats: &mut Stats) {
        let placed = [self.equality.len(), self.range.len(), self.always.len(), self.residual.len()];
        stats.equality += placed[0];
        stats.range += placed[1];
        stats.always += placed[2];
        stats.residual += placed[3];
        stats.never += self.interned.len() - placed.iter().sum::<usize>();
        stats.probes = stats.probes.max(self.equality.probes() + self.range.probes());
    }
}
