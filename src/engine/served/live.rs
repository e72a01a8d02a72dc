//! What the engine serves at this moment: tables, fields and schema, frozen together and replaced as one.

use std::sync::Arc;

use super::declare::{Declaration, Field};
use super::draft::{Aside, Drafted, SchemaDraft};
use crate::catalog::{CatalogError, Tables};
use crate::config::Settings;
use crate::error::Error;
use crate::failure::Failure;
use crate::graphql::{GraphSchema, Operation, Request};
use crate::model::Table;
use crate::security::Gate;

/// One version of the served schema.
pub(crate) struct Live {
    pub(crate) schema: GraphSchema,
    pub(crate) tables: Arc<Tables>,
    pub(crate) gate: Gate,
    fields: Vec<Field>,
    aside: Vec<Aside>,
}

impl Live {
    /// Binds the declarations to the tables. One that does not fit into the schema is an error; a watched table that
    /// cannot be served is set aside.
    pub(crate) fn build(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let mut draft = SchemaDraft::new(&tables, settings);
        for declaration in declared {
            draft.bind(declaration)?;
        }
        draft.make()?;
        let drafted = draft.finish(settings.serve_watched)?;
        Ok(Self::of(tables, drafted, settings))
    }

    /// The same for a catalog that has changed: a declared table that is gone or does not fit any more takes its field
    /// with it and nothing else.
    pub(crate) fn rebuild(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let mut draft = SchemaDraft::new(&tables, settings);
        for declaration in declared {
            match draft.bind(declaration) {
                Err(Error::Catalog(CatalogError::UnknownTable(name))) => {
                    tracing::warn!("table {name} is declared but not watched any more: its field is gone");
                }
                bound => bound?,
            }
        }
        draft.settle();
        let drafted = draft.finish(settings.serve_watched)?;
        Ok(Self::of(tables, drafted, settings))
    }

    fn of(tables: Tables, drafted: Drafted, settings: &Settings) -> Live {
        let Drafted { schema, served, fields, aside } = drafted;
        let gate =
            Gate::new(settings.gate_rules(), &served, Arc::clone(&tables.roles), Arc::clone(&tables.setting_defaults));
        Live { schema, tables: Arc::new(tables), gate, fields, aside }
    }

    /// Makes a request ready. One for a field that was set aside is refused for that.
    pub(crate) fn compile(&self, request: &Request) -> Result<Operation, Failure> {
        self.schema.compile(request).map_err(|errors| self.refused(request).unwrap_or_else(|| errors.into()))
    }

    fn refused(&self, request: &Request) -> Option<Failure> {
        let asked = if self.aside.is_empty() { Vec::new() } else { self.schema.root_fields(request) };
        self.aside.iter().find(|aside| asked.contains(&aside.field)).map(Aside::failure)
    }

    /// Logs what the catalog finds wrong with the tables and did not before: an operator may look at nothing else.
    pub(crate) fn warn_of_problems(&self, before: Option<&Arc<Live>>) {
        let known = |problem| before.is_some_and(|before| before.tables.problems.contains(problem));
        for problem in self.tables.problems.iter().filter(|problem| !known(problem)) {
            tracing::warn!(code = &*problem.code, table = %problem.table, "{}", problem.hint);
        }
    }

    /// The field of a compiled subscription.
    pub(crate) fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }

    /// Whether these are the tables that it serves, to the last detail.
    pub(crate) fn serves(&self, tables: &Tables) -> bool {
        let (served, found) = (&self.tables.by_oid, &tables.by_oid);
        self.tables.roles == tables.roles
            && self.tables.setting_defaults == tables.setting_defaults
            && self.tables.unserved().eq(tables.unserved())
            && served.len() == found.len()
            && found.iter().all(|(oid, table)| served.get(oid) == Some(table) && !self.is_broken_by(tables, *oid))
    }

    /// Whether changes of a table were lost since.
    pub(crate) fn is_broken_by(&self, tables: &Tables, table: u32) -> bool {
        self.tables.whole_since(table) != tables.whole_since(table)
    }

    /// Whether a field of this table was set aside.
    pub(crate) fn sets_aside(&self, table: &Table) -> bool {
        self.aside.iter().any(|aside| aside.table.as_ref() == Some(&table.name))
    }

    /// Logs what was set aside since `before`.
    pub(crate) fn report(&self, before: Option<&Live>) {
        let is_known = |aside: &&Aside| before.is_some_and(|before| before.aside.contains(aside));
        self.aside.iter().filter(|aside| !is_known(aside)).for_each(Aside::report);
    }
}
