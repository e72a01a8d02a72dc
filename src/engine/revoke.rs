//! Ending what a principal has: because the application says so, or because a token has expired.
//!
//! A request comes from this process ([`Engine::revoke`]) or, in the order of commits, from the stream. Invariants:
//!
//! * After a request was carried out, no session that it names is sent anything more, but what a disconnect flushes.
//! * A session whose `authenticate` hook is running is checked against every request that arrived since it began. A hook may
//!   read what was before a revoke while the revoke's transaction is in the stream and not yet visible, so a request of the
//!   stream stays in force until it is.
//! * Where the stream lost changes, or ended for good, a request may be among what is lost: every session that it could name
//!   closes with 1012, also one whose hook is being asked, and its client authenticates again.
//! * A request of the stream is carried out once: not again when the stream repeats it, and not when it was visible before this
//!   process began to serve, since then no session is older than it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::core::Core;
use super::subscription::Sink;
use super::{Engine, PullQueue};
use crate::config::Bus;
use crate::error::Error;
use crate::failure::Failure;
use crate::model::{Disconnect, Ending, Principal, Selector, SubscriptionId, Timestamp};
use crate::session::{Close, CloseCode};
use crate::store;

/// Requests that one hook's answer is checked against, and that may be in force: beyond it the session is refused, and the
/// stream waits.
const REQUESTS_MAX: usize = 1024;
/// A close frame has room for 123 bytes: what is cut off anyway is not sent to other processes.
const REASON_CHARS: usize = 124;
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
pub(super) struct Requests {
    endings: Vec<Arc<Ending>>,
    /// How a session that could be named closes, because a request may be missing here.
    doubt: Option<Close>,
}

impl Requests {
    pub(super) fn add(&mut self, ending: &Arc<Ending>) {
        if self.endings.len() < REQUESTS_MAX {
            self.endings.push(Arc::clone(ending));
        } else {
            self.doubt = Some(Close::overloaded());
        }
    }

    /// Some were lost.
    pub(super) fn lose(&mut self) {
        self.doubt = Some(Close::authenticate_again());
    }

    /// How a session of this principal closes instead of opening, if a request names it or may have named it.
    pub(super) fn close_of(&self, principal: &Principal) -> Option<Close> {
        let met = self.endings.iter().find(|ending| ending.who.matches(principal));
        met.and_then(|ending| close_of(ending)).or_else(|| self.doubt.clone().filter(|_| principal.can_be_named()))
    }
}

/// What is in force: requests of the stream whose transactions are not visible yet.
#[derive(Default)]
pub(super) struct Revocations {
    unseen: RwLock<Vec<(u32, Arc<Ending>)>>,
    came: Notify,
}

impl Revocations {
    /// What the answer of a hook that is asked from now on is checked against.
    pub(super) fn in_force(&self) -> Requests {
        let mut requests = Requests::default();
        self.unseen.read().iter().for_each(|(_, ending)| requests.add(ending));
        requests
    }

    /// Returns when one more may come.
    pub(super) async fn room(&self) {
        while self.unseen.read().len() >= REQUESTS_MAX {
            sleep(GLANCE).await;
        }
    }

    fn add(&self, xid: u32, ending: &Arc<Ending>) {
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
pub(super) struct Registering<'a>(RwLockReadGuard<'a, Vec<(u32, Arc<Ending>)>>);

impl Registering<'_> {
    /// Refuses a principal whose revoke is not visible to others yet.
    pub(super) fn check(&self, principal: &Principal) -> Result<(), Failure> {
        let is_revoked = |ending: &Ending| ending.disconnect.is_none() && ending.who.matches(principal);
        if self.0.iter().any(|(_, ending)| is_revoked(ending)) { Err(revoked()) } else { Ok(()) }
    }
}

impl Engine {
    /// Closes the sessions of these principals with 4403 and ends their registered subscriptions with `REVOKED`: here at
    /// once, and in every other process of the database in the order of commits. How many sessions were closed here.
    pub async fn revoke(&self, who: Selector) -> Result<usize, Error> {
        self.end(who, None).await
    }

    /// Closes the sessions of these principals with a code and a reason, behind what waits for them: here at once, and in
    /// every other process of the database. How many were closed here.
    pub async fn disconnect(&self, who: Selector, code: u16, reason: &str) -> Result<usize, Error> {
        self.end(who, Some(Disconnect { code, reason: reason.chars().take(REASON_CHARS).collect() })).await
    }

    async fn end(&self, who: Selector, disconnect: Option<Disconnect>) -> Result<usize, Error> {
        let ending = Ending { who, disconnect, sender: Some(self.core.name.clone()) };
        let close = check(&ending)?;
        self.core.live()?;
        let ending = Arc::new(ending);
        let closed = self.core.carry_out(&ending, &close);
        if let Bus::PostgreSql(_) = self.bus {
            store::close_sessions(&*self.pool()?.get().await?, &ending).await?;
        }
        Ok(closed)
    }
}

/// How sessions close by this request.
fn check(ending: &Ending) -> Result<Close, Error> {
    if ending.who.is_empty() {
        let message = "name a principal: give at least one of user_id, tenant_id and role".to_owned();
        return Err(Error::Declaration { code: "SELECTOR_MISSING", message });
    }
    close_of(ending).ok_or_else(|| {
        let code = ending.disconnect.as_ref().map_or(0, |disconnect| disconnect.code);
        let message =
            format!("a socket cannot be closed with code {code}: use 1000, 1001, 1012, 1013 or one from 3000 to 4999");
        Error::Declaration { code: "CLOSE_CODE_INVALID", message }
    })
}

fn close_of(ending: &Ending) -> Option<Close> {
    let Some(Disconnect { code, reason }) = &ending.disconnect else { return Some(Close::revoked()) };
    Some(Close::new(CloseCode::of(*code)?, reason.clone()).after_flush())
}

impl Core {
    /// Carries out a request that transaction `xid` of the stream made.
    pub(super) fn end_by_stream(&self, xid: u32, ending: Ending) {
        let close = match check(&ending) {
            Ok(close) => close,
            Err(error) => return tracing::warn!(code = error.code(), "ignored a rowcast.close message: {error}"),
        };
        if ending.sender.as_ref() == Some(&self.name) {
            return;
        }
        let ending = Arc::new(ending);
        self.revocations.add(xid, &ending);
        let closed = self.carry_out(&ending, &close);
        tracing::info!(
            code = close.code().code(),
            sessions = closed,
            "closed sessions at the request of a transaction"
        );
    }

    /// The stream has lost changes: every session that a request among them could name has to authenticate again.
    pub(super) fn doubt_sessions(&self) {
        let closed = self.registry.sessions().iter().filter(|session| session.doubt()).count();
        if closed > 0 {
            tracing::warn!(sessions = closed, "closed sessions: a revoke may be among the changes that were lost");
        }
    }

    /// A subscription is about to be registered.
    pub(super) fn registering(&self) -> Registering<'_> {
        Registering(self.revocations.unseen.read())
    }

    fn carry_out(&self, ending: &Arc<Ending>, close: &Close) -> usize {
        if ending.disconnect.is_none() {
            // Those that are being registered are in the index, or refused, before anyone looks there.
            drop(self.revocations.unseen.write());
            self.end_registered(&ending.who);
        }
        self.registry.sessions().iter().filter(|session| session.end_by(ending, close)).count()
    }

    fn end_registered(&self, who: &Selector) {
        for subscription in self.subscriptions() {
            if matches!(subscription.sink, Sink::Pull(_)) && who.matches(&subscription.principal) {
                self.cut(subscription.id, &revoked());
            }
        }
    }

    /// Ends the registered subscriptions whose tokens have expired.
    pub(super) fn end_expired(&self) {
        for id in self.registry.expired(self.clock.date()) {
            self.cut(id, &expired());
        }
    }

    fn cut(&self, id: SubscriptionId, failure: &Failure) {
        let Some(subscription) = self.complete(id) else { return };
        if let Sink::Pull(queue) = &subscription.sink {
            PullQueue::cut(queue, failure.code(), failure.to_string());
        }
    }
}

/// Forgets requests whose transactions others can see. Runs until it is aborted.
pub(super) async fn watch(core: Arc<Core>, pool: Pool) {
    loop {
        core.revocations.came.notified().await;
        loop {
            let xids = core.revocations.xids();
            if xids.is_empty() {
                break;
            }
            let pause = match visible(&pool, xids).await {
                Some(visible) => {
                    core.revocations.forget(&visible);
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

/// A token that has expired admits no subscription.
pub(super) fn refuse_expired(principal: &Principal, now: Timestamp) -> Result<(), Failure> {
    let is_over = |at: Timestamp| at.0 <= now.0;
    if principal.expires_at.is_some_and(is_over) { Err(expired()) } else { Ok(()) }
}

fn expired() -> Failure {
    Failure::new("TOKEN_EXPIRED", "the principal's token has expired: subscribe again with a fresh one")
}

fn revoked() -> Failure {
    Failure::new("REVOKED", "the application withdrew its consent")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_request_that_names_no_principal_or_no_code_is_refused() {
        let nobody = Ending { who: Selector::default(), disconnect: None, sender: None };
        assert_eq!(check(&nobody).unwrap_err().code(), "SELECTOR_MISSING");
        let disconnect = Some(Disconnect { code: 1006, reason: String::new() });
        let odd = Ending { disconnect, ..Ending::clone(&revoke("alice")) };
        assert_eq!(check(&odd).unwrap_err().code(), "CLOSE_CODE_INVALID");
    }
}
