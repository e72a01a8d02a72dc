//! A data folder that `initdb` makes once for each PostgreSQL and user; each cluster starts from a copy of it. It lies in
//! Cargo's target folder and goes with `cargo clean`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::programs::{hand_over, program, run, server_user, unprivileged};

/// Everybody on this machine is trusted. Text sorts by code point, and upper and lower case are Unicode's.
const OPTIONS: [&str; 9] =
    ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"];

/// Clusters live in memory where that has room for them: a thousand small files are copied eight times faster.
const MEMORY: &str = "/dev/shm";
const ROOM_IN_KIB: u64 = 1 << 20;

/// Where the folders of clusters are made: `ROWCAST_TEST_PG_DIR`, or memory with room, or the system's temporary folder.
pub(super) fn parent() -> &'static Path {
    static PARENT: OnceLock<PathBuf> = OnceLock::new();
    PARENT.get_or_init(|| match std::env::var_os("ROWCAST_TEST_PG_DIR") {
        Some(folder) => folder.into(),
        None if room_in_kib(MEMORY) >= ROOM_IN_KIB => MEMORY.into(),
        None => std::env::temp_dir(),
    })
}

/// 0 where there is no such folder, or no such `df`.
fn room_in_kib(folder: &str) -> u64 {
    let told = Command::new("df").args(["-k", "--output=avail", folder]).stderr(Stdio::null()).output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    told.lines().nth(1).and_then(|room| room.trim().parse().ok()).unwrap_or(0)
}

/// A data folder of one's own, where nothing is yet. It has the template's system identifier unless `fresh`.
pub(super) fn data_folder(at: &Path, fresh: bool) {
    if fresh { initdb(at) } else { run(Command::new("cp").arg("-a").arg(template()).arg(at)) }
}

/// Other test processes wait until the first has made it.
fn template() -> PathBuf {
    let template = place();
    let lock = File::create(template.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !template.exists() {
        make(&template);
    }
    template
}

fn place() -> PathBuf {
    let initdb = program("initdb");
    let version = Command::new(&initdb).arg("--version").output().unwrap().stdout;
    let mut hasher = DefaultHasher::new();
    (initdb, version, OPTIONS, server_user()).hash(&mut hasher);
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-{:016x}", hasher.finish()))
}

/// The server's user may not be let into the target folder: the folder is made elsewhere, and is there whole or not at all.
fn make(template: &Path) {
    let folder = tempfile::tempdir_in(parent()).unwrap();
    hand_over(folder.path());
    initdb(&folder.path().join("data"));
    let part = template.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    run(Command::new("cp").arg("-a").arg(folder.path().join("data")).arg(&part));
    fs::rename(&part, template).unwrap();
}

fn initdb(data: &Path) {
    run(unprivileged(&program("initdb")).args(OPTIONS).arg("-D").arg(data).stdout(Stdio::null()));
}
