//! What is known of a condition without asking: for which rows it may hold and for which it holds for certain, and the
//! same of its negation.
//!
//! An asked part may raise, and PostgreSQL does not come to it when something to its left has decided. So a bound is
//! *sure* only where no asked part is reached on the way: `owner = 'me' or asked(…)` surely holds for my rows, and
//! `asked(…) or owner = 'me'` does not.

use crate::predicate::{Comparison, Predicate};

/// Of one condition. None of the four is ever negated except where it is exact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bounds {
    /// Holds wherever the condition may be true.
    true_at_most: Predicate,
    /// Holds only where it is true and no delegated part was reached.
    true_surely: Predicate,
    false_at_most: Predicate,
    false_surely: Predicate,
    /// Holds where no delegated part is reached, with any result of the condition.
    calm: Predicate,
}

impl Bounds {
    /// A condition that is known wholly.
    pub(super) fn exact(predicate: Predicate) -> Self {
        let negated = Predicate::not(predicate.clone());
        Bounds {
            true_at_most: predicate.clone(),
            true_surely: predicate,
            false_at_most: negated.clone(),
            false_surely: negated,
            calm: Predicate::True,
        }
    }

    /// A condition between two; it raises nowhere.
    pub(super) fn between(least: Predicate, most: Predicate) -> Self {
        Bounds {
            false_at_most: Predicate::not(least.clone()),
            false_surely: Predicate::not(most.clone()),
            true_at_most: most,
            true_surely: least,
            calm: Predicate::True,
        }
    }

    /// A condition whose truth is known and whose falsehood may be NULL instead; it raises nowhere.
    pub(super) fn true_exactly(predicate: Predicate) -> Self {
        let false_at_most = Predicate::not(predicate.clone());
        Bounds { false_surely: Predicate::False, false_at_most, ..Bounds::exact(predicate) }
    }

    pub(super) fn asked() -> Self {
        Bounds { true_at_most: Predicate::True, false_at_most: Predicate::True, ..Bounds::raising() }
    }

    /// It raises wherever it is reached.
    pub(super) fn raising() -> Self {
        Bounds {
            true_at_most: Predicate::False,
            true_surely: Predicate::False,
            false_at_most: Predicate::False,
            false_surely: Predicate::False,
            calm: Predicate::False,
        }
    }

    #[must_use]
    pub(super) fn negated(self) -> Self {
        Bounds {
            true_at_most: self.false_at_most,
            true_surely: self.false_surely,
            false_at_most: self.true_at_most,
            false_surely: self.true_surely,
            calm: self.calm,
        }
    }

    /// `(…) is true`: where it is not true it is false, NULL or not.
    #[must_use]
    pub(super) fn held(self) -> Self {
        let (least, most) = (decided(self.true_surely), decided(self.true_at_most));
        let false_surely = Predicate::and([Predicate::not(most.clone()), self.calm.clone()]);
        Bounds {
            false_at_most: Predicate::not(least.clone()),
            false_surely,
            true_at_most: most,
            true_surely: least,
            calm: self.calm,
        }
    }

    /// From left to right, until one is true.
    pub(super) fn any(parts: Vec<Bounds>) -> Self {
        let mut true_surely = Vec::new();
        let mut calm = Vec::new();
        for part in &parts {
            let before = calm.iter().cloned();
            true_surely.push(Predicate::and(before.chain([part.true_surely.clone()])));
            calm.push(part.calm.clone());
        }
        let true_surely = Predicate::or(true_surely);
        Bounds {
            true_at_most: Predicate::or(parts.iter().map(|part| part.true_at_most.clone())),
            false_at_most: Predicate::and(parts.iter().map(|part| part.false_at_most.clone())),
            false_surely: Predicate::and(parts.into_iter().map(|part| part.false_surely)),
            calm: Predicate::or([true_surely.clone(), Predicate::and(calm)]),
            true_surely,
        }
    }

    /// From left to right, until one is false.
    pub(super) fn all(parts: Vec<Bounds>) -> Self {
        Bounds::any(parts.into_iter().map(Bounds::negated).collect()).negated()
    }

    /// Where the condition may be true, and where it is for certain.
    pub(super) fn of_truth(self) -> (Predicate, Predicate) {
        (self.true_at_most, self.true_surely)
    }
}

/// The same where it is true, and false instead of unknown.
fn decided(predicate: Predicate) -> Predicate {
    match predicate {
        Predicate::Unknown => Predicate::False,
        Predicate::And(parts) => Predicate::and(parts.into_iter().map(decided)),
        Predicate::Or(parts) => Predicate::or(parts.into_iter().map(decided)),
        Predicate::True | Predicate::False | Predicate::IsNull { .. } => predicate,
        // The normal form has a negation around leaves alone.
        leaf => {
            let columns = leaf.columns();
            let nulls = columns.into_iter().filter(|_| !is_nullness(&leaf)).map(Predicate::is_null);
            Predicate::and(nulls.map(Predicate::not).collect::<Vec<_>>().into_iter().chain([leaf]))
        }
    }
}

fn is_nullness(leaf: &Predicate) -> bool {
    matches!(leaf, Predicate::Not(inner) if matches!(**inner, Predicate::IsNull { .. }))
}

/// `column is not distinct from value`
pub(super) fn same(column: usize, value: crate::predicate::Scalar) -> Predicate {
    let not_null = Predicate::not(Predicate::is_null(column));
    Predicate::and([Predicate::compare(column, Comparison::Eq, value), not_null])
}
