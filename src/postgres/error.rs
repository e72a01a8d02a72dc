//! Why a session with a server could not be opened, or broke. Each message says what happened, where, and what to do.
//!
//! Every variant has one stable code, and one exhaustive match decides whether a retry can help.

use std::fmt;
use std::io;
use std::sync::Arc;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

/// An `ErrorResponse` or `NoticeResponse`, in its fields (manual, section 55.8). DETAIL and HINT are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// `ERROR`, `FATAL`, `WARNING`, … in English whatever `lc_messages` says.
    pub severity: String,
    /// The five characters of the SQLSTATE.
    pub sqlstate: String,
    /// The primary message, in the server's language.
    pub message: String,
    /// DETAIL, when the server gave one.
    pub detail: Option<String>,
    /// HINT, when the server gave one.
    pub hint: Option<String>,
    /// The C function that raised it: the one field that names a notice reliably in every language.
    pub routine: Option<String>,
}

impl ServerError {
    /// Reads the fields. A malformed tail is ignored: half an error message is still worth reporting.
    pub(crate) fn read(mut fields: ErrorFields<'_>) -> Self {
        let mut error = Self::default();
        while let Ok(Some(field)) = fields.next() {
            let text = String::from_utf8_lossy(field.value_bytes()).into_owned();
            match field.type_() {
                b'V' => error.severity = text,
                b'S' if error.severity.is_empty() => error.severity = text,
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'R' => error.routine = Some(text),
                _ => {}
            }
        }
        error
    }

    /// PostgreSQL 18 tells a missing publication by this warning alone and goes on without its changes.
    pub(crate) fn tells_a_skipped_publication(&self) -> bool {
        self.severity == "WARNING"
            && (self.routine.as_deref() == Some("LoadPublications")
                || self.message.starts_with("skipped loading publication"))
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        // They are sentences, and what follows them is one of ours.
        self.detail.iter().try_for_each(|detail| write!(f, "; detail: {}", detail.trim_end_matches('.')))?;
        self.hint.iter().try_for_each(|hint| write!(f, "; hint: {}", hint.trim_end_matches('.')))
    }
}

/// Why a session could not be opened, or broke. `place` is `host:port/database` or the socket's path, never a password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The connection string or a `PG*` variable is not understood.
    #[error("the connection string is not valid: {reason}")]
    ConninfoInvalid {
        /// What is wrong with it; never its secrets.
        reason: String,
    },
    /// Nothing listens there, the name does not resolve, or no answer came in time.
    #[error("no PostgreSQL server answers at {place}: {source}. Is it running, and can this machine reach it?")]
    ServerUnreachable {
        /// Where it was looked for.
        place: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The server is there and is starting, stopping or recovering (57P01, 57P02, 57P03).
    #[error(
        "the server at {place} does not accept connections now: {server}. rowcast can connect when the server is up again."
    )]
    ServerUnavailable {
        /// Which server.
        place: String,
        /// What it said.
        server: Box<ServerError>,
    },
    /// The server is a standby, and only a primary can be captured from.
    #[error(
        "{place} is a standby, and rowcast can capture only from a primary. Connect to the primary, or promote this \
         server; a running engine waits for that."
    )]
    ServerIsStandby {
        /// Which server.
        place: String,
    },
    /// 28P01, 28000, or an authentication method that cannot be answered.
    #[error("authentication of {user:?} at {place} failed: {reason}. Check the user, the password and pg_hba.conf.")]
    AuthenticationFailed {
        /// Which server.
        place: String,
        /// The database role.
        user: String,
        /// What the server said, or what was missing.
        reason: String,
    },
    /// The TLS handshake or the check of a certificate failed, or a certificate file cannot be used.
    #[error("could not make a trusted TLS connection to {place}: {reason}")]
    TlsFailed {
        /// Which server.
        place: String,
        /// What was wrong, and with which file or certificate.
        reason: String,
    },
    /// `sslmode` demands TLS and the server has none.
    #[error(
        "{place} does not support TLS, and sslmode={sslmode} requires it. Turn on ssl at the server, or use sslmode=prefer."
    )]
    TlsRequired {
        /// Which server.
        place: String,
        /// The mode asked for.
        sslmode: String,
    },
    /// The role lacks REPLICATION, or a right on the slot (42501).
    #[error("role {user:?} may not replicate from {place}: {server}. Run ALTER ROLE … REPLICATION as a superuser.")]
    ReplicationNotPermitted {
        /// Which server.
        place: String,
        /// The database role.
        user: String,
        /// What the server said.
        server: Box<ServerError>,
    },
    /// Every walsender is taken (53300).
    #[error("{place} has no free walsender: {server}. Raise max_wal_senders or stop a standby that is not needed.")]
    SendersExhausted {
        /// Which server.
        place: String,
        /// What the server said.
        server: Box<ServerError>,
    },
    /// Every connection of the server, the database or the role is taken (53300).
    #[error("{place} has no free connection: {server}. Raise max_connections or use fewer.")]
    ConnectionsExhausted {
        /// Which server.
        place: String,
        /// What the server said.
        server: Box<ServerError>,
    },
    /// The database does not exist (3D000).
    #[error("database {database:?} does not exist at {place}. Create it, or correct the connection string.")]
    DatabaseMissing {
        /// Which server.
        place: String,
        /// The database.
        database: String,
    },
    /// The connection broke or fell silent.
    #[error("the connection to {place} was lost: {reason}")]
    ConnectionLost {
        /// Which server.
        place: String,
        /// How it was noticed.
        reason: String,
    },
    /// The peer sent what the protocol does not allow here. Is it a PostgreSQL server, or a pooler in front of one?
    #[error("{place} broke the replication protocol: {reason}. Connect to PostgreSQL itself, not to a pooler.")]
    ProtocolViolation {
        /// Which server.
        place: String,
        /// What came, and what was due.
        reason: String,
    },
    /// `PgBouncer` knows few startup parameters, and may give each transaction another session.
    #[error(
        "{place} is a connection pooler such as PgBouncer ({reason}). rowcast needs sessions of its own: connect to \
         PostgreSQL itself, by another port or host of ROWCAST_DATABASE_URL; the application may stay behind the pooler."
    )]
    PoolerBetween {
        /// Where the pooler is.
        place: String,
        /// How that was seen.
        reason: String,
    },
    /// Texts in this encoding may have bytes that are not valid characters.
    #[error(
        "the database at {place} has the encoding {encoding}, in which PostgreSQL stores bytes of any meaning, and rowcast \
         sends UTF-8. Move the data to a database with another encoding (create database … encoding 'UTF8' template template0)."
    )]
    EncodingNotSupported {
        /// Which server and database.
        place: String,
        /// Its encoding.
        encoding: String,
    },
    /// Any other error of the server.
    #[error("{place} reports: {server}")]
    Server {
        /// Which server.
        place: String,
        /// What it said.
        server: Box<ServerError>,
    },
}

impl ConnectionError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ConninfoInvalid { .. } => "CONNINFO_INVALID",
            Self::ServerUnreachable { .. } => "SERVER_UNREACHABLE",
            Self::ServerUnavailable { .. } => "SERVER_UNAVAILABLE",
            Self::ServerIsStandby { .. } => "SERVER_IS_STANDBY",
            Self::AuthenticationFailed { .. } => "AUTHENTICATION_FAILED",
            Self::TlsFailed { .. } => "TLS_FAILED",
            Self::TlsRequired { .. } => "TLS_REQUIRED",
            Self::ReplicationNotPermitted { .. } => "REPLICATION_NOT_PERMITTED",
            Self::SendersExhausted { .. } => "SENDERS_EXHAUSTED",
            Self::ConnectionsExhausted { .. } => "CONNECTIONS_EXHAUSTED",
            Self::DatabaseMissing { .. } => "DATABASE_MISSING",
            Self::ConnectionLost { .. } => "CONNECTION_LOST",
            Self::ProtocolViolation { .. } => "PROTOCOL_VIOLATION",
            Self::PoolerBetween { .. } => "POOLER_BETWEEN",
            Self::EncodingNotSupported { .. } => "ENCODING_NOT_SUPPORTED",
            Self::Server { .. } => "SERVER",
        }
    }

    /// Whether it may pass by itself. Narrow on purpose: an error that an operator must repair is reported at once.
    pub fn is_transient(&self) -> bool {
        match self {
            // The server is away, or a resource comes free by itself.
            Self::ServerUnreachable { .. }
            | Self::ServerUnavailable { .. }
            | Self::ServerIsStandby { .. }
            | Self::ConnectionLost { .. }
            | Self::SendersExhausted { .. }
            | Self::ConnectionsExhausted { .. } => true,
            // Connection exceptions, timeouts of transactions, deadlocks, lack of resources, operator intervention, system
            // errors such as a full disk.
            Self::Server { server, .. } => {
                ["08", "25P03", "25P04", "40", "53", "57", "58"].iter().any(|class| server.sqlstate.starts_with(class))
            }
            Self::ConninfoInvalid { .. }
            | Self::AuthenticationFailed { .. }
            | Self::TlsFailed { .. }
            | Self::TlsRequired { .. }
            | Self::ReplicationNotPermitted { .. }
            | Self::DatabaseMissing { .. }
            | Self::ProtocolViolation { .. }
            | Self::PoolerBetween { .. }
            | Self::EncodingNotSupported { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionError, ServerError};

    fn server(sqlstate: &str) -> ConnectionError {
        let server = Box::new(ServerError { sqlstate: sqlstate.to_owned(), ..ServerError::default() });
        ConnectionError::Server { place: "here".to_owned(), server }
    }

    #[test]
    fn an_error_that_passes_by_itself_is_transient_and_one_that_needs_a_person_is_not() {
        for sqlstate in ["08006", "25P03", "25P04", "40P01", "53100", "53200", "57014", "58030"] {
            assert!(server(sqlstate).is_transient(), "{sqlstate}");
        }
        for sqlstate in ["42601", "XX000", "55000", "0A000", ""] {
            assert!(!server(sqlstate).is_transient(), "{sqlstate}");
        }
    }

    #[test]
    fn a_skipped_publication_is_known_in_every_language() {
        let notice = |severity: &str, message: &str, routine: Option<&str>| ServerError {
            severity: severity.to_owned(),
            message: message.to_owned(),
            routine: routine.map(str::to_owned),
            ..ServerError::default()
        };
        assert!(notice("WARNING", "skipped loading publication \"p\"", None).tells_a_skipped_publication());
        assert!(notice("WARNING", "Publikation übersprungen", Some("LoadPublications")).tells_a_skipped_publication());
        assert!(!notice("NOTICE", "skipped loading publication", None).tells_a_skipped_publication());
    }
}
