//! Why a principal may not subscribe. Names tables and columns, never values of rows.

use super::federation::FederationRefusal;
use super::scope::ScopeRefusal;
use crate::predicate::PredicateError;

/// The gate's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another service's field, or a principal of other services.
    #[error(transparent)]
    Federation(#[from] FederationRefusal),
    /// A variable, a scope or an operation.
    #[error(transparent)]
    Scope(#[from] ScopeRefusal),
    /// The table or topic is divided by tenant and the principal has none.
    #[error("{what} is divided by tenant and the principal has no tenant: let `authenticate` return a tenant_id")]
    TenantRequired {
        /// The table or topic.
        what: String,
    },
    /// The principal's tenant cannot stand in the tenant column.
    #[error(transparent)]
    TenantInvalid(#[from] PredicateError),
    /// Nothing says who may read the table.
    #[error(
        "nothing says who may read {what}: watch it with a tenant column, or declare it readable by everybody with \
         public => true"
    )]
    NotPublic {
        /// The table.
        what: String,
    },
    /// The table has row-level security, which this version does not evaluate.
    #[error(
        "{what} has row-level security, and this version cannot evaluate policies: it refuses rather than show what \
         a policy may hide"
    )]
    RowSecurity {
        /// The table.
        what: String,
    },
}

impl Refusal {
    /// The stable code for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Federation(refusal) => refusal.code(),
            Refusal::Scope(refusal) => refusal.code(),
            Refusal::TenantRequired { .. } => "TENANT_REQUIRED",
            Refusal::TenantInvalid(_) => "TENANT_INVALID",
            Refusal::NotPublic { .. } => "NOT_PUBLIC",
            Refusal::RowSecurity { .. } => "ROW_SECURITY_UNSUPPORTED",
        }
    }
}
