//! Ending what a principal has: because the application says so, or because a token has expired.
//!
//! A request comes from this process ([`Clients::end_here`]) or, in the order of commits, from the stream. Invariants:
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

use super::Clients;
use super::revocations::{close_of, revoked};
use crate::engine::deliver::Sink;
use crate::engine::serve::expired;
use crate::error::Error;
use crate::failure::Failure;
use crate::model::{Disconnect, Ending, Selector, SubscriptionId};
use crate::session::Close;

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

impl Clients {
    /// Carries out a request of this process: how many sessions were closed, and what the other processes are to do.
    pub(crate) fn end_here(&self, who: Selector, disconnect: Option<Disconnect>) -> Result<(usize, Ending), Error> {
        let ending = Ending { who, disconnect, sender: Some(self.name.clone()) };
        let close = check(&ending)?;
        self.core.live()?;
        let ending = Arc::new(ending);
        let closed = self.carry_out(&ending, &close);
        Ok((closed, Arc::unwrap_or_clone(ending)))
    }

    /// Carries out a request that transaction `xid` of the stream made.
    pub(crate) fn end_by_stream(&self, xid: u32, ending: Ending) {
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
    pub(crate) fn doubt_sessions(&self) {
        let closed = self.sessions().iter().filter(|session| session.doubt()).count();
        if closed > 0 {
            tracing::warn!(sessions = closed, "closed sessions: a revoke may be among the changes that were lost");
        }
    }

    fn carry_out(&self, ending: &Arc<Ending>, close: &Close) -> usize {
        if ending.disconnect.is_none() {
            self.revocations.settle();
            self.end_registered(&ending.who);
        }
        self.sessions().iter().filter(|session| session.end_by(ending, close)).count()
    }

    fn end_registered(&self, who: &Selector) {
        for subscription in self.core.subscriptions() {
            if matches!(subscription.sink, Sink::Pull(_)) && who.matches(&subscription.principal) {
                self.cut(subscription.id, &revoked());
            }
        }
    }

    /// Ends the registered subscriptions whose tokens have expired.
    pub(crate) fn end_expired(&self) {
        for id in self.expiring.due(self.core.clock.date()) {
            self.cut(id, &expired());
        }
    }

    fn cut(&self, id: SubscriptionId, failure: &Failure) {
        let Some(subscription) = self.core.complete(id) else { return };
        if let Sink::Pull(queue) = &subscription.sink {
            queue.cut(failure.code(), failure.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_names_no_principal_or_no_code_is_refused() {
        let nobody = Ending { who: Selector::default(), disconnect: None, sender: None };
        assert_eq!(check(&nobody).unwrap_err().code(), "SELECTOR_MISSING");
        let disconnect = Some(Disconnect { code: 1006, reason: String::new() });
        let who = Selector { user_id: Some("alice".to_owned()), ..Selector::default() };
        let odd = Ending { who, disconnect, sender: None };
        assert_eq!(check(&odd).unwrap_err().code(), "CLOSE_CODE_INVALID");
    }
}
