//! What a connection string depends on outside of itself: variables, files, the name of the user. Behind a trait, so
//! that the rules are tested without touching this process's environment.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The places that libpq looks at.
pub(super) trait Surroundings {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a file, unless others may read it.
    fn secret_file(&self, path: &Path) -> Option<String>;
    /// Whether there is something at this path.
    fn exists(&self, path: &Path) -> bool;
    /// The name of the operating system's user.
    fn os_user(&self) -> Option<String>;
}

/// This process on this machine.
pub(super) struct Machine;

impl Surroundings for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secret_file(&self, path: &Path) -> Option<String> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "the password file is ignored: others may read it; chmod 0600 it");
            return None;
        }
        fs::read_to_string(path).ok()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    /// The name of the effective user, as libpq; where there is no `/proc`, what the shell calls it.
    fn os_user(&self) -> Option<String> {
        let of_process = || {
            let uid = fs::metadata("/proc/self").ok()?.uid().to_string();
            let users = fs::read_to_string("/etc/passwd").ok()?;
            let line = users.lines().map(|line| line.split(':')).find(|line| line.clone().nth(2) == Some(&uid));
            line?.next().map(str::to_owned)
        };
        of_process().or_else(|| ["USER", "LOGNAME"].iter().find_map(|name| self.variable(name)))
    }
}
