//! The watched tables as the catalog describes them.
//!
//! Reading takes a client that may read `rowcast.tables`, and one query before seven queries in one snapshot, for any
//! number of tables. The result has:
//!
//! - only tables that the publication sends and whose tenant rule holds; `problems` gives the reason for the others;
//! - only columns that the stream carries;
//! - the access lists, the policies and the roles that they name.
//!
//! `pg_has_role` and `pg_get_expr` read the newest catalog instead of the snapshot. If their answer is too new, the next
//! check reads it again, because the [`Fingerprint`] comes from the snapshot and then differs.

mod access;
mod assemble;
mod coverage;
mod facts;
mod fingerprint;
mod lookup;
mod mode;
mod queries;
mod roles;
mod rows;
mod settings;
mod types;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio_postgres::Client;

use crate::graphql::Naming;
use crate::model::{Lsn, Roles, Seen, Table, TableName};
use crate::store::StoreError;

pub use coverage::Coverage;
pub use facts::{FACTS, Fact, Notice};
pub use fingerprint::Fingerprint;
pub use mode::CaptureMode;
pub use written::WrittenTable;

/// The tables that can be served, and what is wrong with the watched tables. Frozen: a change in the catalog makes a
/// new value.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// By `pg_class.oid`, as the stream's RELATION messages name them.
    pub by_oid: HashMap<u32, Arc<Table>>,
    /// What an operator should know, in the order of the tables' names.
    pub problems: Vec<TableProblem>,
    /// All roles of the cluster.
    pub roles: Arc<Roles>,
    /// Custom settings that policies name and that have a value for whoever sets none.
    pub setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
    /// Whose changes are certainly in all this; `None` of tables that were written down.
    pub seen: Option<Seen>,
    /// Since when the changes of each watched table are whole, served or not.
    pub coverage: HashMap<u32, Coverage>,
    /// To ask whether any of this has changed since.
    pub fingerprint: Fingerprint,
    by_name: BTreeMap<TableName, Arc<Table>>,
}

/// Something wrong with one watched table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableProblem {
    /// Which table.
    pub table: TableName,
    /// Stable: a word of `rowcast.tables.problems` in capitals, such as `NOT_PUBLISHED`, or `COLUMN_NOT_SENT`,
    /// `NAME_COLLISION` or `NO_COLUMNS`.
    pub code: String,
    /// What to do.
    pub hint: String,
    /// Whether the table is left out of [`Tables`] for it.
    pub unserved: bool,
}

/// The catalog could not be read, or a table cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// No such table is watched.
    #[error("table {0} is not watched: run select rowcast.watch('{0}'), then see rowcast.status()")]
    UnknownTable(String),
    /// The table is there and cannot be served.
    #[error("table {} cannot be served ({}): {}", .0.table, .0.code, .0.hint)]
    NotServed(Box<TableProblem>),
    /// The name without a schema fits several tables.
    #[error("table name {name} fits {first} and {second}: write the schema in front")]
    AmbiguousTable {
        /// As it was asked for.
        name: String,
        /// One table.
        first: TableName,
        /// Another.
        second: TableName,
    },
    /// A table was written down in a way that cannot be meant.
    #[error("table {table}: {problem}")]
    Written {
        /// Which.
        table: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The database refused.
    #[error("cannot read the watched tables: {0}")]
    Store(#[from] StoreError),
}

impl CatalogError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            CatalogError::UnknownTable(_) => "UNKNOWN_TABLE",
            CatalogError::NotServed(_) => "TABLE_NOT_SERVED",
            CatalogError::AmbiguousTable { .. } => "AMBIGUOUS_TABLE",
            CatalogError::Written { .. } => "TABLE_INVALID",
            CatalogError::Store(error) => error.code(),
        }
    }
}

impl From<tokio_postgres::Error> for CatalogError {
    fn from(error: tokio_postgres::Error) -> Self {
        CatalogError::Store(error.into())
    }
}

impl Tables {
    /// Read the catalog, with names in camelCase, for the replication stream.
    pub async fn load(client: &Client) -> Result<Tables, CatalogError> {
        Self::load_named(client, Naming::Camel, CaptureMode::Wal).await
    }

    /// The same, but what is equal in `before` (a table, the roles, the defaults) is that very value, so that nothing that
    /// was made from it need be made again.
    #[must_use]
    pub fn keeping(mut self, before: &Tables) -> Self {
        if self.roles == before.roles {
            self.roles = Arc::clone(&before.roles);
        }
        if self.setting_defaults == before.setting_defaults {
            self.setting_defaults = Arc::clone(&before.setting_defaults);
        }
        for table in self.by_oid.values_mut().chain(self.by_name.values_mut()) {
            if let Some(known) = before.by_oid.get(&table.oid).filter(|known| *known == table) {
                *table = Arc::clone(known);
            }
        }
        for (oid, coverage) in &mut self.coverage {
            if let Some(known) = before.coverage.get(oid) {
                *coverage = std::mem::take(coverage).keeping(known);
            }
        }
        self
    }

    /// The same, where these policies of a table do not mean what is stored.
    #[must_use]
    pub fn with_unbound(mut self, oid: u32, policies: &[Box<str>]) -> Self {
        let Some(table) = self.by_oid.get_mut(&oid).filter(|_| !policies.is_empty()) else { return self };
        for policy in &mut Arc::make_mut(table).access.policies {
            policy.unbound = policies.contains(&policy.name);
        }
        self.by_name.insert(table.name.clone(), Arc::clone(table));
        self
    }

    /// Since when every change of a table was captured.
    pub fn whole_since(&self, table: u32) -> Lsn {
        self.coverage.get(&table).map(|coverage| coverage.whole_since).unwrap_or_default()
    }

    /// Whether the database knows since when the changes of each table are whole, as they are captured now.
    pub fn is_noted(&self) -> bool {
        self.coverage.values().all(|coverage| coverage.is_noted)
    }

    /// Whether the publication leaves out changes of a watched table.
    pub fn leaves_out(&self) -> bool {
        let codes = ["NOT_PUBLISHED", "NOT_ALL_PUBLISHED", "ROW_FILTER"];
        self.problems.iter().any(|problem| codes.contains(&problem.code.as_str()))
    }

    /// Whether whoever was admitted by `before` is admitted to the same by these: every table, every role and every
    /// default is the same. Quick after [`keeping`](Self::keeping).
    pub fn decide_as(&self, before: &Tables) -> bool {
        self.roles == before.roles && self.setting_defaults == before.setting_defaults && self.by_oid == before.by_oid
    }

    /// Read the catalog, with names as `naming` makes them, for changes that are captured in this way.
    pub async fn load_named(client: &Client, naming: Naming, mode: CaptureMode) -> Result<Tables, CatalogError> {
        Self::load_with(client, naming, mode, &[]).await
    }

    /// The same as if the tables with these numbers were watched too. One of them that could not be served then is an
    /// error, so that a caller can find out before it watches them.
    pub async fn load_with(
        client: &Client,
        naming: Naming,
        mode: CaptureMode,
        planned: &[u32],
    ) -> Result<Tables, CatalogError> {
        assemble::tables(queries::read(client, planned).await?, naming, mode)
    }
}
