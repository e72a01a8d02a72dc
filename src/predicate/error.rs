//! What can be wrong with a condition. Nothing can go wrong once it is built.

use std::borrow::Cow;

/// A condition that was refused before it watched anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// A part of the `where` argument.
    #[error("{path}: expected {expected}")]
    Where {
        /// Where in the argument: `where.OR[1].total.gt`.
        path: String,
        /// What would have been right.
        expected: Cow<'static, str>,
    },
    /// A condition on a column that only PostgreSQL can compare.
    #[error("{path}: column {column} cannot be filtered on, except by isNull: {reason}")]
    Incomparable {
        /// Where in the argument.
        path: String,
        /// The column.
        column: String,
        /// What is special about it.
        reason: &'static str,
    },
    /// Nothing can be decided by the tenant column.
    #[error("tenant column {column} cannot decide who sees a row: {reason}; choose a column of another type")]
    TenantColumn {
        /// Schema, table and column.
        column: String,
        /// What is special about it.
        reason: &'static str,
    },
    /// The principal's tenant cannot be a value of the tenant column.
    #[error(
        "the principal's tenant cannot be in tenant column {column}: expected {expected}; let `authenticate` return one"
    )]
    Tenant {
        /// Schema, table and column.
        column: String,
        /// What would have been right.
        expected: Cow<'static, str>,
    },
}

impl PredicateError {
    /// The stable code for clients.
    pub fn code(&self) -> &'static str {
        match self {
            PredicateError::Where { .. } | PredicateError::Incomparable { .. } => "BAD_WHERE",
            PredicateError::Tenant { .. } | PredicateError::TenantColumn { .. } => "BAD_TENANT",
        }
    }
}
