//! Equality and membership. Key: a set of columns, then the hash of a row's values in them, in column order.
//!
//! Different values may meet under one hash; candidates are evaluated anyway. The hash is `SipHash` under a random key,
//! although `FxHash` is some 20 ns faster: the values are chosen by clients, and with a hash that can be computed one
//! tenant could fill another tenant's bucket.

use std::collections::hash_map::{Entry as Slot, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};

use rustc_hash::FxHashMap;

use super::access::Pinned;
use super::entry::EntryId;
use super::set::Set;
use crate::predicate::RowImage;

/// Every change probes every column set once. Clients choose the sets, so those of several columns are limited; beyond
/// the limit an entry stands under its most telling column alone, of which there are only as many as the table has.
const COMPOSITES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct EqualityIndex {
    shapes: Vec<Shape>,
    hasher: RandomState,
}

/// The entries that pin one set of columns.
#[derive(Debug)]
struct Shape {
    columns: Box<[u16]>,
    buckets: FxHashMap<u64, Set<EntryId>>,
    entries: usize,
}

impl EqualityIndex {
    /// Puts the entry under its key and returns how many of the columns the key has.
    pub(super) fn insert(&mut self, entry: EntryId, pinned: &[Pinned<'_>]) -> usize {
        let used = if self.has_room(pinned) { pinned.len() } else { 1 };
        let keys = self.keys(&pinned[..used]);
        let shape = self.shape(&pinned[..used]);
        shape.entries += 1;
        for key in keys {
            match shape.buckets.entry(key) {
                Slot::Occupied(mut bucket) => bucket.get_mut().insert(entry),
                Slot::Vacant(bucket) => {
                    bucket.insert(Set::One(entry));
                }
            }
        }
        used
    }

    /// Takes the entry out from under the same columns; empty buckets and sets of columns go with it.
    pub(super) fn remove(&mut self, entry: EntryId, pinned: &[Pinned<'_>]) {
        let keys = self.keys(pinned);
        let Some(at) = self.position(&columns(pinned)) else { return };
        let shape = &mut self.shapes[at];
        shape.entries -= 1;
        for key in keys {
            if shape.buckets.get_mut(&key).is_some_and(|bucket| bucket.remove(entry)) {
                shape.buckets.remove(&key);
            }
        }
        if shape.entries == 0 {
            self.shapes.swap_remove(at);
        }
    }

    pub(super) fn candidates(&self, row: &RowImage<'_>, into: &mut Vec<EntryId>) {
        for shape in &self.shapes {
            let bucket = self.key_of(&shape.columns, row).and_then(|key| shape.buckets.get(&key));
            into.extend(bucket.into_iter().flat_map(Set::iter));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shapes.iter().map(|shape| shape.entries).sum()
    }

    /// Lookups that each image costs.
    pub(super) fn probes(&self) -> usize {
        self.shapes.len()
    }

    /// A row with NULL or nothing in one of the columns equals no key.
    fn key_of(&self, columns: &[u16], row: &RowImage<'_>) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        for column in columns {
            row.scalar(*column)?.hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    /// All combinations of the values, each once.
    fn keys(&self, pinned: &[Pinned<'_>]) -> Vec<u64> {
        let mut pinned = pinned.to_vec();
        pinned.sort_by_key(|pin| pin.column);
        let mut hashers = vec![self.hasher.build_hasher()];
        for pin in pinned {
            let extend = |hasher: &<RandomState as BuildHasher>::Hasher, value| {
                let mut hasher = hasher.clone();
                Hash::hash(value, &mut hasher);
                hasher
            };
            hashers = hashers.iter().flat_map(|hasher| pin.values.iter().map(|value| extend(hasher, value))).collect();
        }
        let mut keys: Vec<_> = hashers.iter().map(Hasher::finish).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn has_room(&self, pinned: &[Pinned<'_>]) -> bool {
        let composites = self.shapes.iter().filter(|shape| shape.columns.len() > 1).count();
        composites < COMPOSITES_MAX || self.position(&columns(pinned)).is_some()
    }

    fn shape(&mut self, pinned: &[Pinned<'_>]) -> &mut Shape {
        let columns = columns(pinned);
        let at = self.position(&columns).unwrap_or_else(|| {
            self.shapes.push(Shape { columns, buckets: FxHashMap::default(), entries: 0 });
            self.shapes.len() - 1
        });
        &mut self.shapes[at]
    }

    fn position(&self, columns: &[u16]) -> Option<usize> {
        self.shapes.iter().position(|shape| *shape.columns == *columns)
    }
}

fn columns(pinned: &[Pinned<'_>]) -> Box<[u16]> {
    let mut columns: Box<[u16]> = pinned.iter().map(|pin| pin.column).collect();
    columns.sort_unstable();
    columns
}
