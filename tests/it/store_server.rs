//! A PostgreSQL server of our own for the tests of this process, and a fresh database for each of them.
//!
//! The binaries come from `ROWCAST_TEST_PG_BIN` or the PATH. The server listens on a Unix socket in a temporary folder
//! and nowhere else. It runs under a shell that waits for the end of its standard input: however this process ends, the
//! pipe closes, and the shell stops the server and removes the folder.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Config, NoTls};

const RUN: &str = r#"
set -u
trap 'rm -rf "$dir"' EXIT
"$initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || exit 1
"$postgres" -D "$dir/data" -h '' -k "$dir" -c wal_level=logical -c fsync=off -c max_connections=200 \
    -c max_replication_slots=20 -c max_wal_senders=20 -c max_prepared_transactions=5 >"$dir/log" 2>&1 </dev/null &
cat >/dev/null
kill -INT $!
wait $!
"#;

/// A running server; stops when dropped, or when the process ends.
pub(crate) struct Postgres {
    shell: Child,
    dir: PathBuf,
}

static SHARED: OnceLock<Postgres> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let dir = PathBuf::from(run(Command::new("mktemp").args(["-d", "/tmp/rowcast-test.XXXXXX"])));
        let mut command = if run(Command::new("id").arg("-u")) == "0" {
            run(Command::new("chown").arg("postgres").arg(&dir));
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh", "-c", RUN]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", RUN]);
            command
        };
        let binary = |name: &str| match std::env::var_os("ROWCAST_TEST_PG_BIN") {
            Some(folder) => PathBuf::from(folder).join(name),
            None => PathBuf::from(name),
        };
        command.env("dir", &dir).env("initdb", binary("initdb")).env("postgres", binary("postgres"));
        let shell = command.current_dir("/").stdin(Stdio::piped()).spawn().expect("sh");
        Postgres { shell, dir }
    }

    pub(crate) fn config(&self, user: &str, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.dir).user(user).dbname(database);
        config
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().expect("the shell ends");
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("a command of coreutils");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// A database of its own on the shared server.
pub(crate) struct Database {
    pub(crate) name: String,
    server: &'static Postgres,
}

impl Database {
    /// Empty.
    pub(crate) async fn empty() -> Database {
        let server = SHARED.get_or_init(Postgres::start);
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let maintenance = connect_when_ready(&server.config("postgres", "postgres")).await;
        maintenance.batch_execute(&format!("create database {name}")).await.expect("create database");
        Database { name, server }
    }

    /// With all migrations, and a superuser's client.
    pub(crate) async fn migrated() -> (Database, Client) {
        let database = Database::empty().await;
        let mut client = database.connect().await;
        rowcast::store::migrate(&mut client).await.expect("migrate");
        (database, client)
    }

    pub(crate) async fn connect(&self) -> Client {
        self.connect_as("postgres").await
    }

    pub(crate) async fn connect_as(&self, user: &str) -> Client {
        connect(&self.server.config(user, &self.name)).await.expect("connect")
    }

    /// A role's name that no other test uses: roles belong to the server.
    pub(crate) fn role(&self, name: &str) -> String {
        format!("{}_{name}", self.name)
    }
}

async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn connect_when_ready(config: &Config) -> Client {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match connect(config).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "PostgreSQL does not start: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
