//! What can go wrong between rowcast and its schema, sorted by who must act. The functions in `sql/` raise the SQLSTATEs
//! `RC…`.

use tokio_postgres::error::{DbError, SqlState};

/// An error of the store. `Display` says what was wrong and what to do; it never shows a row value.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database has migrations that this binary does not know.
    #[error(
        "the database is at schema version {database}, this rowcast knows {binary}: upgrade rowcast, or use the version \
         that migrated the database"
    )]
    SchemaNewer {
        /// The newest version in `rowcast.migration`.
        database: i32,
        /// The newest version that is embedded.
        binary: i32,
    },
    /// An applied migration is not the one that is embedded under its number.
    #[error("migration {applied} was applied to the database, but this rowcast has {embedded}: {remedy}", remedy = DIVERGENT_REMEDY)]
    SchemaDivergent {
        /// As `rowcast.migration` names it.
        applied: String,
        /// As it is embedded, or `none`.
        embedded: String,
    },
    /// Engines still run, or objects that are not rowcast's would be dropped; nothing was removed.
    #[error("rowcast was not removed from this database: {obstacles}")]
    UninstallBlocked {
        /// What has to end or go first, each with what to do.
        obstacles: String,
    },
    /// A migration failed; nothing of this run was kept.
    #[error("migration {name} failed and was rolled back: {source}")]
    MigrationFailed {
        /// Such as `V2__watch`.
        name: String,
        /// Why.
        #[source]
        source: Box<StoreError>,
    },
    /// Schema `rowcast`, or a function of it, is missing.
    #[error("the database has no rowcast schema, or an old one ({message}): run `rowcast migrate`")]
    NotMigrated {
        /// The server's message.
        message: String,
    },
    /// The role lacks a privilege.
    #[error("{message}. {remedy}")]
    PermissionDenied {
        /// The server's message, which names the object.
        message: String,
        /// The statement that grants it.
        remedy: String,
    },
    /// No such table.
    #[error("{message}. Check its name, its schema and the quotes around names with capitals")]
    UnknownTable {
        /// The server's message.
        message: String,
    },
    /// RC001 to RC006: `rowcast.watch` or `rowcast.publish` refuses its arguments.
    #[error("{message}. {hint}")]
    Refused {
        /// Which rule refuses.
        refusal: Refusal,
        /// What was wrong, with names.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The payload is not JSON.
    #[error("the payload is not valid JSON, as PostgreSQL's jsonb reads it (which also refuses \\u0000)")]
    InvalidJson,
    /// The lock was not obtained in time, or the server chose this transaction to resolve a deadlock.
    #[error("{message}. {hint}")]
    Locked {
        /// Which lock.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The session may not write: a standby, or a read-only transaction.
    #[error("{message}: connect to the primary with a session that may write")]
    ReadOnly {
        /// The server's message.
        message: String,
    },
    /// The connection is closed.
    #[error("the connection to PostgreSQL is lost: {0}")]
    ConnectionLost(#[source] tokio_postgres::Error),
    /// Any other error of the server.
    #[error("PostgreSQL refused with SQLSTATE {sqlstate}: {message}")]
    Database {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its primary message; the detail, which may quote rows, is left in the source.
        message: String,
        /// Everything else.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The answer was not of the expected form.
    #[error("unexpected answer from PostgreSQL: {0}")]
    Protocol(#[source] tokio_postgres::Error),
}

const DIVERGENT_REMEDY: &str = "a development version made this schema. Stop the engines, run `rowcast uninstall` and then \
    `rowcast migrate`, and watch the tables again; or use the version that made it";

/// Which rule of `rowcast.watch`, `rowcast.publish` or `rowcast.close_sessions` refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RC001: the relation is not a permanent, local, ordinary table.
    NotWatchable,
    /// RC002: the tenant column is missing or not in the stream.
    TenantColumn,
    /// RC003: published without a replica identity, UPDATE and DELETE would fail.
    NoReplicaIdentity,
    /// RC004: another member of the partition tree is watched.
    PartitionTree,
    /// RC005: an argument is missing, out of range or contradicts another.
    Argument,
    /// RC006: topic, tenant or payload is missing or too long.
    Message,
}

impl Refusal {
    fn from_sqlstate(sqlstate: &str) -> Option<Refusal> {
        Some(match sqlstate {
            "RC001" => Refusal::NotWatchable,
            "RC002" => Refusal::TenantColumn,
            "RC003" => Refusal::NoReplicaIdentity,
            "RC004" => Refusal::PartitionTree,
            "RC005" => Refusal::Argument,
            "RC006" => Refusal::Message,
            _ => return None,
        })
    }

    fn code(self) -> &'static str {
        match self {
            Refusal::NotWatchable => "NOT_WATCHABLE",
            Refusal::TenantColumn => "TENANT_COLUMN",
            Refusal::NoReplicaIdentity => "NO_REPLICA_IDENTITY",
            Refusal::PartitionTree => "PARTITION_TREE",
            Refusal::Argument => "INVALID_ARGUMENT",
            Refusal::Message => "INVALID_MESSAGE",
        }
    }
}

impl StoreError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::SchemaNewer { .. } => "SCHEMA_NEWER",
            StoreError::SchemaDivergent { .. } => "SCHEMA_DIVERGENT",
            StoreError::UninstallBlocked { .. } => "UNINSTALL_BLOCKED",
            StoreError::MigrationFailed { .. } => "MIGRATION_FAILED",
            StoreError::NotMigrated { .. } => "NOT_MIGRATED",
            StoreError::PermissionDenied { .. } => "PERMISSION_DENIED",
            StoreError::UnknownTable { .. } => "UNKNOWN_TABLE",
            StoreError::Refused { refusal, .. } => refusal.code(),
            StoreError::InvalidJson => "INVALID_JSON",
            StoreError::Locked { .. } => "LOCKED",
            StoreError::ReadOnly { .. } => "READ_ONLY",
            StoreError::ConnectionLost(_) => "CONNECTION_LOST",
            StoreError::Database { .. } => "DATABASE_ERROR",
            StoreError::Protocol(_) => "PROTOCOL_ERROR",
        }
    }

    /// Whether something was in use.
    pub(super) fn is_locked(&self) -> bool {
        match self {
            StoreError::MigrationFailed { source, .. } => source.is_locked(),
            error => matches!(error, StoreError::Locked { .. }),
        }
    }

    /// Whether the same call may succeed later without anybody acting.
    pub fn is_transient(&self) -> bool {
        match self {
            StoreError::Locked { .. } | StoreError::ConnectionLost(_) => true,
            StoreError::MigrationFailed { source, .. } => source.is_transient(),
            StoreError::SchemaNewer { .. }
            | StoreError::SchemaDivergent { .. }
            | StoreError::UninstallBlocked { .. }
            | StoreError::NotMigrated { .. }
            | StoreError::PermissionDenied { .. }
            | StoreError::UnknownTable { .. }
            | StoreError::Refused { .. }
            | StoreError::InvalidJson
            | StoreError::ReadOnly { .. }
            | StoreError::Database { .. }
            | StoreError::Protocol(_) => false,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error().and_then(known) {
            Some(known) => known,
            None => unknown(error),
        }
    }
}

fn known(db: &DbError) -> Option<StoreError> {
    let message = || db.message().to_owned();
    let hint = |otherwise: &str| db.hint().unwrap_or(otherwise).to_owned();
    let code = db.code();
    if let Some(refusal) = Refusal::from_sqlstate(code.code()) {
        return Some(StoreError::Refused { refusal, message: message(), hint: hint("See rowcast.watch") });
    }
    Some(match code {
        code if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            StoreError::PermissionDenied { remedy: hint(&remedy(db.message())), message: message() }
        }
        code if missing(code) && ours(db.message()) => StoreError::NotMigrated { message: message() },
        code if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME => {
            StoreError::UnknownTable { message: message() }
        }
        code if *code == SqlState::LOCK_NOT_AVAILABLE || *code == SqlState::T_R_DEADLOCK_DETECTED => {
            StoreError::Locked { message: message(), hint: hint("Call again later") }
        }
        code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::ReadOnly { message: message() },
        code if *code == SqlState::INVALID_TEXT_REPRESENTATION || *code == SqlState::UNTRANSLATABLE_CHARACTER => {
            StoreError::InvalidJson
        }
        _ => return None,
    })
}

/// A table of the user may well be called `rowcast_orders`.
fn ours(message: &str) -> bool {
    message.contains("rowcast.") || message.contains("schema \"rowcast\"")
}

fn missing(code: &SqlState) -> bool {
    [SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION].contains(code)
}

/// The server says what it refused, seldom what would change its mind.
fn remedy(message: &str) -> String {
    let statement = if message.contains("for database") {
        "grant create on database <database> to <role>"
    } else if message.contains("must be owner") {
        "grant <the owner's role> to <role>, or connect as the owner"
    } else {
        "select rowcast.grant_engine('<role>') for an engine, select rowcast.grant_publisher('<role>') or \
         rowcast.grant_revoker('<role>') for an application"
    };
    format!("As the owner of rowcast, run: {statement}")
}

fn unknown(error: tokio_postgres::Error) -> StoreError {
    match error.as_db_error() {
        // Class 57P: the server ends the session (shutdown, crash, termination).
        Some(db) if db.code().code().starts_with("57P") => StoreError::ConnectionLost(error),
        Some(db) => StoreError::Database {
            sqlstate: db.code().code().to_owned(),
            message: db.message().to_owned(),
            source: error,
        },
        None if error.is_closed() || is_io(&error) => StoreError::ConnectionLost(error),
        None => StoreError::Protocol(error),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}
