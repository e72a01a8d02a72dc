//! An interval of one column's values; either end may be open, closed or missing.

use crate::predicate::{Comparison, Scalar};

/// Ordered by lower end, then by upper end.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    pub(super) lower: Lower,
    pub(super) upper: Upper,
}

/// A lower end. The derived order is that of the intervals' beginnings: `From(1) < After(1) < From(2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lower {
    #[default]
    Open,
    Bound(Scalar, Strict),
}

/// An upper end. The derived order is that of the intervals' ends: `Before(1) < UpTo(1) < Before(2)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Upper {
    Bound(Scalar, Inclusive),
    #[default]
    Open,
}

/// Whether a lower bound leaves out its value: then it begins later.
type Strict = bool;
/// Whether an upper bound takes in its value: then it ends later.
type Inclusive = bool;

impl Interval {
    /// Cuts it down to the values for which the comparison holds too.
    pub(super) fn narrow(&mut self, comparison: Comparison, value: &Scalar) {
        let lower = |strict| Lower::Bound(value.clone(), strict);
        let upper = |inclusive| Upper::Bound(value.clone(), inclusive);
        match comparison {
            Comparison::Gt => self.lower = lower(true).max(std::mem::take(&mut self.lower)),
            Comparison::Gte => self.lower = lower(false).max(std::mem::take(&mut self.lower)),
            Comparison::Lt => self.upper = upper(false).min(std::mem::take(&mut self.upper)),
            Comparison::Lte => self.upper = upper(true).min(std::mem::take(&mut self.upper)),
            Comparison::Eq | Comparison::Neq => {}
        }
    }

    /// Whether both ends are bounded.
    pub(super) fn is_closed(&self) -> bool {
        self.lower != Lower::Open && self.upper != Upper::Open
    }
}

impl Lower {
    pub(super) fn admits(&self, value: &Scalar) -> bool {
        match self {
            Lower::Open => true,
            Lower::Bound(bound, strict) => bound < value || (!strict && bound == value),
        }
    }
}

impl Upper {
    pub(super) fn admits(&self, value: &Scalar) -> bool {
        match self {
            Upper::Open => true,
            Upper::Bound(bound, inclusive) => value < bound || (*inclusive && bound == value),
        }
    }
}
