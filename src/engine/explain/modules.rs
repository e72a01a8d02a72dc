//! What each module of the gate says when somebody subscribes.
//!
//! The gate stops at the first no. To hear those behind it as well, it is asked again about the same table as if the
//! modules in front had nothing to decide there.

use std::collections::BTreeSet;

use super::Case;
use super::report::{Columns, Module};
use crate::engine::serve::refuse_expired;
use crate::model::{Access, Table};
use crate::predicate::Predicate;
use crate::security::{Admission, Refusal, RowRule, federation, predicate_sql, scope};

impl Case<'_> {
    /// In their order.
    pub(super) fn modules(&self) -> Vec<Module> {
        vec![self.expiry(), self.federation(), self.scope(), self.tenant(), self.row_policy(), self.column_module()]
    }

    /// The columns that may be selected and filtered on.
    pub(super) fn columns(&self) -> Columns {
        let Ok(admission) = self.admit(&self.without_policies()) else { return Columns::default() };
        let columns = admission.columns();
        let names = self.table.columns.iter().enumerate().map(|(index, column)| (index, column.name.clone()));
        let (readable, hidden): (Vec<_>, Vec<_>) = names.partition(|(index, _)| columns.contains(*index));
        let names = |of: Vec<(usize, String)>| of.into_iter().map(|(_, name)| name).collect();
        Columns { readable: names(readable), hidden: names(hidden) }
    }

    /// The condition of the tenant module alone.
    pub(super) fn tenant_predicate(&self) -> Option<Predicate> {
        self.table.tenant?;
        Predicate::tenant(&self.table, self.principal.tenant_id.as_deref()?).ok()
    }

    fn expiry(&self) -> Module {
        match refuse_expired(self.principal, self.core.clock.date()) {
            Ok(()) => admitted("principal", "it has not expired"),
            Err(failure) => refused("principal", failure.code(), failure.to_string()),
        }
    }

    fn federation(&self) -> Module {
        let (this, field) = (self.core.settings.service.as_deref(), self.field().service.as_deref());
        match federation::check(this, field, self.principal).map_err(Refusal::from) {
            Ok(()) => {
                admitted("federation", field.or(this).map_or("no service is named", |_| "the service may be used"))
            }
            Err(refusal) => no("federation", &refusal),
        }
    }

    fn scope(&self) -> Module {
        let field = &self.field().scope;
        match scope::check_scopes(field, self.principal).map_err(Refusal::from) {
            Ok(()) if field.scopes.is_empty() => admitted("scope", "the field asks for no scope"),
            Ok(()) => admitted("scope", format!("granted: {}", field.scopes.join(", "))),
            Err(refusal) => no("scope", &refusal),
        }
    }

    fn tenant(&self) -> Module {
        match self.admit(&self.table) {
            Err(refusal @ (Refusal::TenantRequired { .. } | Refusal::TenantInvalid(_) | Refusal::NotPublic { .. })) => {
                no("tenant", &refusal)
            }
            _ => match self.tenant_predicate() {
                Some(predicate) => admitted("tenant", format!("rows where {}", self.sql(&predicate))),
                None if self.table.public => admitted("tenant", "no tenant column; the table is declared public"),
                None => admitted("tenant", "no tenant column; row-level security decides"),
            },
        }
    }

    fn row_policy(&self) -> Module {
        match self.admit(&self.without_tenant()) {
            Err(refusal @ (Refusal::RoleUnknown { .. } | Refusal::RoleRequired { .. } | Refusal::Policy(_))) => {
                no("row_policy", &refusal)
            }
            _ => admitted("row_policy", self.rule_in_words()),
        }
    }

    fn rule_in_words(&self) -> String {
        match self.explanation().map(|explanation| (explanation.exempt, explanation.rule)) {
            None => "the table has no row-level security".to_owned(),
            Some((Some(exempt), _)) => format!("no policy applies: {exempt}"),
            Some((None, Ok(RowRule::Decided(Predicate::False)))) => {
                "no policy shows any row to this principal".to_owned()
            }
            Some((None, Ok(RowRule::Decided(predicate)))) => format!("rows where {}", self.sql(&predicate)),
            Some((None, Ok(RowRule::Delegated { possible: Predicate::True, .. }))) => {
                "PostgreSQL evaluates the policies".to_owned()
            }
            Some((None, Ok(RowRule::Delegated { possible, .. }))) => {
                format!("rows where {}, for which PostgreSQL evaluates the policies", self.sql(&possible))
            }
            Some((None, Ok(RowRule::All))) => "every row".to_owned(),
            Some((None, Err(refusal))) => refusal.to_string(),
        }
    }

    fn column_module(&self) -> Module {
        match self.admit(&self.without_policies()) {
            Err(refusal @ Refusal::RoleUnknown { .. }) => {
                refused("columns", refusal.code(), "there is no role to ask about")
            }
            Err(refusal) => no("columns", &refusal),
            Ok(admission) if admission.columns().is_all() && self.principal.role.is_none() => {
                admitted("columns", "all; without a role nothing is hidden")
            }
            Ok(admission) if admission.columns().is_all() => admitted("columns", "all"),
            Ok(_) => admitted("columns", format!("all but {}", self.columns().hidden.join(", "))),
        }
    }

    fn admit(&self, table: &Table) -> Result<Admission, Refusal> {
        self.live.gate.admit_table(self.principal, table, &BTreeSet::new())
    }

    fn without_tenant(&self) -> Table {
        Table { tenant: None, public: true, ..Table::clone(&self.table) }
    }

    fn without_policies(&self) -> Table {
        let table = self.without_tenant();
        Table { access: Access { row_security: false, ..table.access }, ..table }
    }

    pub(super) fn sql(&self, predicate: &Predicate) -> String {
        predicate_sql(&self.table, predicate, true)
    }
}

fn admitted(module: &'static str, says: impl Into<String>) -> Module {
    Module { name: module, admitted: true, code: None, says: says.into() }
}

fn refused(module: &'static str, code: &str, says: impl Into<String>) -> Module {
    Module { name: module, admitted: false, code: Some(code.to_owned()), says: says.into() }
}

fn no(module: &'static str, refusal: &Refusal) -> Module {
    refused(module, refusal.code(), refusal.to_string())
}
