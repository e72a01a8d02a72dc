//! Subscription fields as the application declares them, and bound to the tables that they name.

use std::sync::Arc;

use serde::Deserialize;

use crate::catalog::Tables;
use crate::config::SlowClient;
use crate::error::Error;
use crate::graphql::{self, BoundField};
use crate::model::{Operation, Table, TableName};
use crate::security::FieldRules;
use crate::security::scope::FieldScope;
use crate::store::{ReplicaIdentityChoice, WatchRequest};

/// One declaration, as the Python side sends it in JSON. A key that is not here is refused: what a misspelled `tenant`
/// or `scopes` was to protect would be open.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Declaration {
    pub(crate) name: Option<String>,
    table: Option<String>,
    topic: Option<String>,
    resolver: Option<graphql::Resolver>,
    /// The tenant column.
    tenant: Option<String>,
    /// Readable by every principal.
    public: bool,
    /// `full`, or `keep` to leave the table's own.
    #[serde(with = "ReplicaIdentityName")]
    replica_identity: ReplicaIdentityChoice,
    /// What the principal's token must grant.
    scopes: Box<[Box<str>]>,
    /// Which changes may be watched.
    operations: Option<Vec<OperationName>>,
    /// The service that the field belongs to.
    service: Option<String>,
    /// What the engine does with clients that read too slowly; `None` as the settings say.
    slow_client: Option<SlowClient>,
    /// Whether what one commit changed is delivered as one message.
    transactions: bool,
}

/// How [`ReplicaIdentityChoice`] is written.
#[derive(Deserialize)]
#[serde(remote = "ReplicaIdentityChoice", rename_all = "lowercase")]
enum ReplicaIdentityName {
    Full,
    Keep,
}

/// How an operation on a table is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum OperationName {
    Insert,
    Update,
    Delete,
    Truncate,
}

impl From<OperationName> for Operation {
    fn from(name: OperationName) -> Self {
        match name {
            OperationName::Insert => Operation::Insert,
            OperationName::Update => Operation::Update,
            OperationName::Delete => Operation::Delete,
            OperationName::Truncate => Operation::Truncate,
        }
    }
}

/// A field that is served.
pub(crate) struct Field {
    pub(crate) source: FieldSource,
    pub(crate) rules: FieldRules,
    pub(crate) resolver: Option<graphql::Resolver>,
    pub(crate) slow_client: Option<SlowClient>,
}

/// What a field's events are made from.
pub(crate) enum FieldSource {
    Table(Arc<Table>),
    Topic { name: String, public: bool },
}

impl Declaration {
    pub(crate) fn parse(json: &str) -> Result<Vec<Declaration>, Error> {
        serde_json::from_str(json).map_err(|error| Error::Declaration {
            code: "FIELDS_INVALID",
            message: format!("the declared fields are not what the engine expects: {error}"),
        })
    }

    /// The field of a watched table that is not declared, for an engine that serves those too.
    pub(crate) fn of_table(table: &Table) -> Self {
        let replica_identity = ReplicaIdentityChoice::Keep;
        Declaration { table: Some(quoted(&table.name)), replica_identity, ..Declaration::default() }
    }

    /// How the table is to be followed; `None` for a topic.
    pub(crate) fn watch_request(&self) -> Option<WatchRequest> {
        Some(WatchRequest {
            relation: self.table.clone()?,
            tenant_column: self.tenant.clone(),
            public: self.public,
            replica_identity: self.replica_identity,
        })
    }

    /// Finds the table that the declaration names.
    pub(crate) fn bind(&self, tables: &Tables) -> Result<(BoundField, Field), Error> {
        let table = self.table.as_deref().map(|name| tables.find(name).cloned()).transpose()?;
        let source = match (&table, &self.topic) {
            (Some(table), _) => FieldSource::Table(Arc::clone(table)),
            (None, topic) => FieldSource::Topic { name: topic.clone().unwrap_or_default(), public: self.public },
        };
        let field = Field {
            source,
            rules: FieldRules { service: self.service.clone(), scope: self.scope() },
            resolver: self.resolver.clone(),
            slow_client: self.slow_client,
        };
        Ok((BoundField { declaration: self.of_schema(), table }, field))
    }

    /// What the schema must know of it.
    fn of_schema(&self) -> graphql::Field {
        graphql::Field {
            name: self.name.clone(),
            table: self.table.clone(),
            topic: self.topic.clone(),
            service: self.service.clone(),
            resolver: self.resolver.clone(),
            transactions: self.transactions,
        }
    }

    fn scope(&self) -> FieldScope {
        let operations = self.operations.as_ref().map(|names| names.iter().map(|name| (*name).into()).collect());
        FieldScope { scopes: self.scopes.clone(), operations }
    }
}

fn quoted(name: &TableName) -> String {
    let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    format!("{}.{}", quote(&name.schema), quote(&name.name))
}

#[cfg(test)]
mod tests {
    use super::Declaration;

    #[test]
    fn a_key_that_nobody_knows_is_named() {
        for json in [
            r#"[{"table": "orders", "tenat": "tenant_id"}]"#,
            r#"[{"table": "orders", "resolver": {"index": 0, "tenat": 1}}]"#,
        ] {
            let error = Declaration::parse(json).unwrap_err();
            assert_eq!(error.code(), "FIELDS_INVALID");
            assert!(error.to_string().contains("`tenat`"), "{error}");
        }
    }

    #[test]
    fn only_changes_of_tables_are_operations_of_a_declaration() {
        assert!(Declaration::parse(r#"[{"table": "orders", "operations": ["INSERT", "TRUNCATE"]}]"#).is_ok());
        for operations in [r#"["MESSAGE"]"#, r#"["insert"]"#] {
            let json = format!(r#"[{{"table": "orders", "operations": {operations}}}]"#);
            assert!(Declaration::parse(&json).is_err(), "{json}");
        }
    }
}
