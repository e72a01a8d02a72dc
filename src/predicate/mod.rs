//! Evaluates conditions on one row with the result that PostgreSQL would return.
//!
//! A condition comes from a `where` argument, a tenant id or a compiled policy. Row values are text as PostgreSQL
//! prints it under `TimeZone=UTC`, `DateStyle=ISO`, `bytea_output=hex`.
//!
//! - The result is that of `select (condition) from …` with `collate "C"`, in three-valued logic. A fourth result,
//!   [`Truth::Unavailable`], means that a partial row image cannot decide the condition.
//! - A column that was not sent is not treated as NULL, and a value that cannot be read is not replaced by another one.
//!   Neither ever matches, negated or not.
//! - A column whose comparison is not known here (`citext`, a nondeterministic collation) offers `isNull` alone. Any
//!   other condition on it is refused.
//! - Case folding follows the column's own collation. Ordering does not: text is ordered by code point (documented in
//!   docs/guides/filters.md).
//! - `json` is compared as if it were `jsonb`.

mod array;
mod error;
mod eval;
mod float;
mod image;
mod json;
mod like;
mod normal;
mod numeric;
mod operand;
mod operator;
mod parse;
mod scalar;
mod tenant;
mod time;

use std::collections::BTreeSet;

pub use error::PredicateError;
pub use eval::Truth;
pub use float::Float;
pub use image::RowImage;
pub use json::Json;
pub use like::Like;
pub use numeric::Numeric;
pub use operator::{Comparison, Operator, offered, operators};
pub use parse::FilterLimits;
pub use scalar::Scalar;

/// A condition over the columns of one [`Table`](crate::model::Table), by their index there.
///
/// Values are made by the constructors, which keep the normal form: nested `And` and `Or` are flattened, their parts
/// sorted and without repeats; equalities of one column under an `Or` are one `In`; `Not` is pushed down to the leaves
/// and stays only around `In`, `IsNull`, `Like`, `Contains` and `Lower`. So equal conditions are mostly equal values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predicate {
    /// Every row.
    True,
    /// No row.
    False,
    /// No row, and none under negation either: a comparison with NULL.
    Unknown,
    /// `column <comparison> value`
    Compare {
        /// The column's index.
        column: u16,
        /// Which comparison.
        comparison: Comparison,
        /// What it is compared with.
        value: Scalar,
    },
    /// `column in (values)`: at least two, sorted.
    In {
        /// The column's index.
        column: u16,
        /// The members.
        values: Box<[Scalar]>,
    },
    /// `column is null`
    IsNull {
        /// The column's index.
        column: u16,
    },
    /// `column like pattern` or `ilike`
    Like {
        /// The column's index.
        column: u16,
        /// The compiled pattern.
        pattern: Like,
    },
    /// `strpos(column, part) > 0` of text, `column @> part` of arrays and jsonb.
    Contains {
        /// The column's index.
        column: u16,
        /// The part.
        part: Scalar,
    },
    /// `lower(column) = value`, for text of ASCII alone.
    Lower {
        /// The column's index.
        column: u16,
        /// What it is compared with, of ASCII.
        value: Box<str>,
        /// What is said of text with other letters, which collations fold differently: a bound needs a side.
        beyond_ascii: bool,
    },
    /// `not (…)`
    Not(Box<Predicate>),
    /// All of these.
    And(Box<[Predicate]>),
    /// At least one of these.
    Or(Box<[Predicate]>),
}

impl Predicate {
    /// What must hold together; empty for a condition that every row meets.
    pub fn conjuncts(&self) -> &[Predicate] {
        match self {
            Predicate::True => &[],
            Predicate::And(parts) => parts,
            _ => std::slice::from_ref(self),
        }
    }

    /// The columns that it reads, for the rule that one may not filter on what one may not read.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        self.collect_columns(&mut columns);
        columns
    }

    fn collect_columns(&self, into: &mut BTreeSet<usize>) {
        match self {
            Predicate::True | Predicate::False | Predicate::Unknown => {}
            Predicate::Compare { column, .. }
            | Predicate::In { column, .. }
            | Predicate::IsNull { column }
            | Predicate::Like { column, .. }
            | Predicate::Contains { column, .. }
            | Predicate::Lower { column, .. } => {
                into.insert(usize::from(*column));
            }
            Predicate::Not(part) => part.collect_columns(into),
            Predicate::And(parts) | Predicate::Or(parts) => parts.iter().for_each(|part| part.collect_columns(into)),
        }
    }
}
