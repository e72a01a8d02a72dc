//! Compiles PostgreSQL's row-level security (manual, section 5.9 "Row Security Policies") where the result is exact.
//!
//! The input is a table's policies, as the catalog prints them, and later a role and settings. The result is a
//! [`RowRule`].
//!
//! - A row is visible only if PostgreSQL shows it to that role with those settings.
//! - If a part of a policy is not understood, or its result could depend on version, collation or time zone, the rule
//!   delegates the decision to PostgreSQL. Nothing is compiled on a guess.
//! - A row for which PostgreSQL would raise an error is hidden.
//! - Errors never contain the value of a setting.
//!
//! ```text
//!   catalog text ──read──▶ template ──bind──▶ bounds ──▶ All | Decided(predicate)
//!                 once                per principal          | Delegated { possible, certain, question }
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

/// What the policies mean for one role with certain settings.
#[derive(Clone, Debug, PartialEq)]
pub enum RowRule {
    /// No policy applies.
    All,
    /// This predicate decides.
    Decided(Predicate),
    /// PostgreSQL decides what these two leave open.
    Delegated {
        /// Holds for every row that may be visible.
        possible: Predicate,
        /// Holds only for rows that are visible for certain.
        certain: Predicate,
        /// What PostgreSQL evaluates for the others.
        question: Arc<Question>,
    },
}
