//! The requests to end sessions that may still match a session.
//!
//! * A session whose `authenticate` hook is running is checked against every request that arrived since it began.
//! * A hook may read what was before a revoke while the revoke's transaction is in the stream and not yet visible, so a
//!   request of the stream stays in force until it is.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Clients;
use crate::failure::Failure;
use crate::model::{Disconnect, Ending, Principal};
use crate::session::{Close, CloseCode};

/// Requests that one hook's answer is checked against, and that may be in force: beyond it the session is refused, and
/// the stream waits.
const REQUESTS_MAX: usize = 1024;
/// How long between two looks whether a transaction is visible, and between two that had no answer.
const GLANCE: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(5);

/// A transaction holds a lock on its own number until others see what it did.
const OPEN: &str = "select transactionid::pg_catalog.text from pg_catalog.pg_locks \
                    where locktype operator(pg_catalog.=) 'transactionid' \
                    and transactionid::pg_catalog.text operator(pg_catalog.=) any ($1)";

/// Requests that arrived while a session's `authenticate` hook ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    endings: Vec<Arc<Ending>>,
    /// How a session that could be named closes, because a request may be missing here.
    doubt: Option<Close>,
}

impl Requests {
    pub(crate) fn add(&mut self, ending: &Arc<Ending>) {
        if self.endings.len() < REQUESTS_MAX {
            self.endings.push(Arc::clone(ending));
        } else {
            self.doubt = Some(Close::overloaded());
        }
    }

    /// Some were lost.
    pub(crate) fn lose(&mut self) {
        self.doubt = Some(Close::authenticate_again());
    }

    /// How a session of this principal closes instead of opening, if a request names it or may have named it.
    pub(crate) fn close_of(&self, principal: &Principal) -> Option<Close> {
        let met = self.endings.iter().find(|ending| ending.who.matches(principal));
        met.and_then(|ending| close_of(ending)).or_else(|| self.doubt.clone().filter(|_| principal.can_be_named()))
    }
}

/// What is in force: requests of the stream whose transactions are not visible yet.
#[derive(Default)]
pub(crate) struct Revocations {
    unseen: RwLock<Vec<(u32, Arc<Ending>)>>,
    came: Notify,
}

impl Revocations {
    /// What the answer of a hook that is asked from now on is checked against.
    pub(crate) fn in_force(&self) -> Requests {
        let mut requests = Requests::default();
        // A registration holds the lock while it waits for the schema, which a session that connects may hold: so this
        // reader must not wait behind a writer.
        self.unseen.read_recursive().iter().for_each(|(_, ending)| requests.add(ending));
        requests
    }

    /// A subscription is about to be registered: until this is dropped no revoke looks for it.
    pub(crate) fn registering(&self) -> Registering<'_> {
        Registering(self.unseen.read())
    }

    /// Waits until those that are being registered are in the index, or refused.
    pub(crate) fn settle(&self) {
        drop(self.unseen.write());
    }

    /// Returns when one more may come.
    pub(crate) async fn room(&self) {
        while self.unseen.read().len() >= REQUESTS_MAX {
            sleep(GLANCE).await;
        }
    }

    pub(crate) fn add(&self, xid: u32, ending: &Arc<Ending>) {
        self.unseen.write().push((xid, Arc::clone(ending)));
        self.came.notify_one();
    }

    fn xids(&self) -> Vec<String> {
        let mut xids: Vec<_> = self.unseen.read().iter().map(|(xid, _)| *xid).collect();
        xids.dedup();
        xids.iter().map(ToString::to_string).collect()
    }

    fn forget(&self, visible: &[String]) {
        self.unseen.write().retain(|(xid, _)| !visible.contains(&xid.to_string()));
    }
}

/// A subscription that is being registered is in force or refused before a revoke looks for it.
pub(crate) struct Registering<'a>(RwLockReadGuard<'a, Vec<(u32, Arc<Ending>)>>);

impl Registering<'_> {
    /// Refuses a principal whose revoke is not visible to others yet.
    pub(crate) fn check(&self, principal: &Principal) -> Result<(), Failure> {
        let is_revoked = |ending: &Ending| ending.disconnect.is_none() && ending.who.matches(principal);
        if self.0.iter().any(|(_, ending)| is_revoked(ending)) { Err(revoked()) } else { Ok(()) }
    }
}

/// How a session closes by a request; `None` when a socket cannot be closed with its code.
pub(crate) fn close_of(ending: &Ending) -> Option<Close> {
    let Some(Disconnect { code, reason }) = &ending.disconnect else { return Some(Close::revoked()) };
    Some(Close::new(CloseCode::of(*code)?, reason.clone()).after_flush())
}

pub(crate) fn revoked() -> Failure {
    Failure::new("REVOKED", "the application withdrew its consent")
}

/// Forgets requests whose transactions others can see. Runs until it is aborted.
pub(crate) async fn watch(clients: Arc<Clients>, pool: Pool) {
    loop {
        clients.revocations.came.notified().await;
        loop {
            let xids = clients.revocations.xids();
            if xids.is_empty() {
                break;
            }
            let pause = match visible(&pool, xids).await {
                Some(visible) => {
                    clients.revocations.forget(&visible);
                    GLANCE
                }
                None => PAUSE,
            };
            sleep(pause).await;
        }
    }
}

/// Which of these transactions others see; `None` when the database does not answer.
async fn visible(pool: &Pool, mut xids: Vec<String>) -> Option<Vec<String>> {
    let client = timeout(PATIENCE, pool.get()).await.ok()?.ok()?;
    let Ok(rows) = timeout(PATIENCE, client.query(OPEN, &[&xids])).await else {
        // A session that does not answer must not go back to the pool.
        drop(Object::take(client));
        return None;
    };
    let open: Vec<String> = rows.ok()?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().ok()?;
    xids.retain(|xid| !open.contains(xid));
    Some(xids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Selector;

    fn revoke(user: &str) -> Arc<Ending> {
        let who = Selector { user_id: Some(user.to_owned()), ..Selector::default() };
        Arc::new(Ending { who, disconnect: None, sender: None })
    }

    #[test]
    fn an_answer_is_checked_against_every_request_and_refused_when_there_were_too_many_to_keep() {
        let alice = Principal { user_id: Some("alice".to_owned()), ..Principal::default() };
        let mut requests = Requests::default();
        for other in 0..REQUESTS_MAX {
            requests.add(&revoke(&other.to_string()));
        }
        assert_eq!(requests.close_of(&alice), None);
        requests.add(&revoke("alice"));
        assert_eq!(requests.close_of(&alice), Some(Close::overloaded()));
        let mut requests = Requests::default();
        requests.add(&revoke("alice"));
        assert_eq!(requests.close_of(&alice), Some(Close::revoked()));
    }

    #[test]
    fn a_request_is_in_force_until_its_transaction_is_visible() {
        let revocations = Revocations::default();
        revocations.add(7, &revoke("alice"));
        revocations.add(7, &revoke("bob"));
        revocations.add(8, &revoke("eve"));
        assert_eq!(revocations.xids(), ["7", "8"]);
        revocations.forget(&["7".to_owned()]);
        assert_eq!(revocations.xids(), ["8"]);
        assert_eq!(revocations.in_force().endings, [revoke("eve")]);
    }
}
