//! Why a question could not be asked, as opposed to what it says of an image.

use tokio_postgres::error::{Severity, SqlState};

/// The question itself failed. The server's message is left out: it may quote a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The engine could not get a session.
    #[error("could not get a database session for row policies: {reason}")]
    NoSession {
        /// What went wrong; without secrets.
        reason: String,
    },
    /// The session ended before the answer came.
    #[error("the session for row policies was lost: {reason}")]
    ConnectionLost {
        /// What is known of it.
        reason: String,
    },
    /// The server has no room, or chose this transaction to end a deadlock.
    #[error("the server could not answer now (SQLSTATE {sqlstate})")]
    Busy {
        /// The SQLSTATE.
        sqlstate: Box<str>,
    },
    /// `set role` was refused.
    #[error("role {role:?} cannot be set (SQLSTATE {sqlstate}): grant it to the user that rowcast connects as")]
    RoleRefused {
        /// Its name.
        role: Box<str>,
        /// The SQLSTATE.
        sqlstate: Box<str>,
    },
    /// A setting's name or value was refused.
    #[error(
        "a setting of the principal was refused (SQLSTATE {sqlstate}): names must have a prefix, such as app.user_id"
    )]
    SettingRefused {
        /// The SQLSTATE.
        sqlstate: Box<str>,
    },
    /// What PostgreSQL would evaluate is not what the stored policies say.
    #[error("the row policies of {table} cannot be bound as they are stored for role {role:?}: {reason}")]
    Unbound {
        /// The table.
        table: String,
        /// As whom.
        role: Box<str>,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// PostgreSQL parsed the statement again before each evaluation, after its meaning was compared.
    #[error(
        "the row policies of {table} cannot be evaluated for role {role:?}: PostgreSQL parses them again before each \
         evaluation, as it does after each change of an operator, a type or a function; find what keeps changing them, \
         in temporary schemas as well"
    )]
    Unsettled {
        /// The table.
        table: String,
        /// As whom.
        role: Box<str>,
    },
    /// The condition cannot be evaluated on any row: something that it names is gone or forbidden.
    #[error("the row policies of {table} cannot be evaluated as role {role:?} (SQLSTATE {sqlstate})")]
    Unanswerable {
        /// The table.
        table: String,
        /// As whom.
        role: Box<str>,
        /// The SQLSTATE.
        sqlstate: Box<str>,
    },
}

impl ProbeError {
    /// Stable, in upper case.
    pub fn code(&self) -> &'static str {
        match self {
            ProbeError::NoSession { .. } => "NO_SESSION",
            ProbeError::ConnectionLost { .. } => "CONNECTION_LOST",
            ProbeError::Busy { .. } => "SERVER_BUSY",
            ProbeError::RoleRefused { .. } => "ROLE_REFUSED",
            ProbeError::SettingRefused { .. } => "SETTING_REFUSED",
            ProbeError::Unbound { .. } => "POLICY_UNBOUND",
            ProbeError::Unsettled { .. } => "POLICY_UNSETTLED",
            ProbeError::Unanswerable { .. } => "POLICY_UNANSWERABLE",
        }
    }

    /// Whether the same question may be answered a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            ProbeError::NoSession { .. }
            | ProbeError::ConnectionLost { .. }
            | ProbeError::Busy { .. }
            | ProbeError::Unsettled { .. } => true,
            ProbeError::RoleRefused { .. }
            | ProbeError::SettingRefused { .. }
            | ProbeError::Unbound { .. }
            | ProbeError::Unanswerable { .. } => false,
        }
    }
}

/// What went wrong with one statement.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The session is of no use any more.
    Lost(String),
    /// The call's time was over.
    Unanswered,
    /// The server's time limit for one statement.
    TimedOut,
    /// Out of memory or a deadlock: not caused by the question.
    Busy(Box<str>),
    /// `set role`.
    Role(Box<str>),
    /// A setting.
    Setting(Box<str>),
    /// The statement was parsed again since its meaning was compared.
    Stale,
    /// It does not mean what is stored.
    Unbound(&'static str),
    /// The condition cannot even be parsed.
    Condition(Box<str>),
    /// The condition raised.
    Raised(Box<str>),
}

impl Trouble {
    /// What an error means, where one of the statement's own would be `otherwise`.
    pub(super) fn of(error: &tokio_postgres::Error, otherwise: impl FnOnce(Box<str>) -> Self) -> Self {
        let Some(server) = error.as_db_error() else { return Trouble::Lost(plain(error)) };
        let code = server.code().code();
        let severe = matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
        match code {
            _ if severe => Trouble::Lost(format!("SQLSTATE {code}")),
            _ if *server.code() == SqlState::QUERY_CANCELED => Trouble::TimedOut,
            // Connection exceptions, insufficient resources, transaction rollback, system errors.
            _ if ["08", "40", "53", "58"].iter().any(|class| code.starts_with(class)) => Trouble::Busy(code.into()),
            _ => otherwise(code.into()),
        }
    }
}

/// What the driver or the operating system says, which knows no values.
fn plain(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

impl From<tokio_postgres::Error> for ProbeError {
    /// An error while a session is opened. What the server says then names the user and the database, no values.
    fn from(error: tokio_postgres::Error) -> Self {
        ProbeError::NoSession { reason: plain(&error) }
    }
}
