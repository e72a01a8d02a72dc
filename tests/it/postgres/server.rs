//! A PostgreSQL of a test's own: in a temporary folder, on a free port and a socket folder, driven by its process id, gone
//! when dropped.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use super::guard::Guard;
use super::programs::{hand_over, program, run, unprivileged};
use super::template;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server is stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// `pg_ctl stop -m fast`: sessions are ended, walsenders may finish.
    Fast,
    /// `pg_ctl stop -m immediate`: a crash with manners.
    Immediate,
    /// SIGKILL: a crash.
    Kill,
}

/// A running (or stopped) server.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Child>,
    /// Last, so that it finds nothing to do when everything else is dropped.
    guard: Guard,
}

impl Server {
    /// A server for logical replication.
    pub(crate) fn logical() -> Self {
        Self::with(&["wal_level=logical"])
    }

    /// A server with these settings, for `postgres -c`.
    pub(crate) fn with(settings: &[&str]) -> Self {
        Self::made(0, settings, false)
    }

    /// Another cluster, as its system identifier tells, at a given port.
    pub(crate) fn another_at(port: u16, settings: &[&str]) -> Self {
        Self::made(port, settings, true)
    }

    fn made(port: u16, settings: &[&str], fresh: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("rowcast-pg-").tempdir_in(template::parent()).unwrap();
        let guard = Guard::over(folder.path());
        run(Command::new("chmod").arg("0755").arg(folder.path()));
        hand_over(folder.path());
        template::data_folder(&folder.path().join("data"), fresh);
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Self { folder, port, settings, process: None, guard };
        server.start();
        server
    }

    /// Starts it; after the first time on the same port.
    pub(crate) fn start(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // After a crash the shared memory may be in use for a moment; a free port may be taken by then.
            let port = if self.port == 0 { free_port() } else { self.port };
            if self.try_start(port) {
                self.port = port;
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn try_start(&mut self, port: u16) -> bool {
        let log = fs::File::options().append(true).create(true).open(self.folder.path().join("log")).unwrap();
        let mut command = unprivileged(&program("postgres"));
        command.arg("-D").arg(self.data()).arg("-p").arg(port.to_string()).arg("-k").arg(self.folder.path());
        command.args(["-h", "127.0.0.1", "-F", "-c", "autovacuum=off"]);
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.guard.tell(Some(child.id()));
        let ready = loop {
            if child.try_wait().unwrap().is_some() {
                break false;
            }
            if self.is_ready(child.id()) {
                break true;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        if ready {
            self.process = Some(child);
        } else {
            self.guard.tell(None);
        }
        ready
    }

    /// The postmaster writes its own state into line 8 of its pid file.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    /// Stops it and returns how long that took.
    pub(crate) fn stop(&mut self, how: Stop) -> Duration {
        let Some(mut child) = self.process.take() else { return Duration::ZERO };
        let signal = match how {
            Stop::Fast => "-INT",
            Stop::Immediate => "-QUIT",
            Stop::Kill => "-KILL",
        };
        let started = Instant::now();
        run(Command::new("kill").arg(signal).arg(child.id().to_string()));
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                run(Command::new("kill").arg("-KILL").arg(child.id().to_string()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.guard.tell(None);
        started.elapsed()
    }

    /// Stops it and starts it again.
    pub(crate) fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start();
    }

    /// Replaces `pg_hba.conf` and has it read.
    pub(crate) fn set_hba(&self, lines: &str) {
        fs::write(self.data().join("pg_hba.conf"), lines).unwrap();
        self.reload();
    }

    fn reload(&self) {
        let child = self.process.as_ref().expect("a running server");
        run(Command::new("kill").arg("-HUP").arg(child.id().to_string()));
    }

    /// Puts a file that only the server may read into its data folder.
    pub(crate) fn give(&self, from: &Path, name: &str) {
        let to = self.data().join(name);
        fs::copy(from, &to).unwrap();
        run(Command::new("chmod").arg("0600").arg(&to));
        hand_over(&to);
    }

    /// Over TCP, as the superuser.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres", "postgres")
    }

    /// Over TCP; encryption as the server likes.
    pub(crate) fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where the socket is.
    pub(crate) fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the server has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A session of the superuser over the socket, whatever `pg_hba.conf` says of TCP.
    pub(crate) async fn admin(&self) -> Client {
        self.session("postgres", "postgres").await
    }

    /// A user's session over the socket, with the settings that the role and the database have.
    pub(crate) async fn session(&self, user: &str, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.folder.path()).port(self.port).user(user).dbname(database);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements as the superuser.
    pub(crate) async fn sql(&self, statements: &str) {
        self.admin().await.batch_execute(statements).await.unwrap();
    }

    /// The first column of the first row, as text.
    pub(crate) async fn value(&self, query: &str) -> Option<String> {
        let messages = self.admin().await.simple_query(query).await.unwrap();
        messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
            _ => None,
        })?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// A port that no other test of this process has.
fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut given = GIVEN.lock().unwrap();
        if !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
}
