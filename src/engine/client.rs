//! The connected clients: sessions, and the registered subscriptions that end as sessions do.
//!
//! A session carries out the actions of its conversation: it subscribes in the core and closes its mailbox. This module
//! also ends clients for reasons outside the conversation: revokes, expired tokens, lost changes, slow clients and the
//! engine's stop.

mod expiring;
mod gap;
mod housekeeping;
mod revocations;
mod revoke;
mod session;

use std::sync::Arc;

use dashmap::DashMap;

use crate::adapter::Wake;
use crate::engine::deliver::{Core, NotServing, Sink};
use crate::failure::Failure;
use crate::model::{SessionId, SubscriptionId};
use crate::session::{Close, Dialect};
use expiring::Expiring;
use revocations::Revocations;

pub(crate) use housekeeping::{run as keep_house, tick};
pub(crate) use revocations::watch as watch_revocations;
pub use session::SessionHandle;

/// The sessions by their ids, and what may end them.
pub(crate) struct Clients {
    pub(crate) core: Arc<Core>,
    /// Of this engine among all of the database: what it asks of the others comes back in the stream.
    name: String,
    sessions: DashMap<SessionId, Arc<SessionHandle>>,
    pub(crate) expiring: Expiring,
    pub(crate) revocations: Revocations,
}

impl Clients {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Clients {
            core,
            name: format!("{:032x}", rand::random::<u128>()),
            sessions: DashMap::new(),
            expiring: Expiring::default(),
            revocations: Revocations::default(),
        }
    }

    /// A session is made while the engine cannot stop, so that the stop closes it.
    pub(crate) fn connect(
        self: &Arc<Self>,
        wake: Arc<dyn Wake>,
        address: Option<&str>,
        dialect: Dialect,
    ) -> Result<Arc<SessionHandle>, NotServing> {
        self.core.while_serving(|| {
            let session = SessionHandle::new(self, wake, address, dialect);
            self.sessions.insert(session.id(), Arc::clone(&session));
            if dialect != Dialect::Socket {
                session.begin_authentication();
            }
            self.core.metrics.sessions.add(1);
            session
        })
    }

    /// Returns when the next event may be delivered.
    pub(crate) async fn pace(&self) {
        let senders = |look: &mut dyn FnMut(&_)| self.sessions.iter().for_each(|entry| look(entry.mailbox().sender()));
        self.core.outbound.pace.wait(senders).await;
    }

    /// A copy, so that no thread holds the map while it acts on a session.
    pub(crate) fn sessions(&self) -> Vec<Arc<SessionHandle>> {
        self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Ends a subscription, and sends its reader the reason.
    pub(crate) fn fail(&self, id: SubscriptionId, failure: &Failure) {
        let Some(subscription) = self.core.complete(id) else { return };
        match &subscription.sink {
            Sink::Session { mailbox, operation, .. } => {
                if let Some(session) = self.session(mailbox.session()) {
                    session.fail(operation, id, failure, &subscription.progress);
                }
            }
            Sink::Pull(queue) => queue.end(failure.code(), failure.to_string()),
        }
    }

    /// The engine stops: all sessions and subscriptions end, and no client can connect.
    pub(crate) fn shut(&self) {
        self.core.stop_serving();
        for session in self.sessions() {
            session.close(Close::shutting_down());
        }
        let stopped = Failure::new("SHUTTING_DOWN", "the engine was stopped");
        self.core.subscriptions().iter().for_each(|subscription| self.fail(subscription.id, &stopped));
        self.core.close();
    }

    /// Sessions hold this and this holds them: one side has to let go.
    pub(crate) fn forget_all(&self) {
        self.sessions.clear();
    }

    /// The client is gone.
    fn forget(&self, id: SessionId) {
        if self.sessions.remove(&id).is_some() {
            self.core.metrics.sessions.sub(1);
        }
    }

    fn session(&self, id: SessionId) -> Option<Arc<SessionHandle>> {
        self.sessions.get(&id).map(|entry| Arc::clone(entry.value()))
    }
}
