//! The roles of the cluster and what they inherit, as PostgreSQL itself resolves it (manual, chapter 22 "Database
//! Roles").

use std::collections::HashMap;

/// `PUBLIC` in an access list, and in a policy's list of roles.
pub const PUBLIC: u32 = 0;

/// One role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `pg_roles.oid`.
    pub oid: u32,
    /// `pg_roles.rolname`.
    pub name: Box<str>,
    /// `rolsuper`: nothing is refused to it.
    pub superuser: bool,
    /// `rolbypassrls`: no policy applies to it.
    pub bypass_rls: bool,
    /// Whether rowcast's own user may `set role` to it, which asking PostgreSQL for a decision needs.
    pub settable: bool,
    /// Those roles, among the ones that an access list, policy or ownership of a watched table names, whose privileges this one
    /// has without `set role` (`pg_has_role(…, 'USAGE')`). Sorted; includes the role itself where it is named.
    pub privileges_of: Box<[u32]>,
}

impl Role {
    /// Whether it has what was granted to this grantee or owner.
    pub fn has_privileges_of(&self, grantee: u32) -> bool {
        grantee == PUBLIC || grantee == self.oid || self.privileges_of.binary_search(&grantee).is_ok()
    }

    /// Whether it owns what this role owns. An unknown owner counts as another role.
    pub fn is_owner(&self, owner: u32) -> bool {
        owner != PUBLIC && self.has_privileges_of(owner)
    }

    /// Whether an access list with these grantees lets it in.
    pub fn is_among(&self, grantees: &[u32]) -> bool {
        self.superuser || grantees.iter().any(|grantee| self.has_privileges_of(*grantee))
    }
}

/// All roles by name. Frozen: a change in the catalog makes a new value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// By `rolname`.
    pub by_name: HashMap<Box<str>, Role>,
}

impl Roles {
    /// The role of this name, exactly as the catalog spells it.
    pub fn named(&self, name: &str) -> Option<&Role> {
        self.by_name.get(name)
    }
}
