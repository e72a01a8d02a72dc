//! PostgreSQL's row-level security (manual, section 5.9 "Row Security Policies").

mod question;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use question::{Question, Reads};

use crate::model::{Principal, Role, Table};
use crate::predicate::Predicate;

/// The policies of one table.
#[derive(Clone, Debug, Default)]
pub struct TablePolicies {}

/// What the policies say to one role with certain settings.
#[derive(Clone, Debug, PartialEq)]
pub enum RowRule {
    /// No policy applies.
    All,
    /// This decides.
    Decided(Predicate),
    /// PostgreSQL decides what these two leave open.
    Asked {
        /// Holds for every row that may be visible.
        possible: Predicate,
        /// Holds only for rows that are visible for certain.
        certain: Predicate,
        /// What to ask about the others.
        question: Arc<Question>,
    },
}

/// The policies cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policies are not evaluated yet")]
pub struct PolicyRefusal;

impl PolicyRefusal {
    /// Stable.
    pub fn code(&self) -> &'static str {
        "POLICY_UNDECIDABLE"
    }
}

impl TablePolicies {
    /// Of a table.
    pub fn of(_table: &Table) -> Self {
        TablePolicies {}
    }

    /// For somebody.
    pub fn bind(
        &self,
        table: &Table,
        _role: &Role,
        _principal: &Principal,
        _defaults: &BTreeMap<Box<str>, Box<str>>,
    ) -> Result<RowRule, PolicyRefusal> {
        if table.access.row_security { Err(PolicyRefusal) } else { Ok(RowRule::All) }
    }
}
