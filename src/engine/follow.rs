//! The engine beside a database: it follows the stream of changes and the catalog, and watches over slots, outbox and
//! policies.

pub(crate) mod catalog;
mod feed;
mod outbox_watch;
mod policy_watch;
mod refresh;
mod slot_watch;
mod stale;
pub(crate) mod start;
mod stream;

use tokio::task::JoinHandle;

/// What runs while the engine serves.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Ends by itself after a stop, once it has confirmed its position to the server.
    pub(crate) stream: Option<JoinHandle<()>>,
    /// Background tasks, which are aborted when the engine stops.
    pub(crate) helpers: Vec<JoinHandle<()>>,
}
