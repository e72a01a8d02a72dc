//! Subscription fields as the application declares them, and bound to the tables that they name.

use std::sync::Arc;

use serde::Deserialize;

use crate::capture::Tables;
use crate::error::Error;
use crate::graphql::{self, BoundField};
use crate::model::Table;

/// One declaration, as the Python side sends it in JSON.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Declaration {
    #[serde(flatten)]
    pub(super) field: graphql::Field,
    /// The tenant column.
    #[serde(default)]
    pub(super) tenant: Option<String>,
    /// Readable by every principal.
    #[serde(default)]
    pub(super) public: bool,
    /// `full`, or `keep` to leave the table's own.
    #[serde(default = "full")]
    pub(super) replica_identity: String,
}

fn full() -> String {
    "full".to_owned()
}

/// A field that is served.
pub(super) struct Field {
    pub(super) source: Source,
    pub(super) resolver: Option<graphql::Resolver>,
}

/// What a field's events are made from.
pub(super) enum Source {
    Table(Arc<Table>),
    Topic { name: String, public: bool },
}

impl Declaration {
    pub(super) fn parse(json: &str) -> Result<Vec<Declaration>, Error> {
        serde_json::from_str(json).map_err(|error| Error::Declaration {
            code: "FIELDS_INVALID",
            message: format!("the declared fields are not what the engine expects: {error}"),
        })
    }

    /// Finds the table that the declaration names.
    pub(super) fn bind(&self, tables: &Tables) -> Result<(BoundField, Field), Error> {
        let table = self.field.table.as_deref().map(|name| named(tables, name)).transpose()?;
        let source = match (&table, &self.field.topic) {
            (Some(table), _) => Source::Table(Arc::clone(table)),
            (None, topic) => Source::Topic { name: topic.clone().unwrap_or_default(), public: self.public },
        };
        let bound = BoundField { declaration: self.field.clone(), table };
        Ok((bound, Field { source, resolver: self.field.resolver.clone() }))
    }
}

fn named(tables: &Tables, name: &str) -> Result<Arc<Table>, Error> {
    tables.by_name(name).cloned().ok_or_else(|| {
        let reasons: Vec<String> = tables.problems().iter().map(ToString::to_string).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        Error::Declaration {
            code: "TABLE_UNKNOWN",
            message: format!("table {name:?} cannot be served: it does not exist or is not watched{reasons}"),
        }
    })
}
