//! A table's owner, grants and row security, as stored in the catalog.

/// A table's access control. Frozen: a change in the catalog makes a new value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// `pg_class.relowner`.
    pub owner: u32,
    /// The roles with USAGE on the table's schema; [`PUBLIC`](super::PUBLIC) stands for all roles.
    pub schema_usage: Box<[u32]>,
    /// Roles with SELECT on the whole table.
    pub select: Box<[u32]>,
    /// For each column of the table, in its order: further roles with SELECT on that column.
    pub select_column: Box<[Box<[u32]>]>,
    /// `pg_class.relrowsecurity`.
    pub row_security: bool,
    /// `pg_class.relforcerowsecurity`: policies apply to the owner as well.
    pub force_row_security: bool,
    /// The policies for SELECT and for ALL, by name: the order in which they are evaluated here.
    pub policies: Box<[Policy]>,
    /// Live columns that the stream does not carry, by name: a policy that reads one cannot be decided on an image.
    pub unsent: Box<[Box<str>]>,
}

/// One row policy (manual, `CREATE POLICY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `pg_policy.polname`.
    pub name: Box<str>,
    /// PERMISSIVE: one that says yes is enough; otherwise RESTRICTIVE: each must say yes.
    pub permissive: bool,
    /// `pg_policy.polroles`; [`PUBLIC`](super::PUBLIC) stands for all roles.
    pub roles: Box<[u32]>,
    /// The USING expression as `pg_get_expr` prints it where only `pg_catalog` is searched; without one the policy adds
    /// nothing.
    pub using: Option<Box<str>>,
    /// The same as PostgreSQL stores it (`pg_policy.polqual`), bound to the OIDs of what it names.
    pub tree: Box<str>,
    /// Its text means something else than what is stored: PostgreSQL cannot be asked about it.
    pub unbound: bool,
    /// The columns of the table that it names (`pg_depend`), by name. A whole-row reference is not among them.
    pub columns: Box<[Box<str>]>,
}
