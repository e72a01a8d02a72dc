//! Who is asking. The application's `authenticate` hook makes one per connection; the engine only reads it.

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
