//! A PostgreSQL of one's own: a fresh cluster in a temporary folder, on a Unix socket, stopped when dropped.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio_postgres::NoTls;

pub(crate) struct Postgres {
    folder: TempDir,
}

impl Postgres {
    pub(crate) fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("rowcast-pg-").tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres:postgres").arg(folder.path()));
        }
        let postgres = Postgres { folder };
        run(unprivileged("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(postgres.data()));
        let options = format!("-c listen_addresses= -c fsync=off -k {}", postgres.folder.path().display());
        let log = postgres.folder.path().join("log");
        run(unprivileged("pg_ctl").args(["start", "-w", "-o", &options, "-l"]).arg(log).arg("-D").arg(postgres.data()));
        postgres
    }

    /// A connection with the settings that the engine pins.
    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        let settings =
            "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex -c extra_float_digits=1";
        let mut config = tokio_postgres::Config::new();
        config.host_path(self.folder.path()).user("postgres").dbname("postgres").options(settings);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run(unprivileged("pg_ctl").args(["stop", "-w", "-m", "immediate", "-D"]).arg(self.data()));
    }
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// PostgreSQL refuses to run as root.
fn unprivileged(program: &str) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", program]);
    command
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}
