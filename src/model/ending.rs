//! A request to close the sessions of some principals, from the application or from the stream.

use serde::{Deserialize, Deserializer, Serialize};

use super::Principal;

/// Which principals: all that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// `Principal.user_id`
    #[serde(deserialize_with = "required")]
    pub user_id: Option<String>,
    /// `Principal.tenant_id`
    #[serde(deserialize_with = "required")]
    pub tenant_id: Option<String>,
    /// `Principal.role`
    #[serde(deserialize_with = "required")]
    pub role: Option<String>,
}

/// What a message with the prefix `rowcast.close` says. Every field is required, though it may be null: a misspelt key
/// must not name more principals, or another ending, than its writer meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// Whose sessions.
    pub who: Selector,
    /// How they close; `None` revokes.
    #[serde(deserialize_with = "required")]
    pub disconnect: Option<Disconnect>,
    /// The engine that has closed its own sessions already.
    #[serde(deserialize_with = "required")]
    pub sender: Option<String>,
}

/// An ending that says nothing about access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disconnect {
    /// The close code.
    pub code: u16,
    /// For the client's log.
    pub reason: String,
}

impl Selector {
    /// Whether the principal is meant.
    pub fn matches(&self, principal: &Principal) -> bool {
        let pairs = [
            (&self.user_id, &principal.user_id),
            (&self.tenant_id, &principal.tenant_id),
            (&self.role, &principal.role),
        ];
        pairs.into_iter().all(|(wanted, is)| wanted.is_none() || wanted == is)
    }

    /// Whether nothing is given, which names no principal.
    pub fn is_empty(&self) -> bool {
        *self == Selector::default()
    }
}

fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_given_must_match() {
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
            assert!(!who.is_empty());
        }
        assert!(Selector::default().is_empty());
    }
}
