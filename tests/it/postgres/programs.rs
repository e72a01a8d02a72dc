//! PostgreSQL's programs, where they are and as whom they run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// From `ROWCAST_TEST_PG_BIN`, else from the PATH.
pub(super) fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("ROWCAST_TEST_PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = folder.into_iter().chain(std::env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|program| program.exists()));
    found.unwrap_or_else(|| panic!("no {name}: put PostgreSQL's programs on the PATH or into ROWCAST_TEST_PG_BIN"))
}

/// PostgreSQL refuses to run as root.
pub(super) fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let user = server_user();
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

/// Gives one file or folder to the server's user.
pub(super) fn hand_over(path: &Path) {
    if is_root() {
        run(Command::new("chown").arg(server_user()).arg(path));
    }
}

/// The user that the server runs as.
pub(super) fn server_user() -> String {
    let this = if is_root() { "postgres".to_owned() } else { uid().to_string() };
    std::env::var("ROWCAST_TEST_PG_USER").unwrap_or(this)
}

pub(super) fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn is_root() -> bool {
    uid() == 0
}

/// A file belongs to whoever made it.
fn uid() -> u32 {
    static UID: OnceLock<u32> = OnceLock::new();
    *UID.get_or_init(|| tempfile::tempfile().unwrap().metadata().unwrap().uid())
}
