//! A throwaway PostgreSQL for tests: started when the first test wants it, stopped when the last one has let go of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Postgres {
    server: Child,
    folder: TempDir,
}

/// A database of its own for one test. It is gone with the server.
pub(crate) struct Database {
    server: Arc<Postgres>,
    pub(crate) name: String,
}

impl Database {
    pub(crate) async fn new() -> Database {
        let server = Postgres::shared();
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        server.connect("postgres").await.batch_execute(&format!("create database {name}")).await.unwrap();
        Database { server, name }
    }

    /// A session with the settings that capture pins.
    pub(crate) async fn connect(&self) -> Client {
        let client = self.server.connect(&self.name).await;
        let settings = "set timezone = 'UTC'; set datestyle = 'ISO'; set intervalstyle = 'postgres';
                        set bytea_output = 'hex'; set extra_float_digits = 1;";
        client.batch_execute(settings).await.unwrap();
        client
    }
}

impl Postgres {
    fn shared() -> Arc<Postgres> {
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Postgres::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Postgres {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        if is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        let initdb = unprivileged("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(initdb.unwrap().success(), "initdb failed");
        let server = unprivileged("postgres").args(arguments(folder.path(), &data)).stderr(Stdio::null()).spawn();
        Postgres { server: server.unwrap(), folder }
    }

    async fn connect(&self, database: &str) -> Client {
        let mut config = Config::new();
        config.host_path(self.folder.path()).user("postgres").dbname(database);
        let (client, connection) = loop {
            match config.connect(NoTls).await {
                Ok(connected) => break connected,
                // Refused until the server listens; an error that a server sent is a mistake of the test.
                Err(error) if error.code().is_none_or(|code| code.code() == "57P03") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        tokio::spawn(connection);
        client
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

fn arguments(folder: &Path, data: &Path) -> Vec<String> {
    let settings = [
        "wal_level=logical",
        "max_replication_slots=64",
        "max_wal_senders=64",
        "fsync=off",
        "listen_addresses=",
        &format!("unix_socket_directories={}", folder.display()),
    ]
    .map(str::to_owned);
    ["-D".to_owned(), data.display().to_string()]
        .into_iter()
        .chain(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]))
        .collect()
}

/// The server refuses to run as root.
fn unprivileged(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
    command
}

fn is_root() -> bool {
    user_id() == "0"
}

fn user_id() -> String {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}
