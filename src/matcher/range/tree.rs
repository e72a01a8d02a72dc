//! An interval tree: which intervals contain a value, in about log n plus the number of answers.
//!
//! A treap ordered by interval; every node knows how far its subtree reaches, so a search skips subtrees that end
//! before the value. Priorities come from a hash under a random key: clients choose the intervals, and with predictable
//! priorities they could choose the shape of the tree and the depth of the recursion.

use std::cmp::Ordering;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::matcher::entry::EntryId;
use crate::matcher::interval::{Interval, Upper};
use crate::matcher::set::Set;
use crate::predicate::Scalar;

#[derive(Debug, Default)]
pub(super) struct IntervalTree {
    root: Link,
    entries: usize,
    nodes_made: u64,
    priorities: RandomState,
}

type Link = Option<Box<Node>>;

#[derive(Debug)]
struct Node {
    interval: Interval,
    entries: Set<EntryId>,
    /// The greatest upper end in this subtree.
    reach: Upper,
    priority: u64,
    left: Link,
    right: Link,
}

impl IntervalTree {
    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The entry is not in the tree yet.
    pub(super) fn insert(&mut self, interval: Interval, entry: EntryId) {
        self.entries += 1;
        self.nodes_made += 1;
        let priority = self.priorities.hash_one(self.nodes_made);
        let reach = interval.upper.clone();
        let leaf = Node { interval, entries: Set::One(entry), reach, priority, left: None, right: None };
        self.root = Some(insert(self.root.take(), Box::new(leaf), entry));
    }

    /// The entry is in the tree, under this interval.
    pub(super) fn remove(&mut self, interval: &Interval, entry: EntryId) {
        self.entries -= 1;
        self.root = self.root.take().and_then(|root| remove(root, interval, entry));
    }

    /// The entries whose interval contains the value.
    pub(super) fn around(&self, value: &Scalar, into: &mut Vec<EntryId>) {
        around(self.root.as_deref(), value, into);
    }
}

fn insert(link: Link, leaf: Box<Node>, entry: EntryId) -> Box<Node> {
    let Some(mut node) = link else { return leaf };
    match leaf.interval.cmp(&node.interval) {
        Ordering::Equal => {
            node.entries.insert(entry);
            node
        }
        Ordering::Less => {
            let left = insert(node.left.take(), leaf, entry);
            if left.priority > node.priority { node.rotated_right(left) } else { node.with_left(left) }
        }
        Ordering::Greater => {
            let right = insert(node.right.take(), leaf, entry);
            if right.priority > node.priority { node.rotated_left(right) } else { node.with_right(right) }
        }
    }
}

fn remove(mut node: Box<Node>, interval: &Interval, entry: EntryId) -> Link {
    match interval.cmp(&node.interval) {
        Ordering::Equal => {
            if node.entries.remove(entry) {
                return merge(node.left.take(), node.right.take());
            }
        }
        Ordering::Less => node.left = node.left.take().and_then(|left| remove(left, interval, entry)),
        Ordering::Greater => node.right = node.right.take().and_then(|right| remove(right, interval, entry)),
    }
    node.update_reach();
    Some(node)
}

/// All of `left` is before all of `right`.
fn merge(left: Link, right: Link) -> Link {
    match (left, right) {
        (None, link) | (link, None) => link,
        (Some(mut left), Some(right)) if left.priority > right.priority => {
            left.right = merge(left.right.take(), Some(right));
            left.update_reach();
            Some(left)
        }
        (left, Some(mut right)) => {
            right.left = merge(left, right.left.take());
            right.update_reach();
            Some(right)
        }
    }
}

fn around(node: Option<&Node>, value: &Scalar, into: &mut Vec<EntryId>) {
    let Some(node) = node.filter(|node| node.reach.admits(value)) else { return };
    around(node.left.as_deref(), value, into);
    // What begins after the value is followed only by what begins later still.
    if node.interval.lower.admits(value) {
        if node.interval.upper.admits(value) {
            into.extend(node.entries.iter());
        }
        around(node.right.as_deref(), value, into);
    }
}

impl Node {
    fn with_left(mut self: Box<Self>, left: Box<Node>) -> Box<Node> {
        self.left = Some(left);
        self.update_reach();
        self
    }

    fn with_right(mut self: Box<Self>, right: Box<Node>) -> Box<Node> {
        self.right = Some(right);
        self.update_reach();
        self
    }

    /// `left`, taken from this node, goes above it.
    fn rotated_right(mut self: Box<Self>, mut left: Box<Node>) -> Box<Node> {
        self.left = left.right.take();
        self.update_reach();
        left.with_right(self)
    }

    /// `right`, taken from this node, goes above it.
    fn rotated_left(mut self: Box<Self>, mut right: Box<Node>) -> Box<Node> {
        self.right = right.left.take();
        self.update_reach();
        right.with_left(self)
    }

    fn update_reach(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|child| &child.reach);
        let reach = below.fold(&self.interval.upper, Ord::max);
        if *reach != self.reach {
            self.reach = reach.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryId, IntervalTree, Link};
    use crate::matcher::interval::Interval;
    use crate::predicate::{Comparison, Scalar};

    fn depth(link: &Link) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    fn interval(ends: &[(Comparison, i64)]) -> Interval {
        let mut interval = Interval::default();
        for (comparison, end) in ends {
            interval.narrow(*comparison, &Scalar::Int(*end));
        }
        interval
    }

    fn around(tree: &IntervalTree, value: i64) -> Vec<u32> {
        let mut found = Vec::new();
        tree.around(&Scalar::Int(value), &mut found);
        let mut found: Vec<_> = found.into_iter().map(|id| id.0).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn finds_exactly_the_intervals_around_a_value() {
        let mut tree = IntervalTree::default();
        let intervals = [
            interval(&[(Comparison::Gt, 5)]),
            interval(&[(Comparison::Gte, 5)]),
            interval(&[(Comparison::Lt, 5)]),
            interval(&[(Comparison::Lte, 5), (Comparison::Lte, 9)]),
            interval(&[(Comparison::Gt, 3), (Comparison::Lt, 7), (Comparison::Gte, 1)]),
            interval(&[(Comparison::Gt, 7), (Comparison::Lt, 3)]),
        ];
        for (id, interval) in intervals.iter().enumerate() {
            tree.insert(interval.clone(), EntryId(id as u32));
        }
        assert_eq!(around(&tree, 5), [1, 3, 4]);
        assert_eq!(around(&tree, 3), [2, 3]);
        assert_eq!(around(&tree, 8), [0, 1]);
        for (id, interval) in intervals.iter().enumerate() {
            tree.remove(interval, EntryId(id as u32));
        }
        assert!(tree.len() == 0 && tree.root.is_none());
    }

    #[test]
    fn ordered_insertion_does_not_make_a_deep_tree() {
        let mut tree = IntervalTree::default();
        for end in 0..20_000 {
            tree.insert(interval(&[(Comparison::Gt, end.into())]), EntryId(end));
        }
        assert!(depth(&tree.root) < 100);
        assert_eq!(around(&tree, 3), [0, 1, 2]);
        for end in 0..20_000 {
            tree.remove(&interval(&[(Comparison::Gt, end.into())]), EntryId(end));
        }
        assert!(tree.root.is_none());
    }
}
