//! The principal. The application's `authenticate` hook makes one per connection; the engine only reads it.

use std::collections::BTreeMap;

use super::Timestamp;

/// An authenticated caller.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Principal {
    /// The user, for rate limits and revocation.
    pub user_id: Option<String>,
    /// The tenant, compared with the tenant column's text; without one no tenant-scoped row is visible.
    pub tenant_id: Option<String>,
    /// The database role whose policies and grants apply.
    pub role: Option<String>,
    /// Settings (`app.tenant_id`, …) that row policies read with `current_setting`.
    pub settings: BTreeMap<String, String>,
    /// Token claims, kept for policies and resolvers.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// Scopes that the token grants.
    pub scopes: Vec<String>,
    /// Services that the principal may use; empty means all.
    pub services: Vec<String>,
    /// When the token ends.
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// Whether a request to close sessions can name it: it has something that a [`Selector`](super::Selector) compares.
    pub fn can_be_named(&self) -> bool {
        self.user_id.is_some() || self.tenant_id.is_some() || self.role.is_some()
    }
}

/// Whether a principal may have a setting of this name: two or more identifiers with dots between them, as PostgreSQL
/// requires of a custom setting's name (`valid_custom_variable_name` in its `guc.c`). `role`, `search_path`,
/// `row_security` and all other settings that affect access have no dot.
pub fn is_custom_setting(name: &str) -> bool {
    let identifier = |part: &str| {
        let letter = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii();
        part.bytes().next().is_some_and(letter)
            && part.bytes().all(|byte| letter(byte) || byte == b'$' || byte.is_ascii_digit())
    };
    name.contains('.') && name.split('.').all(identifier)
}

#[cfg(test)]
mod tests {
    use super::is_custom_setting;

    #[test]
    fn only_custom_settings_are_a_principals() {
        for name in ["app.tenant_id", "request.jwt.claims", "_a._b", "a.b$1", "größe.ü"] {
            assert!(is_custom_setting(name), "{name}");
        }
        for name in ["role", "search_path", "row_security", "", ".", "a.", ".a", "a..b", "1a.b", "a.1", "a.b c", "a.b;"]
        {
            assert!(!is_custom_setting(name), "{name}");
        }
    }
}
