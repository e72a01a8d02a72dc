//! How far an outbox has been read, in the terms of its transactions: its snapshots are compared with this.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::Seen;

/// The delivered part of an outbox. A snapshot that sees no more than this does not have to wait.
#[derive(Debug)]
pub(crate) struct Horizon {
    delivered: Mutex<Option<Seen>>,
    nudge: Arc<Notify>,
}

impl Horizon {
    /// Nothing was delivered yet; `nudge` wakes the reader of the outbox.
    pub(crate) fn new(nudge: &Arc<Notify>) -> Self {
        Horizon { delivered: Mutex::default(), nudge: Arc::clone(nudge) }
    }

    /// Every transaction that this snapshot sees was delivered.
    pub(crate) fn reach(&self, snapshot: &str) {
        *self.delivered.lock() = snapshot.parse().ok();
    }

    /// The stream was interrupted: a server that comes back may have lost transactions and given their numbers to others.
    pub(crate) fn forget(&self) {
        *self.delivered.lock() = None;
    }

    /// Whether every transaction that `seen` sees was delivered.
    pub(crate) fn has_passed(&self, seen: &Seen) -> bool {
        self.delivered.lock().as_ref().is_some_and(|delivered| delivered.sees_all_of(seen))
    }

    /// Has the reader of the outbox look at once.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }
}
