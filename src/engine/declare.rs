//! Subscription fields as the application declares them, and bound to the tables that they name.

use std::sync::Arc;

use serde::Deserialize;

use crate::capture::Tables;
use crate::error::Error;
use crate::graphql::{self, BoundField};
use crate::model::{Table, TableName};
use crate::store::{ReplicaIdentityChoice, WatchRequest};

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
    #[serde(default, with = "ReplicaIdentityName")]
    pub(super) replica_identity: ReplicaIdentityChoice,
}

/// How [`ReplicaIdentityChoice`] is written.
#[derive(Deserialize)]
#[serde(remote = "ReplicaIdentityChoice", rename_all = "lowercase")]
enum ReplicaIdentityName {
    Full,
    Keep,
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

    /// The field of a watched table that nobody declared.
    pub(super) fn of_table(table: &Table) -> Self {
        let field = graphql::Field { table: Some(quoted(&table.name)), ..graphql::Field::default() };
        Declaration { field, tenant: None, public: false, replica_identity: ReplicaIdentityChoice::Keep }
    }

    /// How the table is to be followed; `None` for a topic.
    pub(super) fn watch_request(&self) -> Option<WatchRequest> {
        Some(WatchRequest {
            relation: self.field.table.clone()?,
            tenant_column: self.tenant.clone(),
            public: self.public,
            replica_identity: self.replica_identity,
        })
    }

    /// Finds the table that the declaration names.
    pub(super) fn bind(&self, tables: &Tables) -> Result<(BoundField, Field), Error> {
        let table = self.field.table.as_deref().map(|name| tables.find(name).cloned()).transpose()?;
        let source = match (&table, &self.field.topic) {
            (Some(table), _) => Source::Table(Arc::clone(table)),
            (None, topic) => Source::Topic { name: topic.clone().unwrap_or_default(), public: self.public },
        };
        let bound = BoundField { declaration: self.field.clone(), table };
        Ok((bound, Field { source, resolver: self.field.resolver.clone() }))
    }
}

fn quoted(name: &TableName) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}
