//! Which process an object belongs to.
//!
//! A fork gives the child a copy of every object and none of the threads: what another thread had locked stays locked
//! there for ever, and a runtime waits for workers that do not exist. So a child touches no part of the engine,
//! not even to free it, and a call into the engine raises an error.

use crate::error::Error;

/// The process that made an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home(u32);

impl Home {
    /// This process.
    pub(super) fn here() -> Self {
        Home(std::process::id())
    }

    /// Whether this is still that process.
    pub(super) fn is_here(self) -> bool {
        self.0 == std::process::id()
    }

    /// An error in any other.
    pub(super) fn check(self) -> Result<(), Error> {
        if self.is_here() {
            return Ok(());
        }
        let message = "this process is a fork of the one that made the engine, and has none of its threads: \
                       make and start the manager in each process, after the fork";
        Err(Error::Declaration { code: "FORKED", message: message.to_owned() })
    }
}
