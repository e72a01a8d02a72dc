//! One number that is another when anything has changed that decides who sees what: cheap to ask for, so that it can be
//! asked for often.
//!
//! What is promised: a change of a role, of a membership, of a watched table's owner, columns, access lists, row security
//! or policies, of its schema's owner or access list, of its triggers and those that capture its partitions, of its partitions
//! and parents, or of what `alter role` or `alter database` sets for rowcast's user gives another number. It may also be another
//! when nothing has changed that matters here. What is never done: it prints no policy and resolves no membership, and it knows
//! nothing of `postgresql.conf`.

use tokio_postgres::Client;

/// Sums of hashes do not depend on the order; each part has its own seed. `datdba` decides who is `pg_database_owner`.
/// 10,000 roles with 19,000 memberships, all in memory: see `tests/it/capture/access.rs`.
const FINGERPRINT: &str = "
    with recursive member (oid) as (
        select pg_catalog.unnest($1::oid[])
        union
        select i.inhrelid from member m join pg_catalog.pg_inherits i on i.inhparent = m.oid
    ),
    part (hash) as (
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolbypassrls) collate \"C\", 1)
        from pg_catalog.pg_roles r
        union all
        select pg_catalog.hash_record_extended(m, 2) from pg_catalog.pg_auth_members m
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', c.oid, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relacl is null, c.relacl,
                                 n.nspname, n.nspowner, n.nspacl) collate \"C\", 3)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.oid = any ($1::oid[])
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', a.attrelid, a.attnum, a.attname, a.attacl) collate \"C\", 4)
        from pg_catalog.pg_attribute a
        where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', y.oid, y.polrelid, y.polname, y.polcmd, y.polpermissive, y.polroles, y.polqual)
                collate \"C\", 5)
        from pg_catalog.pg_policy y
        where y.polrelid = any ($1::oid[])
        union all
        select pg_catalog.hashtextextended(d.datdba::text collate \"C\", 6)
        from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', s.setdatabase, s.setrole, s.setconfig) collate \"C\", 7)
        from pg_catalog.pg_db_role_setting s
        left join pg_catalog.pg_database d on d.oid = s.setdatabase
        left join pg_catalog.pg_roles r on r.oid = s.setrole
        where (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
          and (s.setrole = 0 or r.rolname = current_user)
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', g.tgrelid, g.tgname, g.tgenabled, g.tgargs) collate \"C\", 8)
        from pg_catalog.pg_trigger g
        where g.tgrelid in (select m.oid from member m)
          and not g.tgisinternal
        union all
        select pg_catalog.hash_record_extended(i, 9) from pg_catalog.pg_inherits i join member m on m.oid = i.inhrelid
    )
    select coalesce(pg_catalog.sum(part.hash), 0)::text from part";

/// What the catalog said of who may see what, as one number. Equal ones say that nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    tables: Box<[u32]>,
    sum: Box<str>,
}

impl Fingerprint {
    /// In whichever snapshot the session has.
    pub(super) async fn take(client: &Client, tables: &[u32]) -> Result<Self, tokio_postgres::Error> {
        let sum: String = client.query_one(FINGERPRINT, &[&tables]).await?.try_get(0)?;
        Ok(Fingerprint { tables: tables.into(), sum: sum.into() })
    }

    /// The same question now.
    pub async fn again(&self, client: &Client) -> Result<Self, super::CatalogError> {
        Ok(Self::take(client, &self.tables).await?)
    }
}
