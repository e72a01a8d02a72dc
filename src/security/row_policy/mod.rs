//! PostgreSQL's row-level security (manual, section 5.9 "Row Security Policies"), compiled as far as that is exact.
//!
//! What comes in: a table's policies as the catalog prints them, later a role and settings. What is promised: a
//! [`RowRule`] that shows a row only where PostgreSQL shows it to that role with those settings; where a part of a policy
//! is not understood, or its answer could differ by version, collation or time zone, PostgreSQL is asked about the row.
//! What is never done: nothing is compiled on a guess, no value of a setting is in an error, and a row for which
//! PostgreSQL would raise is not shown.
//!
//! ```text
//!   catalog text ──read──▶ template ──bind──▶ bounds ──▶ All | Decided(predicate) | Asked { possible, certain, question }
//!                 once                per principal
//! ```

mod bind;
mod bounds;
mod cast;
mod claims;
mod constant;
mod explain;
mod literal;
mod policies;
mod question;
mod read;
mod refusal;
mod scan;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod types;
mod why;

use std::sync::Arc;

pub use explain::{Explanation, PolicyClass, PolicyExplanation, sql as predicate_sql};
pub use policies::TablePolicies;
pub use question::{Binding, Question, Reads};
pub use refusal::PolicyRefusal;
pub use why::{Reason, Why};

use crate::predicate::Predicate;

/// What the policies say to one role with certain settings.
#[derive(Clone, Debug, PartialEq)]
pub enum RowRule {
    /// No policy applies.
    All,
    /// This decides.
    Decided(Predicate),
    /// PostgreSQL decides what these two leave open.
    Delegated {
        /// Holds for every row that may be visible.
        possible: Predicate,
        /// Holds only for rows that are visible for certain.
        certain: Predicate,
        /// What to ask about the others.
        question: Arc<Question>,
    },
}
