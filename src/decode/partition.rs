//! Which partitions of a table send key-only old images under their root's name.
//!
//! With `publish_via_partition_root` a row carries its root's OID and is marked by the *root's* replica identity, while
//! its old image was logged by the *partition's*, which a partition does not inherit. If the root has identity FULL and
//! the partition does not, the server sends an image that is marked whole but has NULL in all columns except the key:
//! these NULLs are not values of the row. The server describes a partition right after its root and right before its
//! first row, so three messages in a row show which partition belongs to which root:
//!
//! ```text
//!  Idle ──Relation root──▶ Described(root) ──Relation leaf──▶ Paired(root, leaf) ──row of root──▶ learned, Idle
//! ```
//! Type messages may stand anywhere between; any other message (a TRUNCATE describes several tables in a row) means
//! that the descriptions were not a pair.

use rustc_hash::{FxHashMap, FxHashSet};

/// Learns from the order of messages which roots have partitions with key-only images.
#[derive(Default)]
pub(super) struct Partitions {
    step: Step,
    /// For each root its partitions whose identity is not FULL.
    keyed: FxHashMap<u32, FxHashSet<u32>>,
}

#[derive(Clone, Copy, Default)]
enum Step {
    /// The last message was not a description.
    #[default]
    Idle,
    /// The last message described this table.
    Described(u32),
    /// The last two messages described a table and another one of the same columns.
    Paired { root: u32, leaf: u32, full: bool },
}

impl Partitions {
    /// A Relation message came: of the table `oid`, whose own identity is FULL or not. `resembles` says whether another
    /// table has the same columns.
    pub(super) fn described(&mut self, oid: u32, full: bool, resembles: impl FnOnce(u32) -> bool) {
        self.step = match self.step {
            Step::Described(root) if root != oid && resembles(root) => Step::Paired { root, leaf: oid, full },
            _ => Step::Described(oid),
        };
    }

    /// A row came under the name of `relation`. Returns whether an old image marked whole is whole.
    pub(super) fn row(&mut self, relation: u32) -> bool {
        if let Step::Paired { root, leaf, full } = std::mem::take(&mut self.step)
            && root == relation
        {
            self.learn(root, leaf, full);
        }
        self.keyed.is_empty() || !self.keyed.contains_key(&relation)
    }

    /// Any other message but Type came.
    pub(super) fn interrupted(&mut self) {
        self.step = Step::Idle;
    }

    fn learn(&mut self, root: u32, leaf: u32, full: bool) {
        let leaves = self.keyed.entry(root).or_default();
        if full {
            leaves.remove(&leaf);
        } else {
            leaves.insert(leaf);
        }
        if leaves.is_empty() {
            self.keyed.remove(&root);
        }
    }
}
