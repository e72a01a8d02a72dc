//! What the engine serves at this moment: tables, fields and schema, frozen together and replaced as one.

use std::sync::Arc;

use super::declare::{Declaration, Field};
use crate::capture::{CatalogError, Tables};
use crate::config::Settings;
use crate::error::Error;
use crate::graphql::{BoundField, GraphSchema, Options};
use crate::model::Table;
use crate::security::Gate;

/// One version of the served schema.
pub(super) struct Live {
    pub(super) schema: GraphSchema,
    pub(super) tables: Arc<Tables>,
    pub(super) gate: Gate,
    fields: Vec<Field>,
}

impl Live {
    /// Binds the declarations to the tables. A watched table that nobody declared is a field of its own.
    pub(super) fn build(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let bound = declared.iter().map(|declaration| declaration.bind(&tables)).collect::<Result<Vec<_>, _>>()?;
        Self::of(tables, bound, settings)
    }

    /// The same for a catalog that has changed: a declared table that is gone takes its field with it and nothing else.
    pub(super) fn rebuild(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let bind = |declaration: &Declaration| match declaration.bind(&tables) {
            Err(Error::Catalog(CatalogError::UnknownTable(name))) => {
                tracing::warn!("table {name} is declared but not watched any more: its field is gone");
                None
            }
            bound => Some(bound),
        };
        let bound = declared.iter().filter_map(bind).collect::<Result<Vec<_>, _>>()?;
        Self::of(tables, bound, settings)
    }

    fn of(tables: Tables, mut bound: Vec<(BoundField, Field)>, settings: &Settings) -> Result<Live, Error> {
        for table in undeclared(&tables, &bound) {
            bound.push(Declaration::of_table(&table).bind(&tables)?);
        }
        let (bound, fields): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        let known: Vec<Arc<Table>> = tables.iter().cloned().collect();
        let (introspection, service) = (settings.introspection, settings.service.clone());
        let options = Options { introspection, service, limits: settings.request };
        let gate = Gate::new(&known, Arc::clone(&tables.roles), Arc::clone(&tables.setting_defaults));
        Ok(Live { schema: GraphSchema::build(&known, &bound, options)?, tables: Arc::new(tables), gate, fields })
    }

    /// Logs what the catalog finds wrong with the tables and did not before: an operator may look at nothing else.
    pub(super) fn warn_of_problems(&self, before: Option<&Arc<Live>>) {
        let known = |problem| before.is_some_and(|before| before.tables.problems.contains(problem));
        for problem in self.tables.problems.iter().filter(|problem| !known(problem)) {
            tracing::warn!(code = &*problem.code, table = %problem.table, "{}", problem.hint);
        }
    }

    /// The field of a compiled subscription.
    pub(super) fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }

    /// Whether these are the tables that it serves, to the last detail.
    pub(super) fn serves(&self, tables: &Tables) -> bool {
        let (served, found) = (&self.tables.by_oid, &tables.by_oid);
        self.tables.roles == tables.roles
            && self.tables.setting_defaults == tables.setting_defaults
            && served.len() == found.len()
            && found.iter().all(|(oid, table)| served.get(oid) == Some(table))
    }
}

fn undeclared(tables: &Tables, bound: &[(BoundField, Field)]) -> Vec<Arc<Table>> {
    let is_declared = |table: &Arc<Table>| {
        bound.iter().any(|(field, _)| field.table.as_ref().is_some_and(|declared| declared.oid == table.oid))
    };
    tables.iter().filter(|table| !is_declared(table)).cloned().collect()
}
