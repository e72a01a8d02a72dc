//! The first messages of a session: the user, the authentication, and the settings for the server's output.
//!
//! SCRAM-SHA-256 (bound to the TLS connection when the server offers that), MD5 and clear passwords are answered. The
//! server has to prove in return that it knows the password, when SCRAM is spoken.

use std::time::Duration;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::{md5_hash, sasl};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::link::{Link, ReplicationSession};
use crate::capture::wire::{Frames, Incoming};
use crate::postgres::{
    ChannelBinding, ConnectionError, Conninfo, Endpoint, Found, LATER, STARTUP, ServerError, Stream, check_encoding,
};

/// Beside what every session pins: the walsender prints values by its session's settings.
const REPLICATION: [(&str, &str); 3] =
    [("replication", "database"), ("client_encoding", "UTF8"), ("search_path", "pg_catalog, pg_temp")];

/// Connects in replication mode and authenticates.
pub(super) async fn connect(info: &Conninfo, usual_timeout: Duration) -> Result<Link, ConnectionError> {
    let patience = info.connect_timeout.unwrap_or(usual_timeout);
    info.establish(usual_timeout, |stream, endpoint| start(info, endpoint, stream, patience)).await
}

async fn start(
    info: &Conninfo,
    at: &Endpoint,
    stream: Stream,
    patience: Duration,
) -> Result<Found<Link>, ConnectionError> {
    let session =
        ReplicationSession { place: info.place(at), user: info.user.clone(), database: info.database.clone() };
    let mut link = Link {
        stream,
        frames: Frames::default(),
        session,
        version: String::new(),
        endpoint: at.clone(),
        key: None,
        patience,
    };
    let mut out = BytesMut::new();
    let own =
        [("user", info.user.as_str()), ("database", &info.database), ("application_name", &info.application_name)];
    let options = info.options.as_deref().map(|options| ("options", options));
    let parameters = own.into_iter().chain(options).chain(REPLICATION).chain(STARTUP);
    frontend::startup_message(parameters, &mut out).map_err(|error| link.session.violation(error.to_string()))?;
    link.send(&out).await?;
    Login { info, password: at.password.as_ref().map(|secret| secret.0.as_str()), link: &mut link }.run().await?;
    let is_standby = link.become_ready().await?;
    link.pin().await?;
    Ok(Found { session: link, is_standby })
}

impl Link {
    /// Whether it is a standby.
    async fn become_ready(&mut self) -> Result<bool, ConnectionError> {
        let mut is_standby = false;
        loop {
            match self.receive().await? {
                Incoming::Other(Message::ParameterStatus(status)) => {
                    let value = status.value().unwrap_or_default();
                    match status.name().unwrap_or_default() {
                        "server_version" => value.clone_into(&mut self.version),
                        "server_encoding" => check_encoding(&self.session.place, Some(value))?,
                        "in_hot_standby" => is_standby = value == "on",
                        _ => {}
                    }
                }
                Incoming::Other(Message::BackendKeyData(key)) => self.key = Some((key.process_id(), key.secret_key())),
                Incoming::Other(Message::ReadyForQuery(_)) => return Ok(is_standby),
                other => self.session.expect_chatter(other)?,
            }
        }
    }

    async fn pin(&mut self) -> Result<(), ConnectionError> {
        match self.query(LATER).await?.last().and_then(|row| row.first()?.as_deref()) {
            Some("on") => Ok(()),
            _ => Err(ConnectionError::PoolerBetween {
                place: self.session.place.clone(),
                reason: "it drops startup parameters".to_owned(),
            }),
        }
    }
}

impl ReplicationSession {
    /// Messages that may come at any time; an error ends what we were about.
    fn expect_chatter(&self, incoming: Incoming) -> Result<(), ConnectionError> {
        match incoming {
            Incoming::Other(Message::ErrorResponse(body)) => Err(self.refused(ServerError::read(body.fields()))),
            Incoming::Other(Message::NoticeResponse(_) | Message::ParameterStatus(_)) => Ok(()),
            _ => Err(self.violation("an unexpected message came before the session was ready".to_owned())),
        }
    }

    fn unauthenticated(&self, reason: impl Into<String>) -> ConnectionError {
        ConnectionError::AuthenticationFailed {
            place: self.place.clone(),
            user: self.user.clone(),
            reason: reason.into(),
        }
    }
}

/// The exchange until `AuthenticationOk`.
struct Login<'a> {
    info: &'a Conninfo,
    password: Option<&'a str>,
    link: &'a mut Link,
}

impl Login<'_> {
    async fn run(mut self) -> Result<(), ConnectionError> {
        let mut bound = false;
        loop {
            match self.link.receive().await? {
                Incoming::Other(Message::AuthenticationOk) if bound => return Ok(()),
                Incoming::Other(Message::AuthenticationOk) => return self.check_unbound(),
                Incoming::Other(Message::AuthenticationCleartextPassword) => {
                    self.check_unbound()?;
                    self.send_password(self.password()?.as_bytes().to_vec()).await?;
                }
                Incoming::Other(Message::AuthenticationMd5Password(body)) => {
                    self.check_unbound()?;
                    let hash = md5_hash(self.info.user.as_bytes(), self.password()?.as_bytes(), body.salt());
                    self.send_password(hash.into_bytes()).await?;
                }
                Incoming::Other(Message::AuthenticationSasl(body)) => bound = self.scram(&body).await?,
                Incoming::Other(
                    Message::AuthenticationGss
                    | Message::AuthenticationSspi
                    | Message::AuthenticationKerberosV5
                    | Message::AuthenticationScmCredential,
                ) => {
                    return Err(self
                        .link
                        .session
                        .unauthenticated("it asks for GSSAPI, SSPI or Kerberos, not a password"));
                }
                other => self.link.session.expect_chatter(other)?,
            }
        }
    }

    fn password(&self) -> Result<&str, ConnectionError> {
        let missing = "it asks for a password and none is given (connection string, PGPASSWORD or ~/.pgpass)";
        self.password.ok_or_else(|| self.link.session.unauthenticated(missing))
    }

    /// `channel_binding=require` is not satisfied by anything that a server in the middle could pass on.
    fn check_unbound(&self) -> Result<(), ConnectionError> {
        match self.info.channel_binding {
            ChannelBinding::Disable | ChannelBinding::Prefer => Ok(()),
            ChannelBinding::Require => Err(self.link.session.unauthenticated(
                "channel_binding=require, and the server did not bind the authentication to a TLS connection",
            )),
        }
    }

    async fn send_password(&mut self, mut password: Vec<u8>) -> Result<(), ConnectionError> {
        password.retain(|byte| *byte != 0);
        let mut out = BytesMut::new();
        frontend::password_message(&password, &mut out).map_err(|error| self.link.session.broken(&error))?;
        self.link.send(&out).await
    }

    /// Returns whether the exchange was bound to the TLS connection.
    async fn scram(&mut self, offered: &AuthenticationSaslBody) -> Result<bool, ConnectionError> {
        let (mechanism, binding, bound) = self.choose(offered)?;
        let mut exchange = sasl::ScramSha256::new(self.password()?.as_bytes(), binding);
        let mut out = BytesMut::new();
        frontend::sasl_initial_response(mechanism, exchange.message(), &mut out)
            .map_err(|error| self.link.session.broken(&error))?;
        self.link.send(&out).await?;
        let refused = |link: &Link, error: &std::io::Error| link.session.unauthenticated(format!("SCRAM: {error}"));
        loop {
            match self.link.receive().await? {
                Incoming::Other(Message::AuthenticationSaslContinue(body)) => {
                    exchange.update(body.data()).map_err(|error| refused(self.link, &error))?;
                    out.clear();
                    frontend::sasl_response(exchange.message(), &mut out)
                        .map_err(|error| self.link.session.broken(&error))?;
                    self.link.send(&out).await?;
                }
                Incoming::Other(Message::AuthenticationSaslFinal(body)) => {
                    exchange.finish(body.data()).map_err(|error| refused(self.link, &error))?;
                    return Ok(bound);
                }
                other => self.link.session.expect_chatter(other)?,
            }
        }
    }

    fn choose(
        &self,
        offered: &AuthenticationSaslBody,
    ) -> Result<(&'static str, sasl::ChannelBinding, bool), ConnectionError> {
        let mechanisms: Vec<&str> = offered.mechanisms().collect().unwrap_or_default();
        let channel = self.link.stream.channel.clone();
        let channel = channel.filter(|_| self.info.channel_binding != ChannelBinding::Disable);
        match channel {
            Some(hash) if mechanisms.contains(&sasl::SCRAM_SHA_256_PLUS) => {
                Ok((sasl::SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash), true))
            }
            channel if mechanisms.contains(&sasl::SCRAM_SHA_256) => {
                self.check_unbound()?;
                // "Unrequested" says that we could have: a server that could too then knows of a forged offer.
                let binding =
                    channel.map_or_else(sasl::ChannelBinding::unsupported, |_| sasl::ChannelBinding::unrequested());
                Ok((sasl::SCRAM_SHA_256, binding, false))
            }
            _ => Err(self.link.session.unauthenticated(format!("it offers only {}", mechanisms.join(", ")))),
        }
    }
}
