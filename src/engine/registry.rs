//! The connected sessions, and the registered subscriptions that end with their tokens. Subscriptions are in the index.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::pull::PullQueue;
use super::session::SessionHandle;
use crate::model::{SessionId, SubscriptionId, Timestamp};

/// Sessions by id. Ids, also those of subscriptions, start at 1 and are never reused.
#[derive(Default)]
pub(super) struct Registry {
    sessions: DashMap<SessionId, Arc<SessionHandle>>,
    last_id: AtomicU64,
    /// Registered subscriptions by the moment at which their principal's token ends. If one has ended before, its queue
    /// is gone.
    expiring: Mutex<BTreeMap<(Timestamp, SubscriptionId), Weak<PullQueue>>>,
}

/// Room for this many is never looked through for those that are gone.
const EXPIRING_MIN: usize = 1024;

impl Registry {
    pub(super) fn next_session_id(&self) -> SessionId {
        SessionId(self.next_id())
    }

    pub(super) fn next_subscription_id(&self) -> SubscriptionId {
        SubscriptionId(self.next_id())
    }

    pub(super) fn add_session(&self, session: &Arc<SessionHandle>) {
        self.sessions.insert(session.id(), Arc::clone(session));
    }

    /// Whether it was there.
    pub(super) fn remove_session(&self, id: SessionId) -> bool {
        self.sessions.remove(&id).is_some()
    }

    pub(super) fn session(&self, id: SessionId) -> Option<Arc<SessionHandle>> {
        self.sessions.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// Looks at every session; `look` must not touch the registry.
    pub(super) fn each_session(&self, mut look: impl FnMut(&SessionHandle)) {
        self.sessions.iter().for_each(|entry| look(entry.value()));
    }

    /// A copy, so that no thread holds the map while it acts on a session.
    pub(super) fn sessions(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    pub(super) fn forget_sessions(&self) {
        self.sessions.clear();
    }

    /// The subscription ends at that moment, if there is one.
    pub(super) fn expire(&self, at: Option<Timestamp>, id: SubscriptionId, queue: &Arc<PullQueue>) {
        let Some(at) = at else { return };
        let mut expiring = self.expiring.lock();
        // Each time that the number has reached a power of two: what is gone is never more than what is there.
        if expiring.len() >= EXPIRING_MIN && expiring.len().is_power_of_two() {
            expiring.retain(|_, queue| queue.strong_count() > 0);
        }
        expiring.insert((at, id), Arc::downgrade(queue));
    }

    /// The registered subscriptions whose moment has come; each once.
    pub(super) fn expired(&self, now: Timestamp) -> Vec<SubscriptionId> {
        let mut expiring = self.expiring.lock();
        let later = expiring.split_off(&(Timestamp(now.0.saturating_add(1)), SubscriptionId(0)));
        let due = std::mem::replace(&mut *expiring, later);
        due.into_iter().filter(|(_, queue)| queue.strong_count() > 0).map(|((_, id), _)| id).collect()
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_is_told_once_in_its_order_and_what_is_gone_is_not_told() {
        let registry = Registry::default();
        let queue = Arc::new(PullQueue::new(1));
        for (at, id) in [(30, 1), (10, 2), (20, 3)] {
            registry.expire(Some(Timestamp(at)), SubscriptionId(id), &queue);
        }
        registry.expire(Some(Timestamp(10)), SubscriptionId(4), &Arc::new(PullQueue::new(1)));
        registry.expire(None, SubscriptionId(5), &queue);
        assert_eq!(registry.expired(Timestamp(9)), []);
        assert_eq!(registry.expired(Timestamp(20)), [SubscriptionId(2), SubscriptionId(3)]);
        assert_eq!(registry.expired(Timestamp(20)), []);
        assert_eq!(registry.expired(Timestamp(i64::MAX)), [SubscriptionId(1)]);
    }

    #[test]
    fn subscriptions_that_ended_early_take_no_room_for_long() {
        let registry = Registry::default();
        for id in 0..100_000 {
            registry.expire(Some(Timestamp(1)), SubscriptionId(id), &Arc::new(PullQueue::new(1)));
        }
        assert!(registry.expiring.lock().len() <= EXPIRING_MIN);
    }
}
