//! Who is connected. What they subscribed to is in the index.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use super::session::SessionHandle;
use crate::model::{SessionId, SubscriptionId};

/// Sessions by id. Ids, also those of subscriptions, start at 1 and are never reused.
#[derive(Default)]
pub(super) struct Registry {
    sessions: DashMap<SessionId, Arc<SessionHandle>>,
    last_id: AtomicU64,
}

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

    /// A copy, so that nobody holds the map while it acts on a session.
    pub(super) fn sessions(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    pub(super) fn forget_sessions(&self) {
        self.sessions.clear();
    }

    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}
