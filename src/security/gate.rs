//! The gate runs the five security modules in order: federation, scope, tenant, row policy, columns.
//!
//! - [`Gate::admit`] runs when a client subscribes and stops at the first refusal.
//! - [`Gate::inspect`] runs all modules.
//! - A case that a module cannot decide is refused.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::admission::{Admission, RowsRule, Rule};
use super::federation;
use super::row_policy::{RowRule, TablePolicies};
use super::scope::{self, FieldScope, ProtectedVariables};
use super::tenant::{self, TopicRule};
use super::{Columns, Module, Refusal, columns};
use crate::model::{Operation, Principal, Role, Roles, Table};

/// What this engine was configured with.
#[derive(Clone, Debug, Default)]
pub struct GateRules {
    /// Its name in a federated graph.
    pub service: Option<String>,
    /// The variables that must equal the principal's attributes.
    pub protected_variables: ProtectedVariables,
}

/// What a field was declared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// The service that it belongs to.
    pub service: Option<String>,
    /// The scopes that it requires, and the operations that it allows.
    pub scope: FieldScope,
}

/// One request for access.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    /// The principal that asks.
    pub principal: &'a Principal,
    /// The field's own rules.
    pub field: &'a FieldRules,
    /// The operation's coerced variables.
    pub variables: &'a Map<String, Value>,
    /// The changes to watch; `None` is all that the field gives.
    pub operations: Option<&'a [Operation]>,
    /// What the field's events are made from.
    pub source: SourceAccess<'a>,
}

/// What is to be read.
#[derive(Clone, Copy, Debug)]
pub enum SourceAccess<'a> {
    /// Columns of a table that are selected or filtered on.
    Table(&'a Table, &'a BTreeSet<usize>),
    /// Messages of a topic.
    Topic {
        /// Its name.
        name: &'a str,
        /// Whether its field was declared public.
        public: bool,
    },
}

/// What one module says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which one.
    pub module: Module,
    /// Its no, if it has one.
    pub says: Result<(), Refusal>,
}

/// What is known of roles, policies and settings at one position of the stream. Frozen, as the tables are.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    of_engine: GateRules,
    roles: Arc<Roles>,
    setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
    policies: HashMap<u32, TablePolicies>,
}

impl Gate {
    /// Reads the policies of these tables.
    pub fn new<'t>(
        of_engine: GateRules,
        tables: impl IntoIterator<Item = &'t Arc<Table>>,
        roles: Arc<Roles>,
        setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
    ) -> Self {
        let policies = tables.into_iter().map(|table| (table.oid, TablePolicies::of(table))).collect();
        Gate { of_engine, roles, setting_defaults, policies }
    }

    /// What the principal is granted, or the first no.
    pub fn admit(&self, request: &AccessRequest<'_>) -> Result<Admission, Refusal> {
        self.federation(request)?;
        let operations = self.scope(request)?;
        let rule = match request.source {
            SourceAccess::Topic { name, public } => Rule::Topic(TopicRule::admit(request.principal, name, public)?),
            SourceAccess::Table(table, reads) => {
                let tenant = tenant::admit(request.principal, table)?;
                let policy = self.row_policy(request.principal, table)?;
                let columns = self.columns(request.principal, table, reads)?;
                let for_everybody = tenant.is_none() && !table.access.row_security;
                Rule::Rows(RowsRule { tenant, policy, columns, for_everybody })
            }
        };
        Ok(Admission { rule, operations })
    }

    /// What each module says, also those behind a no.
    pub fn inspect(&self, request: &AccessRequest<'_>) -> [Verdict; 5] {
        let principal = request.principal;
        let (tenant, row_policy, columns) = match request.source {
            SourceAccess::Topic { name, public } => {
                (TopicRule::admit(principal, name, public).map(drop), Ok(()), Ok(()))
            }
            SourceAccess::Table(table, reads) => (
                tenant::admit(principal, table).map(drop),
                self.row_policy(principal, table).map(drop),
                self.columns(principal, table, reads).map(drop),
            ),
        };
        [
            Verdict { module: Module::Federation, says: self.federation(request) },
            Verdict { module: Module::Scope, says: self.scope(request).map(drop) },
            Verdict { module: Module::Tenant, says: tenant },
            Verdict { module: Module::RowPolicy, says: row_policy },
            Verdict { module: Module::Columns, says: columns },
        ]
    }

    /// The columns that the principal may read; refused if it may not read one of `reads`.
    pub fn columns(&self, principal: &Principal, table: &Table, reads: &BTreeSet<usize>) -> Result<Columns, Refusal> {
        let columns = columns::admit(self.role(principal)?, table)?;
        columns.require(table, reads)?;
        Ok(columns)
    }

    /// Whether both know the same of this principal: then they differ in tables alone.
    pub fn treats_alike(&self, other: &Gate, principal: &Principal) -> bool {
        let role = principal.role.as_deref();
        self.setting_defaults == other.setting_defaults
            && role.and_then(|role| self.roles.named(role)) == role.and_then(|role| other.roles.named(role))
    }

    fn federation(&self, request: &AccessRequest<'_>) -> Result<(), Refusal> {
        Ok(federation::check(self.of_engine.service.as_deref(), request.field.service.as_deref(), request.principal)?)
    }

    /// The operations that it may watch; `None` is all.
    fn scope(&self, request: &AccessRequest<'_>) -> Result<Option<Box<[Operation]>>, Refusal> {
        let field = &request.field.scope;
        scope::check_variables(&self.of_engine.protected_variables, request.principal, request.variables)?;
        scope::check_scopes(field, request.principal)?;
        Ok(scope::watched(field, request.operations)?)
    }

    fn row_policy(&self, principal: &Principal, table: &Table) -> Result<RowRule, Refusal> {
        let role = self.role(principal)?;
        if !table.access.row_security {
            return Ok(RowRule::All);
        }
        let required = || Refusal::RoleRequired { what: table.name.to_string() };
        let (role, policies) = (role.ok_or_else(required)?, self.policies.get(&table.oid).ok_or_else(required)?);
        Ok(policies.bind(table, role, principal, &self.setting_defaults)?)
    }

    fn role(&self, principal: &Principal) -> Result<Option<&Role>, Refusal> {
        let Some(name) = principal.role.as_deref() else { return Ok(None) };
        self.roles.named(name).map(Some).ok_or_else(|| Refusal::RoleUnknown { role: name.to_owned() })
    }
}

#[cfg(test)]
mod tests;
