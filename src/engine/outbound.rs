//! What is on its way to a reader: the mailbox of a session, the queue of a registered subscription, and how fast both
//! may be filled.
//!
//! Nothing here knows a subscription or a conversation. What concerns those (a mailbox that is full, a subscription that
//! fails) leaves as an [`Eviction`], and the housekeeping carries it out.

mod evict;
mod history;
mod mailbox;
mod pace;
mod progress;
mod pull;

use std::sync::Arc;

use crate::metrics::Metrics;

pub(crate) use evict::{Eviction, Evictions};
pub(crate) use history::CurrentHistory;
pub(crate) use mailbox::Mailbox;
pub(crate) use pace::Pace;
pub(crate) use progress::Progress;
pub(crate) use pull::Kept;
pub use pull::PullQueue;

/// What all mailboxes of an engine share.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) pace: Pace,
    pub(crate) history: CurrentHistory,
    pub(crate) evictions: Evictions,
    metrics: Arc<Metrics>,
}

impl Outbound {
    pub(crate) fn new(evictions: Evictions, metrics: Arc<Metrics>) -> Self {
        Outbound { pace: Pace::default(), history: CurrentHistory::default(), evictions, metrics }
    }
}
