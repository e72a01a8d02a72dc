//! Everything that can go wrong at the engine's rim, with a stable code and the kind that decides what is done about it.

use crate::capture::CaptureError;
use crate::catalog::CatalogError;
use crate::config::ConfigError;
use crate::failure::Failure;
use crate::graphql::SchemaError;
use crate::postgres::{ConnectionError, hidden_error};
use crate::store::StoreError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings or declarations make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A declaration that cannot be met by this database.
    #[error("{message}")]
    Declaration {
        /// Stable.
        code: &'static str,
        /// What is wrong and what to do.
        message: String,
    },
    /// The server cannot be reached or cannot stream.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A session with the server could not be opened, or broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// `watch`, `unwatch`, `status` or `uninstall` failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The migrations could not be read or applied.
    #[error(transparent)]
    Migrate(StoreError),
    /// A manual publication failed.
    #[error(transparent)]
    Publish(StoreError),
    /// No session came free in time, or a session of the pool is broken.
    #[error("could not get a database connection: {0}")]
    Pool(deadpool_postgres::PoolError),
    /// The pool of sessions could not be made.
    #[error("could not create the database connection pool: {0}")]
    PoolBuild(#[from] deadpool_postgres::BuildError),
    /// No GraphQL schema can be made.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A request was refused; the errors are as a GraphQL response has them.
    #[error("{0}")]
    Request(Failure),
    /// A pulled subscription ended.
    #[error("the subscription ended: {message}")]
    Ended {
        /// Stable.
        code: &'static str,
        /// Why.
        message: String,
    },
    /// Too many connections of one address.
    #[error("too many connections from one address: try again in {retry_after_s} s")]
    RateLimited {
        /// Whole seconds after which it is worth to try again.
        retry_after_s: u64,
    },
    /// The engine is not running.
    #[error("the engine is not running: start the manager first (its lifespan, `async with manager`, or start())")]
    NotStarted,
    /// The engine ran already.
    #[error("the engine was already started: create a new manager to start again")]
    StartedBefore,
    /// The operating system refused threads or descriptors.
    #[error("the operating system refused: {0}")]
    Io(#[from] std::io::Error),
}

/// What an error is about; each has one Python exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Settings and declarations.
    Configuration,
    /// Reaching the server.
    Connection,
    /// Signing in.
    Authentication,
    /// Slot, publication, stream.
    Capture,
    /// Migrations, or the lack of them.
    Migration,
    /// What the database refused beyond that.
    Database,
    /// The GraphQL schema.
    Schema,
    /// Manual publication.
    Publish,
    /// A GraphQL request.
    Request,
    /// The end of a subscription.
    Ended,
    /// Too much at once.
    RateLimited,
    /// The engine's own life.
    NotStarted,
}

impl Error {
    /// What it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Config(_) | Error::Declaration { .. } | Error::StartedBefore | Error::Io(_) => Kind::Configuration,
            Error::Connection(error) | Error::Capture(CaptureError::Connection(error)) => kind_of_connection(error),
            Error::Pool(_) | Error::PoolBuild(_) | Error::Migrate(StoreError::ConnectionLost(_)) => Kind::Connection,
            Error::Publish(_) => Kind::Publish,
            Error::Capture(_) => Kind::Capture,
            Error::Store(error) => kind_of_store(error),
            Error::Migrate(_) => Kind::Migration,
            Error::Catalog(_) | Error::Schema(_) => Kind::Schema,
            Error::Request(_) => Kind::Request,
            Error::Ended { .. } => Kind::Ended,
            Error::RateLimited { .. } => Kind::RateLimited,
            Error::NotStarted => Kind::NotStarted,
        }
    }

    /// Stable, in upper case.
    pub fn code(&self) -> &str {
        match self {
            Error::Config(_) => "SETTINGS_INVALID",
            Error::Declaration { code, .. } | Error::Ended { code, .. } => code,
            Error::Connection(error) => error.code(),
            Error::Capture(error) => error.code(),
            Error::Catalog(error) => error.code(),
            Error::Store(error) | Error::Migrate(error) | Error::Publish(error) => error.code(),
            Error::Pool(_) | Error::PoolBuild(_) => "NO_SESSION",
            Error::Schema(error) => error.code(),
            Error::Request(failure) => failure.code(),
            Error::RateLimited { .. } => "RATE_LIMITED",
            Error::NotStarted => "NOT_STARTED",
            Error::StartedBefore => "STARTED_BEFORE",
            Error::Io(_) => "OS_ERROR",
        }
    }
}

/// What `watch` refuses is a declaration's fault; what lacks its schema needs a migration.
fn kind_of_store(error: &StoreError) -> Kind {
    match error {
        StoreError::UnknownTable { .. } | StoreError::Refused { .. } => Kind::Configuration,
        StoreError::SchemaNewer { .. }
        | StoreError::SchemaDivergent { .. }
        | StoreError::MigrationFailed { .. }
        | StoreError::NotMigrated { .. } => Kind::Migration,
        StoreError::ConnectionLost(_) => Kind::Connection,
        StoreError::UninstallBlocked { .. }
        | StoreError::PermissionDenied { .. }
        | StoreError::InvalidJson
        | StoreError::Locked { .. }
        | StoreError::ReadOnly { .. }
        | StoreError::Database { .. }
        | StoreError::Protocol(_) => Kind::Database,
    }
}

/// Reaching the server, as opposed to what it can do.
fn kind_of_connection(error: &ConnectionError) -> Kind {
    match error {
        ConnectionError::AuthenticationFailed { .. } => Kind::Authentication,
        ConnectionError::ConninfoInvalid { .. }
        | ConnectionError::ServerUnreachable { .. }
        | ConnectionError::ServerUnavailable { .. }
        | ConnectionError::TlsFailed { .. }
        | ConnectionError::TlsRequired { .. }
        | ConnectionError::ConnectionsExhausted { .. }
        | ConnectionError::DatabaseMissing { .. }
        | ConnectionError::PoolerBetween { .. }
        | ConnectionError::EncodingNotSupported { .. } => Kind::Connection,
        ConnectionError::ServerIsStandby { .. }
        | ConnectionError::ReplicationNotPermitted { .. }
        | ConnectionError::SendersExhausted { .. }
        | ConnectionError::ConnectionLost { .. }
        | ConnectionError::ProtocolViolation { .. }
        | ConnectionError::Server { .. } => Kind::Capture,
    }
}

impl From<deadpool_postgres::PoolError> for Error {
    /// A connection failure is reported as the same error with and without a pool.
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match &error {
            deadpool_postgres::PoolError::Backend(opening) => match hidden_error(opening) {
                Some(reason) => Error::Connection(reason.clone()),
                None => Error::Pool(error),
            },
            _ => Error::Pool(error),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Request(failure)
    }
}
