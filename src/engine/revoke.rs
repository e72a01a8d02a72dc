//! Ending what somebody has: because the application says so, or because a token has ended.
//!
//! A session closes with its code and drops what waits; a registered subscription ends with its code and drops what
//! waits. What is promised: when [`Engine::revoke`] returns, nothing more is told to whom it met. Somebody whose
//! `authenticate` hook is still being asked is met by what the hook answers: change what it reads first, then revoke.

use super::core::Core;
use super::failure::Failure;
use super::subscription::Sink;
use super::{Engine, PullQueue};
use crate::error::Error;
use crate::model::{Principal, SubscriptionId, Timestamp};
use crate::session::{Close, CloseCode};

/// Who is meant: all that is given must be what the principal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `Principal.user_id`
    pub user_id: Option<String>,
    /// `Principal.tenant_id`
    pub tenant_id: Option<String>,
    /// `Principal.role`
    pub role: Option<String>,
}

impl Selector {
    fn matches(&self, principal: &Principal) -> bool {
        let pairs = [
            (&self.user_id, &principal.user_id),
            (&self.tenant_id, &principal.tenant_id),
            (&self.role, &principal.role),
        ];
        pairs.into_iter().all(|(wanted, is)| wanted.is_none() || wanted == is)
    }

    /// Nobody means everybody by saying nothing.
    fn check(&self) -> Result<(), Error> {
        if *self != Selector::default() {
            return Ok(());
        }
        let message = "say who is meant: give at least one of user_id, tenant_id and role".to_owned();
        Err(Error::Declaration { code: "SELECTOR_MISSING", message })
    }
}

impl Engine {
    /// Closes the sessions of these principals with 4403 and ends their registered subscriptions with `REVOKED`; how
    /// many sessions.
    pub fn revoke(&self, who: &Selector) -> Result<usize, Error> {
        let closed = self.close(who, &Close::revoked())?;
        for subscription in self.core.subscriptions() {
            if matches!(subscription.sink, Sink::Pull(_)) && who.matches(&subscription.principal) {
                self.core.cut(subscription.id, &Failure::new("REVOKED", "the application withdrew its consent"));
            }
        }
        Ok(closed)
    }

    /// Closes the sessions of these principals with a code and a reason, behind what waits for them; how many.
    pub fn disconnect(&self, who: &Selector, code: u16, reason: &str) -> Result<usize, Error> {
        let Some(code) = CloseCode::of(code) else {
            let message =
                format!("{code} is no code to close with: use 1000, 1001, 1012, 1013 or one from 3000 to 4999");
            return Err(Error::Declaration { code: "CLOSE_CODE_INVALID", message });
        };
        self.close(who, &Close::new(code, reason.to_owned()).after_flush())
    }

    fn close(&self, who: &Selector, close: &Close) -> Result<usize, Error> {
        who.check()?;
        self.core.live()?;
        let sessions = self.core.registry.sessions();
        Ok(sessions.iter().filter(|session| session.close_if(|principal| who.matches(principal), close)).count())
    }
}

impl Core {
    /// Ends the registered subscriptions whose tokens have ended.
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

/// A token that has ended lets nobody in.
pub(super) fn refuse_expired(principal: &Principal, now: Timestamp) -> Result<(), Failure> {
    let is_over = |at: Timestamp| at.0 <= now.0;
    if principal.expires_at.is_some_and(is_over) { Err(expired()) } else { Ok(()) }
}

fn expired() -> Failure {
    Failure::new("TOKEN_EXPIRED", "the principal's token has expired: subscribe again with a fresh one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_given_must_match_and_something_must_be_given() {
        let some = |text: &str| Some(text.to_owned());
        let alice = Principal { user_id: some("alice"), tenant_id: some("acme"), ..Principal::default() };
        let by = |user: Option<&str>, tenant: Option<&str>, role: Option<&str>| Selector {
            user_id: user.map(Into::into),
            tenant_id: tenant.map(Into::into),
            role: role.map(Into::into),
        };
        for (who, meant) in [
            (by(Some("alice"), None, None), true),
            (by(None, Some("acme"), None), true),
            (by(Some("alice"), Some("acme"), None), true),
            (by(Some("alice"), Some("globex"), None), false),
            (by(Some("alice"), None, Some("shop")), false),
            (by(None, None, Some("shop")), false),
        ] {
            assert_eq!(who.matches(&alice), meant, "{who:?}");
            assert!(who.check().is_ok());
        }
        assert_eq!(Selector::default().check().unwrap_err().code(), "SELECTOR_MISSING");
    }
}
