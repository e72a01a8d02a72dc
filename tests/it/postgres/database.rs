//! A database of a test's own on the server that the tests of this process share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::{Client, Config, NoTls};

use super::Server;

/// Enough for every test at once.
const SETTINGS: [&str; 5] = [
    "wal_level=logical",
    "max_connections=200",
    "max_replication_slots=64",
    "max_wal_senders=64",
    "max_prepared_transactions=5",
];

/// What capture pins: values are printed the same whoever asks.
const PINNED: &str =
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1";

static SHARED: OnceLock<Server> = OnceLock::new();
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// It is gone with the server.
pub(crate) struct Database {
    pub(crate) name: String,
    server: &'static Server,
}

impl Database {
    /// Empty.
    pub(crate) async fn empty() -> Self {
        let server = SHARED.get_or_init(|| Server::with(&SETTINGS));
        let database = Self { name: name(GIVEN.fetch_add(1, Ordering::Relaxed)), server };
        if database.name != "postgres" {
            server.sql(&format!("create database {}", database.name)).await;
        }
        database
    }

    /// With all migrations, and a superuser's client.
    pub(crate) async fn migrated() -> (Self, Client) {
        let database = Self::empty().await;
        let mut client = database.connect().await;
        rowcast::store::migrate(&mut client).await.expect("migrate");
        (database, client)
    }

    /// Another one on its server, made with these options; `None` where the server does not know them.
    pub(crate) async fn beside(&self, name: &str, options: &str) -> Option<Self> {
        let sql = format!("create database {name} encoding 'UTF8' template template0 {options}");
        self.connect().await.batch_execute(&sql).await.ok()?;
        Some(Self { name: name.to_owned(), server: self.server })
    }

    /// A superuser's session.
    pub(crate) async fn connect(&self) -> Client {
        self.connect_as("postgres").await
    }

    pub(crate) async fn connect_as(&self, user: &str) -> Client {
        let mut config = Config::new();
        config.host_path(self.server.socket_folder()).port(self.server.port());
        config.user(user).dbname(&self.name).options(PINNED);
        let (client, connection) = config.connect(NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// A superuser's, over TCP.
    pub(crate) fn url(&self) -> String {
        self.server.url_as("postgres", &self.name)
    }

    /// A role's name that no other test uses: roles belong to the server.
    pub(crate) fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }
}

/// The first one is there already; where each test has its own process it is the only one.
fn name(number: u32) -> String {
    if number == 0 { "postgres".to_owned() } else { format!("test_{number}") }
}
