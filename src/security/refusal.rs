//! Why a principal may not subscribe. A refusal names tables, columns, policies and roles for the operator, never
//! values of rows or settings; a client gets less.

use super::federation::FederationRefusal;
use super::row_policy::PolicyRefusal;
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
    /// The table has no rule for read access.
    #[error(
        "{what} has no rule for who may read it: watch it with a tenant column, enable row-level security on it, or declare it \
         readable by every principal with public => true"
    )]
    NotPublic {
        /// The table.
        what: String,
    },
    /// Row policies need a role.
    #[error("{what} has row-level security and the principal has no role: let `authenticate` return a database role")]
    RoleRequired {
        /// The table.
        what: String,
    },
    /// The role does not exist.
    #[error("the database has no role {role}: create it, or let `authenticate` return one that exists")]
    RoleUnknown {
        /// The name.
        role: String,
    },
    /// The role may read nothing of the table.
    #[error(
        "role {role} may not read {what}: grant it usage on the schema and select on the table or on columns of it"
    )]
    TableForbidden {
        /// The table.
        what: String,
        /// The role.
        role: String,
    },
    /// The role may not read a column that was selected or filtered on.
    #[error(
        "column {column} of {what} may not be read: leave it out of the selection and the filter, or grant select on it"
    )]
    ColumnForbidden {
        /// The table.
        what: String,
        /// The column.
        column: String,
    },
    /// The row policies cannot be applied for this principal.
    #[error(transparent)]
    Policy(#[from] PolicyRefusal),
}

/// The gate's modules, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Is the field this service's, and may the principal use it?
    Federation,
    /// Are the token's scopes, the protected variables and the operations in order?
    Scope,
    /// Whose rows are they?
    Tenant,
    /// What do PostgreSQL's row policies say?
    RowPolicy,
    /// What of a row may the role read?
    Columns,
}

impl Module {
    /// As operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Module::Federation => "federation",
            Module::Scope => "scope",
            Module::Tenant => "tenant",
            Module::RowPolicy => "row_policy",
            Module::Columns => "columns",
        }
    }
}

impl Refusal {
    /// Whose no it is.
    pub fn module(&self) -> Module {
        match self {
            Refusal::Federation(_) => Module::Federation,
            Refusal::Scope(_) => Module::Scope,
            Refusal::TenantRequired { .. } | Refusal::TenantInvalid(_) | Refusal::NotPublic { .. } => Module::Tenant,
            Refusal::RoleRequired { .. } | Refusal::RoleUnknown { .. } | Refusal::Policy(_) => Module::RowPolicy,
            Refusal::TableForbidden { .. } | Refusal::ColumnForbidden { .. } => Module::Columns,
        }
    }

    /// Whether a client gets no reason but the code, so that the log must have it.
    pub fn is_for_the_operator(&self) -> bool {
        matches!(
            self,
            Refusal::TenantInvalid(_)
                | Refusal::NotPublic { .. }
                | Refusal::RoleUnknown { .. }
                | Refusal::TableForbidden { .. }
                | Refusal::Policy(_)
        )
    }

    /// What a client gets beside the code: nothing of roles, grants, policies and settings.
    pub fn to_client(&self) -> String {
        match self {
            Refusal::Federation(_) | Refusal::Scope(_) => self.to_string(),
            Refusal::TenantRequired { .. } => "this field needs a principal with a tenant".to_owned(),
            Refusal::RoleRequired { .. } => "this field needs a principal with a role".to_owned(),
            Refusal::ColumnForbidden { column, .. } => {
                format!("column {column} may not be read: leave it out of the selection and the filter")
            }
            _ => "the principal may not use this field; the server's log has the reason".to_owned(),
        }
    }

    /// The stable code for clients.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Federation(refusal) => refusal.code(),
            Refusal::Scope(refusal) => refusal.code(),
            Refusal::TenantRequired { .. } => "TENANT_REQUIRED",
            Refusal::TenantInvalid(_) => "TENANT_INVALID",
            Refusal::NotPublic { .. } => "NOT_PUBLIC",
            Refusal::RoleRequired { .. } => "ROLE_REQUIRED",
            Refusal::RoleUnknown { .. } => "ROLE_UNKNOWN",
            Refusal::TableForbidden { .. } => "TABLE_FORBIDDEN",
            Refusal::ColumnForbidden { .. } => "COLUMN_FORBIDDEN",
            Refusal::Policy(refusal) => refusal.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_no_name_of_a_role_a_grant_a_policy_or_a_setting() {
        let name = || "inner_name".to_owned();
        let of_policies = [
            PolicyRefusal::OfTheSession { table: name(), policy: name(), what: name() },
            PolicyRefusal::NotSent { table: name(), policy: name(), what: name() },
            PolicyRefusal::SettingMissing { table: name(), setting: name() },
            PolicyRefusal::SettingInvalid { table: name(), setting: name(), expected: name() },
            PolicyRefusal::Raises { table: name(), expected: name() },
            PolicyRefusal::SettingForbidden { setting: name() },
            PolicyRefusal::Unbound { table: name(), policy: name() },
            PolicyRefusal::RoleNotSettable { table: name(), role: name() },
        ];
        let others = [
            Refusal::TenantRequired { what: name() },
            Refusal::NotPublic { what: name() },
            Refusal::RoleRequired { what: name() },
            Refusal::RoleUnknown { role: name() },
            Refusal::TableForbidden { what: name(), role: name() },
            Refusal::ColumnForbidden { what: name(), column: "secret".to_owned() },
        ];
        for refusal in of_policies.into_iter().map(Refusal::from).chain(others) {
            let told = refusal.to_client();
            assert!(!told.contains("inner_name") && !told.contains("grant"), "{told}");
            assert!(refusal.to_string().contains("inner_name"), "the operator gets it: {refusal}");
        }
    }
}
