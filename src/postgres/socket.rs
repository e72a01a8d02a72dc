//! A byte stream to the server: TCP or a Unix socket, in TLS when that was agreed, and the order in which places and
//! kinds of encryption are tried.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::certificate::Certificate;
use super::conninfo::{Conninfo, Endpoint, Host, SslMode, Target, socket_path};
use super::error::ConnectionError;
use super::tls::{self, Check, Roots};

/// Everything the layers above want of a stream.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection, before the first message of PostgreSQL's own protocol.
pub(crate) struct Stream {
    io: Box<dyn Io>,
    /// What SCRAM can be bound to: the hash of the server's certificate.
    pub(crate) channel: Option<Vec<u8>>,
}

/// How one attempt treats encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Plain,
    TlsIfOffered,
    Tls,
}

impl SslMode {
    /// The attempts of libpq, in its order.
    fn attempts(self) -> &'static [Attempt] {
        match self {
            Self::Disable => &[Attempt::Plain],
            Self::Allow => &[Attempt::Plain, Attempt::Tls],
            Self::Prefer => &[Attempt::TlsIfOffered, Attempt::Plain],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[Attempt::Tls],
        }
    }

    /// Root certificates turn `require` into verify-ca, as in libpq.
    fn check(self, roots: &Roots) -> Check {
        match self {
            Self::VerifyFull => Check::ChainAndName,
            Self::VerifyCa => Check::Chain,
            Self::Require if *roots != Roots::None => Check::Chain,
            Self::Disable | Self::Allow | Self::Prefer | Self::Require => Check::Nothing,
        }
    }
}

impl Conninfo {
    /// Tries each place and each kind of encryption until `open` succeeds on a stream of a primary. Where there is none, a
    /// standby will do if `target` allows it; else what one said that refused us is more to the point than that another could
    /// not be reached.
    pub(crate) async fn establish<'a, T, Opening>(
        &'a self,
        usual_timeout: Duration,
        open: impl Fn(Stream, &'a Endpoint) -> Opening,
    ) -> Result<T, ConnectionError>
    where
        Opening: Future<Output = Result<Found<T>, ConnectionError>>,
    {
        let (mut refusal, mut last, mut standby) = (None, None, None);
        for endpoint in &self.endpoints {
            match self.establish_at(endpoint, self.connect_timeout.unwrap_or(usual_timeout), &open).await {
                Err(error) if gives_way(&error) => last = Some(error),
                Err(error) => refusal = refusal.or(Some(error)),
                Ok(Found { session, is_standby: false }) => return Ok(session),
                Ok(Found { session, .. }) if self.target == Target::Any => standby = standby.or(Some(session)),
                Ok(_) => last = Some(ConnectionError::ServerIsStandby { place: self.place(endpoint) }),
            }
        }
        let reason = || ConnectionError::ConninfoInvalid { reason: "it names no host".to_owned() };
        standby.ok_or_else(|| refusal.or(last).unwrap_or_else(reason))
    }

    async fn establish_at<'a, T, Opening>(
        &'a self,
        endpoint: &'a Endpoint,
        limit: Duration,
        open: &impl Fn(Stream, &'a Endpoint) -> Opening,
    ) -> Result<Found<T>, ConnectionError>
    where
        Opening: Future<Output = Result<Found<T>, ConnectionError>>,
    {
        let attempts = match endpoint.host {
            Host::Tcp { .. } => self.sslmode.attempts(),
            Host::Unix(_) => &[Attempt::Plain],
        };
        let mut refusal = None;
        for attempt in attempts {
            let opening = async { open(self.dial(endpoint, *attempt).await?, endpoint).await };
            let error = match tokio::time::timeout(limit, opening).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => error,
                Err(_) => self.unreachable(endpoint, silence(limit)),
            };
            let is_refusal =
                matches!(error, ConnectionError::AuthenticationFailed { .. } | ConnectionError::TlsFailed { .. });
            match (error, refusal.take()) {
                // `allow` came here because the plain attempt was refused; the missing TLS does not explain that.
                (ConnectionError::TlsRequired { .. }, Some(earlier)) => return Err(earlier),
                (error, _) if is_refusal => refusal = Some(error),
                (error, _) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| self.unreachable(endpoint, silence(limit))))
    }

    async fn dial(&self, endpoint: &Endpoint, attempt: Attempt) -> Result<Stream, ConnectionError> {
        let unreachable = |error| self.unreachable(endpoint, error);
        match &endpoint.host {
            Host::Unix(directory) => {
                let socket = UnixStream::connect(socket_path(directory, endpoint.port)).await.map_err(unreachable)?;
                Ok(Stream { io: Box::new(socket), channel: None })
            }
            Host::Tcp { name, address } => {
                let socket = match address {
                    Some(address) => TcpStream::connect((*address, endpoint.port)).await,
                    None => TcpStream::connect((name.as_str(), endpoint.port)).await,
                };
                let socket = socket.map_err(unreachable)?;
                self.tune(&socket).map_err(unreachable)?;
                self.encrypt(socket, endpoint, name, attempt).await
            }
        }
    }

    /// No delay for small status updates; a peer that vanished is noticed by the kernel.
    fn tune(&self, socket: &TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let (socket, wanted) = (SockRef::from(socket), &self.keepalive);
        if wanted.enabled {
            let keepalive = TcpKeepalive::new().with_time(wanted.idle).with_interval(wanted.interval);
            socket.set_tcp_keepalive(&keepalive.with_retries(wanted.count))?;
        }
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(wanted.user_timeout)?;
        Ok(())
    }

    async fn encrypt(
        &self,
        mut socket: TcpStream,
        endpoint: &Endpoint,
        name: &str,
        attempt: Attempt,
    ) -> Result<Stream, ConnectionError> {
        if attempt == Attempt::Plain {
            return Ok(Stream { io: Box::new(socket), channel: None });
        }
        let lost = |error: io::Error| self.lost(endpoint, &error);
        match (ask_for_tls(&mut socket).await.map_err(lost)?, attempt) {
            (b'S', _) => self.handshake(socket, endpoint, name).await,
            (b'N', Attempt::TlsIfOffered) => Ok(Stream { io: Box::new(socket), channel: None }),
            (b'N', _) => {
                Err(ConnectionError::TlsRequired { place: self.place(endpoint), sslmode: self.sslmode.to_string() })
            }
            (other, _) => Err(ConnectionError::ProtocolViolation {
                place: self.place(endpoint),
                reason: format!("the byte {other:#04x} came in answer to the request for TLS"),
            }),
        }
    }

    async fn handshake(&self, socket: TcpStream, endpoint: &Endpoint, name: &str) -> Result<Stream, ConnectionError> {
        let failed = |reason: String| ConnectionError::TlsFailed { place: self.place(endpoint), reason };
        let check = self.sslmode.check(&self.tls.roots);
        let server = match ServerName::try_from(name.to_owned()) {
            Ok(server) => server,
            Err(_) if check != Check::ChainAndName => {
                ServerName::IpAddress(socket.peer_addr().map_err(|error| self.lost(endpoint, &error))?.ip().into())
            }
            Err(_) => return Err(failed(format!("{name:?} is not a name that a certificate can be made out to"))),
        };
        let connector = tls::connector(&self.tls, check).map_err(failed)?;
        let stream = connector.connect(server, socket).await.map_err(|error| match tls_reason(&error) {
            Some(reason) => failed(reason),
            None => self.lost(endpoint, &error),
        })?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let channel = leaf.and_then(|der| Certificate::parse(der)?.channel_binding(der));
        Ok(Stream { io: Box::new(stream), channel })
    }

    fn unreachable(&self, endpoint: &Endpoint, error: io::Error) -> ConnectionError {
        ConnectionError::ServerUnreachable { place: self.place(endpoint), source: Arc::new(error) }
    }

    fn lost(&self, endpoint: &Endpoint, error: &io::Error) -> ConnectionError {
        ConnectionError::ConnectionLost { place: self.place(endpoint), reason: error.to_string() }
    }
}

/// A session, and what it was found at.
pub(crate) struct Found<T> {
    pub(crate) session: T,
    /// As the server says before it is ready for queries (`in_hot_standby`).
    pub(crate) is_standby: bool,
}

fn gives_way(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ServerUnreachable { .. }
            | ConnectionError::ServerUnavailable { .. }
            | ConnectionError::ConnectionLost { .. }
    )
}

fn silence(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", limit.as_millis()))
}

/// The answer is one byte, read alone: what follows it belongs to TLS and to nothing that came in the clear.
async fn ask_for_tls(socket: &mut TcpStream) -> io::Result<u8> {
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    socket.read_u8().await
}

/// Why rustls refused, if it was rustls and not the network.
fn tls_reason(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let advice = match error {
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        ) => "; is sslrootcert the authority that signed the server's certificate?",
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
        ) => "; connect by a name that is in the certificate, or use sslmode=verify-ca",
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_)) => {
            "; a certificate of X.509 version 1 cannot be verified here: make one with a subjectAltName"
        }
        _ => "",
    };
    Some(format!("{error}{advice}"))
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.io).poll_shutdown(cx)
    }
}
