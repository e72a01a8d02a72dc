//! Endings that are decided under a lock and carried out outside of it.
//!
//! The dispatcher finds a full queue while it holds the index; ending that session needs the session's own lock and
//! the index again. So it only says so here, and the housekeeping does it a moment later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::model::{SessionId, SubscriptionId};

/// What is to end.
#[derive(Debug)]
pub(crate) enum Eviction {
    /// The client reads too slowly; its queue has already been freed.
    SlowClient(SessionId),
    /// The subscription fails.
    Fail(SubscriptionId, Failure),
    /// The subscription's reader has already got the reason.
    Forget(SubscriptionId),
    /// A revoke may be among lost changes: every session that it could name.
    Doubt,
}

/// The sending side. Each session and subscription is sent once, so the channel is bounded by their number.
#[derive(Clone, Debug)]
pub(crate) struct Evictions {
    sender: mpsc::UnboundedSender<Eviction>,
    waiting: Arc<AtomicUsize>,
}

impl Evictions {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Eviction>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Evictions { sender, waiting: Arc::default() }, receiver)
    }

    /// The receiver is gone after shutdown, when everything has ended.
    pub(crate) fn send(&self, eviction: Eviction) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let _ = self.sender.send(eviction);
    }

    /// One of them has had its effect.
    pub(crate) fn carried_out(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many have not.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}
