//! What the engine serves at this moment: tables, fields and schema, frozen together and replaced as one.

use std::sync::Arc;

use super::declare::{Declaration, Field};
use crate::capture::Tables;
use crate::config::Settings;
use crate::error::Error;
use crate::graphql::{BoundField, GraphSchema, Options};
use crate::model::Table;

/// One version of the served schema.
pub(super) struct Live {
    pub(super) schema: GraphSchema,
    pub(super) tables: Arc<Tables>,
    fields: Vec<Field>,
}

impl Live {
    /// Binds the declarations to the tables. A watched table that nobody declared is a field of its own.
    pub(super) fn build(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let mut bound = declared.iter().map(|declaration| declaration.bind(&tables)).collect::<Result<Vec<_>, _>>()?;
        for table in undeclared(&tables, &bound) {
            bound.push(Declaration::of_table(&table).bind(&tables)?);
        }
        let (bound, fields): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        let known: Vec<Arc<Table>> = tables.iter().cloned().collect();
        let options = Options { introspection: settings.introspection, ..Options::default() };
        Ok(Live { schema: GraphSchema::build(&known, &bound, options)?, tables: Arc::new(tables), fields })
    }

    /// The field of a compiled subscription.
    pub(super) fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }
}

fn undeclared(tables: &Tables, bound: &[(BoundField, Field)]) -> Vec<Arc<Table>> {
    let is_declared = |table: &Arc<Table>| {
        bound.iter().any(|(field, _)| field.table.as_ref().is_some_and(|declared| declared.oid == table.oid))
    };
    tables.iter().filter(|table| !is_declared(table)).cloned().collect()
}
