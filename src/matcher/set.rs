//! A set that is mostly of one: a million of them must stay small, and one of a million must stay fast.

use std::collections::BTreeSet;

/// Never empty: the last value is not removed, its set is.
#[derive(Debug)]
pub(super) enum Set<T> {
    One(T),
    Many(BTreeSet<T>),
}

impl<T: Copy + Ord> Set<T> {
    pub(super) fn insert(&mut self, value: T) {
        match self {
            Set::One(one) if *one == value => {}
            Set::One(one) => *self = Set::Many(BTreeSet::from([*one, value])),
            Set::Many(many) => {
                many.insert(value);
            }
        }
    }

    /// Takes the value out; `true` when nothing is left and the set itself must go.
    #[must_use]
    pub(super) fn remove(&mut self, value: T) -> bool {
        match self {
            Set::One(one) => *one == value,
            Set::Many(many) => {
                many.remove(&value);
                if let (1, Some(last)) = (many.len(), many.first().copied()) {
                    *self = Set::One(last);
                }
                false
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let (one, many) = match self {
            Set::One(one) => (Some(*one), None),
            Set::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::Set;

    #[test]
    fn grows_shrinks_and_tells_when_it_is_done() {
        let mut set = Set::One(1);
        set.insert(1);
        set.insert(3);
        set.insert(2);
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(!set.remove(9) && !set.remove(2) && !set.remove(1));
        assert_eq!(set.iter().collect::<Vec<_>>(), [3]);
        assert!(!set.remove(1));
        assert!(set.remove(3));
    }
}
