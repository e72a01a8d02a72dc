//! Describes the decision of each module of the gate for a subscription.

use std::collections::BTreeSet;
use std::iter::once;

use serde_json::Map;

use super::Case;
use super::report::{Columns, Module};
use crate::engine::serve::{access, refuse_expired};
use crate::predicate::Predicate;
use crate::security::{self, AccessRequest, Refusal, RowRule, Verdict, predicate_sql};

impl Case<'_> {
    /// In their order.
    pub(super) fn modules(&self) -> Vec<Module> {
        let (field, reads) = (self.field(), BTreeSet::new());
        let verdicts = self.live.gate.inspect(&AccessRequest {
            principal: self.principal,
            field: &field.rules,
            variables: &Map::new(),
            operations: None,
            source: access(&field.source, &reads),
        });
        once(self.expiry()).chain(verdicts.into_iter().map(|verdict| self.module(verdict))).collect()
    }

    /// The columns that may be selected and filtered on.
    pub(super) fn columns(&self) -> Columns {
        let granted = self.live.gate.columns(self.principal, &self.table, &BTreeSet::new());
        let Ok(granted) = granted else { return Columns::default() };
        let names = self.table.columns.iter().enumerate().map(|(index, column)| (index, column.name.clone()));
        let (readable, hidden): (Vec<_>, Vec<_>) = names.partition(|(index, _)| granted.contains(*index));
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

    fn module(&self, verdict: Verdict) -> Module {
        let name = verdict.module.name();
        match (verdict.module, verdict.says) {
            (security::Module::Columns, Err(refusal @ Refusal::RoleUnknown { .. })) => {
                refused(name, refusal.code(), "the role does not exist")
            }
            (_, Err(refusal)) => refused(name, refusal.code(), refusal.to_string()),
            (module, Ok(())) => admitted(name, self.why(module)),
        }
    }

    /// Why a module admits.
    fn why(&self, module: security::Module) -> String {
        match module {
            security::Module::Federation => self.service_in_words().to_owned(),
            security::Module::Scope => match &*self.field().rules.scope.scopes {
                [] => "the field asks for no scope".to_owned(),
                scopes => format!("granted: {}", scopes.join(", ")),
            },
            security::Module::Tenant => self.tenant_in_words(),
            security::Module::RowPolicy => self.rule_in_words(),
            security::Module::Columns => self.columns_in_words(),
        }
    }

    fn service_in_words(&self) -> &'static str {
        let is_named = self.field().rules.service.is_some() || self.core.settings.service.is_some();
        if is_named { "the service may be used" } else { "no service is named" }
    }

    fn tenant_in_words(&self) -> String {
        match self.tenant_predicate() {
            Some(predicate) => format!("rows where {}", self.sql(&predicate)),
            None if self.table.public => "no tenant column; the table is declared public".to_owned(),
            None => "no tenant column; row-level security decides".to_owned(),
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

    fn columns_in_words(&self) -> String {
        match (self.columns().hidden.as_slice(), &self.principal.role) {
            ([], None) => "all; without a role nothing is hidden".to_owned(),
            ([], Some(_)) => "all".to_owned(),
            (hidden, _) => format!("all but {}", hidden.join(", ")),
        }
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
