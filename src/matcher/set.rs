//! A set that is mostly of one or two: a million of them must stay small, and one of a million must stay fast.

use std::collections::BTreeSet;

/// Up to here a sorted slice that is copied when it changes; a tree's first node alone has room for 11.
const FEW_MAX: usize = 8;

/// Never empty: the last value is not removed, its set is. 24 bytes, so the tree is boxed.
#[derive(Debug)]
pub(super) enum Set<T> {
    One(T),
    Few(Box<[T]>),
    #[allow(clippy::box_collection)]
    Many(Box<BTreeSet<T>>),
}

impl<T: Copy + Ord> Set<T> {
    pub(super) fn insert(&mut self, value: T) {
        if let Set::Many(many) = self {
            many.insert(value);
        } else if !self.as_slice().contains(&value) {
            *self = Set::of(self.iter().chain([value]).collect());
        }
    }

    /// Takes the value out; `true` when nothing is left and the set itself must go.
    #[must_use]
    pub(super) fn remove(&mut self, value: T) -> bool {
        if let Set::Many(many) = self {
            many.remove(&value);
            if many.len() <= FEW_MAX / 2 {
                *self = Set::of(many.iter().copied().collect());
            }
            return false;
        }
        let rest: Vec<_> = self.iter().filter(|other| *other != value).collect();
        let unchanged = rest.len() == self.as_slice().len();
        if rest.is_empty() || unchanged {
            return rest.is_empty();
        }
        *self = Set::of(rest);
        false
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let many = if let Set::Many(many) = self { Some(many.iter()) } else { None };
        self.as_slice().iter().chain(many.into_iter().flatten()).copied()
    }

    /// A set of these values without duplicates; `values` must not be empty.
    fn of(mut values: Vec<T>) -> Set<T> {
        values.sort_unstable();
        match values[..] {
            [one] => Set::One(one),
            _ if values.len() <= FEW_MAX => Set::Few(values.into()),
            _ => Set::Many(Box::new(values.into_iter().collect())),
        }
    }

    /// The values of a small set; nothing of a large one.
    fn as_slice(&self) -> &[T] {
        match self {
            Set::One(one) => std::slice::from_ref(one),
            Set::Few(few) => few,
            Set::Many(_) => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{FEW_MAX, Set};

    #[test]
    fn grows_shrinks_and_tells_when_it_is_done() {
        let mut set = Set::One(0);
        let mut expected = BTreeSet::from([0]);
        for value in [0, 7, 3, 9, 1, 2, 8, 4, 6, 5, 11, 10, 7] {
            set.insert(value);
            expected.insert(value);
            assert!(set.iter().eq(expected.iter().copied()), "{set:?}");
        }
        assert!(matches!(set, Set::Many(_)) && expected.len() > FEW_MAX);
        for value in [99, 5, 0, 11, 3, 3, 1, 2, 4, 6, 8, 9, 10] {
            assert!(!set.remove(value));
            expected.remove(&value);
            assert!(set.iter().eq(expected.iter().copied()), "{set:?}");
        }
        assert!(matches!(set, Set::One(7)) && !set.remove(8));
        assert!(set.remove(7));
    }

    #[test]
    fn a_set_stays_small() {
        assert!(size_of::<Set<u64>>() <= 24 && size_of::<Set<u32>>() <= 24);
    }
}
