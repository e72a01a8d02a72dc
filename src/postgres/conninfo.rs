//! What to reach and as whom: a connection string and the `PG*` variables, by libpq's rules, resolved once.
//!
//! What comes in: `postgresql://…` or `key=value …`, or nothing. The string goes before the environment, the
//! environment before the defaults. What comes out cannot hold a mistake. A key that is not honoured is refused, unless
//! its value asks for what we do anyway; ignoring it could mean less security than was asked for. Passwords are in no
//! Debug, Display or error.

mod parameters;
mod pgpass;
mod surroundings;
mod syntax;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use parameters::Parameters;
use surroundings::{Machine, Surroundings};

use super::error::ConnectionError;
use super::tls::TlsSettings;

/// The server, the transport and the user of a connection.
#[derive(Clone, Debug)]
pub struct Conninfo {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) application_name: String,
    pub(crate) options: Option<String>,
    pub(crate) sslmode: SslMode,
    pub(crate) tls: TlsSettings,
    pub(crate) channel_binding: ChannelBinding,
    pub(crate) target: Target,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) keepalive: Keepalive,
}

/// One place to try; several are tried in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) password: Option<Secret>,
}

/// A name or a socket directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// `address` spares the look-up; the name is still what a certificate is checked against.
    Tcp {
        name: String,
        address: Option<IpAddr>,
    },
    Unix(PathBuf),
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// libpq's `sslmode`. Unix sockets are never encrypted, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server refuses a plain connection.
    Allow,
    /// TLS when the server has it; it protects from listeners, not from a false server.
    Prefer,
    /// TLS or nothing; the certificate is checked when root certificates are given.
    Require,
    /// TLS with a certificate that a root certificate vouches for.
    VerifyCa,
    /// The same, and it must be made out to the host's name.
    VerifyFull,
}

/// Which server of several will do (`target_session_attrs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A primary if there is one.
    Any,
    /// Nothing else.
    Primary,
}

/// Whether SCRAM has to be bound to the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// TCP's own liveness. The defaults find a peer that vanished in about a minute, where the kernel takes hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive {
    pub(crate) enabled: bool,
    pub(crate) idle: Duration,
    pub(crate) interval: Duration,
    pub(crate) count: u32,
    pub(crate) user_timeout: Option<Duration>,
}

impl Conninfo {
    /// Resolves a connection string (or none) with the environment of this process, as libpq would.
    pub fn resolve(url: Option<&str>) -> Result<Self, ConnectionError> {
        Self::resolve_in(url, &Machine)
    }

    fn resolve_in(url: Option<&str>, around: &dyn Surroundings) -> Result<Self, ConnectionError> {
        Parameters::gather(url.unwrap_or_default(), around)
            .and_then(|parameters| parameters.build(around))
            .map_err(|reason| ConnectionError::ConninfoInvalid { reason })
    }

    /// Where an endpoint is, for people.
    pub(crate) fn place(&self, endpoint: &Endpoint) -> String {
        format!("{endpoint}/{}", self.database)
    }
}

/// `user@host:port/database`, without secrets.
impl fmt::Display for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<String> = self.endpoints.iter().map(ToString::to_string).collect();
        write!(f, "{}@{}/{}", self.user, endpoints.join(","), self.database)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Unix(directory) => write!(f, "{}", socket_path(directory, self.port).display()),
            Host::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Tcp { name, .. } => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The name of the socket in its directory.
pub(crate) fn socket_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

impl FromStr for SslMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disable" => Ok(Self::Disable),
            "allow" => Ok(Self::Allow),
            "prefer" => Ok(Self::Prefer),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::VerifyCa),
            "verify-full" => Ok(Self::VerifyFull),
            _ => Err("sslmode is none of disable, allow, prefer, require, verify-ca, verify-full".to_owned()),
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

#[cfg(test)]
mod tests;
