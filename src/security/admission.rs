//! A principal's right to one table or topic, as it was granted at subscribe.

use std::sync::Arc;

use super::columns::Columns;
use super::row_policy::{Question, RowRule};
use super::tenant::TopicRule;
use crate::model::Operation;
use crate::predicate::Predicate;

/// What the gate granted, and what it will hold each event against.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    pub(super) rule: Rule,
    pub(super) operations: Option<Box<[Operation]>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Rule {
    Rows(RowsRule),
    Topic(TopicRule),
}

/// Which rows of a table, and what of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowsRule {
    /// `None` on a table without a tenant column.
    pub(super) tenant: Option<Predicate>,
    pub(super) policy: RowRule,
    pub(super) columns: Columns,
    /// Declared readable by every principal, and no policy restricts it.
    pub(super) for_everybody: bool,
}

impl Admission {
    /// What every row that may be shown meets, for the index.
    pub fn condition(&self) -> Option<Predicate> {
        let Rule::Rows(rule) = &self.rule else { return None };
        let policy = match &rule.policy {
            RowRule::All => None,
            RowRule::Decided(predicate) | RowRule::Delegated { possible: predicate, .. } => Some(predicate),
        };
        Some(Predicate::and(rule.tenant.iter().chain(policy).cloned()))
    }

    /// The operations that may be watched; `None` is all of them.
    pub fn operations(&self) -> Option<&[Operation]> {
        self.operations.as_deref()
    }

    /// What PostgreSQL has to be asked, if the index and the gate cannot decide alone.
    pub fn question(&self) -> Option<&Arc<Question>> {
        match &self.rule {
            Rule::Rows(RowsRule { policy: RowRule::Delegated { question, .. }, .. }) => Some(question),
            Rule::Rows(_) | Rule::Topic(_) => None,
        }
    }

    /// What of a row may be shown.
    pub fn columns(&self) -> Columns {
        match &self.rule {
            Rule::Rows(rule) => rule.columns.clone(),
            Rule::Topic(_) => Columns::default(),
        }
    }

    /// Whether one event may be shown to principals of several tenants.
    pub fn spans_tenants(&self) -> bool {
        match &self.rule {
            Rule::Rows(rule) => rule.for_everybody,
            Rule::Topic(rule) => rule.is_public(),
        }
    }

    /// Which messages of its topic are visible, for the index: a tenant's, or with `None` those without a tenant.
    pub fn audiences(&self) -> Vec<Option<Box<str>>> {
        match &self.rule {
            Rule::Rows(_) => Vec::new(),
            Rule::Topic(rule) => rule.audiences(),
        }
    }
}
