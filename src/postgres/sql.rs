//! Ordinary SQL sessions over the same sockets, the same TLS and the same rules: `tokio-postgres` gets a stream that is
//! already open and, where wanted, already encrypted, so it cannot differ from the replication session.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::config::{self, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding as Channel, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config};

use super::conninfo::{ChannelBinding, Conninfo, Endpoint, Host};
use super::error::{ConnectionError, ServerError};
use super::pinned;
use super::refusal::{check_encoding, classify};
use super::socket::{Found, Stream};

/// How long an attempt may take when the connection string does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Conninfo {
    /// Everything but TLS as `tokio-postgres` knows it. To connect, use [`Self::connect`] or [`Self::manager`]: its own
    /// notion of `sslmode` has neither `allow` nor the verifying modes.
    pub fn sql_config(&self) -> Config {
        let mut config = Config::new();
        config.user(&self.user).dbname(&self.database).application_name(&self.application_name);
        config.options(pinned::options(self));
        if let Some(timeout) = self.connect_timeout {
            config.connect_timeout(timeout);
        }
        config.keepalives(self.keepalive.enabled).keepalives_idle(self.keepalive.idle);
        config.keepalives_interval(self.keepalive.interval).keepalives_retries(self.keepalive.count);
        config.channel_binding(match self.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        });
        for endpoint in &self.endpoints {
            match &endpoint.host {
                Host::Tcp { name, .. } => config.host(name).port(endpoint.port),
                Host::Unix(directory) => config.host_path(directory).port(endpoint.port),
            };
        }
        self.endpoints.iter().find_map(|endpoint| endpoint.password.as_ref()).map(|secret| config.password(&secret.0));
        config
    }

    /// An ordinary session. The task drives it and ends when the client is dropped or the connection is lost.
    pub async fn connect(&self) -> Result<(Client, JoinHandle<()>), ConnectionError> {
        let login = |stream, endpoint| self.log_in(stream, endpoint, Arc::default());
        self.establish(CONNECT_TIMEOUT, login).await
    }

    /// The same, and where it was found; `bell` rings when another session notifies.
    pub(crate) async fn connect_listening(
        &self,
        usual_timeout: Duration,
        bell: Arc<Bell>,
    ) -> Result<(Client, JoinHandle<()>, String), ConnectionError> {
        let login = |stream, endpoint| {
            let bell = Arc::clone(&bell);
            async move {
                let Found { session: (client, driver), is_standby } = self.log_in(stream, endpoint, bell).await?;
                Ok(Found { session: (client, driver, self.place(endpoint)), is_standby })
            }
        };
        let (client, driver, place) = self.establish(usual_timeout, login).await?;
        let own = client.query_one("select pg_catalog.pg_backend_pid()", &[]).await.and_then(|row| row.try_get(0));
        let lost = |error: tokio_postgres::Error| ConnectionError::ConnectionLost {
            place: place.clone(),
            reason: error.to_string(),
        };
        bell.own.store(own.map_err(lost)?, Ordering::SeqCst);
        Ok((client, driver, place))
    }

    /// Makes and recycles such sessions for a pool.
    pub fn manager(&self) -> deadpool_postgres::Manager {
        let recycling = deadpool_postgres::ManagerConfig::default();
        deadpool_postgres::Manager::from_connect(self.sql_config(), Connector(self.clone()), recycling)
    }

    async fn log_in(
        &self,
        stream: Stream,
        endpoint: &Endpoint,
        bell: Arc<Bell>,
    ) -> Result<Found<(Client, JoinHandle<()>)>, ConnectionError> {
        let (client, connection) = self.open(stream, endpoint).await?;
        let place = self.place(endpoint);
        check_encoding(&place, connection.parameter("server_encoding"))?;
        let is_standby = connection.parameter("in_hot_standby") == Some("on");
        let driver = drive(connection, place.clone(), bell);
        match pinned::pin(&client).await {
            Ok(true) => Ok(Found { session: (client, driver), is_standby }),
            Ok(false) => {
                Err(ConnectionError::PoolerBetween { place, reason: "it drops startup parameters".to_owned() })
            }
            Err(error) => Err(self.describe(endpoint, &error)),
        }
    }

    async fn open(&self, stream: Stream, endpoint: &Endpoint) -> Result<(Client, SqlConnection), ConnectionError> {
        let mut config = self.sql_config();
        // "Direct" leaves out the request for TLS, which is long answered.
        config.ssl_mode(config::SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        if let Some(secret) = &endpoint.password {
            config.password(&secret.0);
        }
        let opened = config.connect_raw(stream, Open).await;
        opened.map_err(|error| self.describe(endpoint, &error))
    }

    fn describe(&self, endpoint: &Endpoint, error: &tokio_postgres::Error) -> ConnectionError {
        let place = self.place(endpoint);
        if let Some(server) = error.as_db_error() {
            return match classify(place, &self.user, &self.database, ServerError::from(server)) {
                // An ordinary session needs no right to replicate; report the server's own error instead.
                ConnectionError::ReplicationNotPermitted { place, server, .. } => {
                    ConnectionError::Server { place, server }
                }
                error => error,
            };
        }
        let source = std::error::Error::source(error);
        if source.is_some_and(<dyn std::error::Error>::is::<io::Error>) || error.is_closed() {
            return ConnectionError::ConnectionLost { place, reason: error.to_string() };
        }
        let reason = source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        ConnectionError::AuthenticationFailed { place, user: self.user.clone(), reason }
    }
}

type SqlConnection = tokio_postgres::Connection<Stream, Stream>;

/// What [`as_sql_error`] has hidden in an error of a pool.
pub fn hidden_error(error: &tokio_postgres::Error) -> Option<&ConnectionError> {
    std::error::Error::source(error)?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// Rings when another session notifies.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The backend's own process: what it notifies itself is not heard.
    own: AtomicI32,
    rung: Notify,
}

impl Bell {
    /// Returns once it has rung since the last time.
    pub(crate) async fn rung(&self) {
        self.rung.notified().await;
    }

    fn hear(&self, message: &AsyncMessage) {
        if let AsyncMessage::Notification(notification) = message
            && notification.process_id() != self.own.load(Ordering::SeqCst)
        {
            self.rung.notify_one();
        }
    }
}

/// Ends when the client is dropped or the connection is lost.
fn drive(mut connection: SqlConnection, place: String, bell: Arc<Bell>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(message)) => bell.hear(&message),
                Some(Err(error)) => return tracing::debug!(place, %error, "an SQL session ended"),
                None => return,
            }
        }
    })
}

impl From<&tokio_postgres::error::DbError> for ServerError {
    fn from(error: &tokio_postgres::error::DbError) -> Self {
        Self {
            severity: error.severity().to_owned(),
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            routine: error.routine().map(str::to_owned),
        }
    }
}

/// deadpool's way in.
struct Connector(Conninfo);

type Opening<'a> = Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>>;

impl deadpool_postgres::Connect for Connector {
    fn connect(&self, _: &Config) -> Opening<'_> {
        Box::pin(async move {
            match self.0.connect().await {
                Ok(session) => Ok(session),
                Err(error) => Err(as_sql_error(error).await),
            }
        })
    }
}

/// deadpool wants an error of `tokio-postgres`, which has no public constructor: a session over a stream that fails
/// with our error has that error as its source.
async fn as_sql_error(error: ConnectionError) -> tokio_postgres::Error {
    let mut config = Config::new();
    config.user("nobody").ssl_mode(config::SslMode::Disable);
    loop {
        if let Err(wrapped) = config.connect_raw(Broken(error.clone()), tokio_postgres::NoTls).await {
            return wrapped;
        }
    }
}

/// Every use of it fails.
struct Broken(ConnectionError);

impl Broken {
    fn fail<T>(&self) -> Poll<io::Result<T>> {
        Poll::Ready(Err(io::Error::other(self.0.clone())))
    }
}

impl AsyncRead for Broken {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.fail()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

/// The "TLS connector" of a stream that needs nothing more.
struct Open;

impl TlsConnect<Stream> for Open {
    type Stream = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn connect(self, stream: Stream) -> Self::Future {
        ready(Ok(stream))
    }
}

impl TlsStream for Stream {
    fn channel_binding(&self) -> Channel {
        self.channel.clone().map_or_else(Channel::none, Channel::tls_server_end_point)
    }
}
