//! What the engine serves at this moment: tables, fields and schema, frozen together and replaced as one.

use std::sync::Arc;

use super::declare::{Declaration, Field};
use crate::capture::Tables;
use crate::config::Settings;
use crate::error::Error;
use crate::graphql::{GraphSchema, Options};
use crate::model::Table;

/// One version of the served schema.
pub(super) struct Live {
    pub(super) schema: GraphSchema,
    pub(super) tables: Arc<Tables>,
    fields: Vec<Field>,
}

impl Live {
    /// Binds the declarations to the tables. Without any, every watched table is a field.
    pub(super) fn build(tables: Tables, declared: &[Declaration], settings: &Settings) -> Result<Live, Error> {
        let bound = declared.iter().map(|declaration| declaration.bind(&tables)).collect::<Result<Vec<_>, _>>()?;
        let (bound, fields): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        let known: Vec<Arc<Table>> = tables.all().cloned().collect();
        let options = Options { introspection: settings.introspection, ..Options::default() };
        Ok(Live { schema: GraphSchema::build(&known, &bound, options)?, tables: Arc::new(tables), fields })
    }

    /// The field of a compiled subscription.
    pub(super) fn field(&self, index: usize) -> &Field {
        &self.fields[index]
    }
}
