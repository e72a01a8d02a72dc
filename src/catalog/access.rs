//! Reads a table's access lists and policies as PostgreSQL stores them.
//!
//! - It uses the session of [`queries`](super::queries), inside its snapshot and with only `pg_catalog` on the
//!   `search_path`, so that `pg_get_expr` prints qualified names.
//! - It resolves nothing: a grant to a group stays a grant to the group; [`roles`](super::roles) knows the members.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::{Client, Row};

use super::rows::{ColumnRow, rows};
use crate::model::{Access, PUBLIC, Policy};

/// By `pg_class_oid_index`. Access lists that were never touched are NULL and mean the default. 6181 is
/// `pg_read_all_data`: PostgreSQL grants it these two everywhere without writing that down (`pg_class_aclmask`). For a
/// partitioned table, the access lists of the named table apply, as in a query.
const ACCESS: &str = "
    select c.oid as table, c.relowner as owner, c.relrowsecurity as row_security, c.relforcerowsecurity as forced,
           array(
               select a.grantee
               from pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
               where a.privilege_type = 'USAGE'
               union select 6181 order by 1
           ) as schema_usage,
           array(
               select a.grantee
               from pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) a
               where a.privilege_type = 'SELECT'
               union select 6181 order by 1
           ) as to_select
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = any ($1::oid[])";

/// By `pg_policy_polrelid_polname_index`. What a policy depends on includes what its WITH CHECK reads: the columns may be
/// more than those that USING names, never less.
const POLICIES: &str = "
    select y.polrelid as table, y.polname as name, y.polpermissive as permissive, y.polroles as roles,
           pg_catalog.pg_get_expr(y.polqual, y.polrelid) as condition, y.polqual::text as tree,
           array(
               select a.attname::text
               from pg_catalog.pg_depend d
               join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
               where d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and d.objid = y.oid
                 and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = y.polrelid
                 and d.refobjsubid > 0
           ) as columns
    from pg_catalog.pg_policy y
    where y.polrelid = any ($1::oid[]) and y.polcmd in ('r', '*')
    order by y.polrelid, y.polname";

/// The access control of each table; that of its columns joins it when it is known which are served.
pub(super) async fn read(client: &Client, tables: &[u32]) -> Result<HashMap<u32, Access>, tokio_postgres::Error> {
    let mut found: HashMap<u32, Access> =
        rows(&client.query(ACCESS, &[&tables]).await?, access_row)?.into_iter().collect();
    let mut policies: HashMap<u32, Vec<Policy>> = HashMap::new();
    for (table, policy) in rows(&client.query(POLICIES, &[&tables]).await?, policy_row)? {
        policies.entry(table).or_default().push(policy);
    }
    for (table, policies) in policies {
        found.entry(table).or_default().policies = policies.into();
    }
    Ok(found)
}

/// Everybody whom an access list, a policy or the ownership of a table names, but PUBLIC.
pub(super) fn named<'a>(tables: impl Iterator<Item = &'a Access>, columns: &[ColumnRow]) -> Vec<u32> {
    let mut named: BTreeSet<u32> = columns.iter().flat_map(|column| column.to_select.iter().copied()).collect();
    for access in tables {
        named.insert(access.owner);
        named.extend(access.schema_usage.iter().chain(&access.select));
        named.extend(access.policies.iter().flat_map(|policy| &policy.roles));
    }
    named.remove(&PUBLIC);
    named.into_iter().collect()
}

/// A table's own access with that of its columns.
pub(super) fn with_columns(access: Access, sent: &[ColumnRow], unsent: &[ColumnRow]) -> Access {
    let mut unsent: Vec<Box<str>> = unsent.iter().map(|column| column.name.as_str().into()).collect();
    unsent.sort_unstable();
    let select_column = sent.iter().map(|column| column.to_select.as_slice().into()).collect();
    Access { select_column, unsent: unsent.into(), ..access }
}

fn access_row(row: &Row) -> Result<(u32, Access), tokio_postgres::Error> {
    let access = Access {
        owner: row.try_get("owner")?,
        schema_usage: row.try_get::<_, Vec<u32>>("schema_usage")?.into(),
        select: row.try_get::<_, Vec<u32>>("to_select")?.into(),
        row_security: row.try_get("row_security")?,
        force_row_security: row.try_get("forced")?,
        ..Access::default()
    };
    Ok((row.try_get("table")?, access))
}

fn policy_row(row: &Row) -> Result<(u32, Policy), tokio_postgres::Error> {
    let columns: BTreeSet<String> = row.try_get::<_, Vec<String>>("columns")?.into_iter().collect();
    let policy = Policy {
        name: row.try_get::<_, String>("name")?.into(),
        permissive: row.try_get("permissive")?,
        roles: row.try_get::<_, Vec<u32>>("roles")?.into(),
        using: row.try_get::<_, Option<String>>("condition")?.map(Into::into),
        tree: row.try_get::<_, Option<String>>("tree")?.unwrap_or_default().into(),
        unbound: false,
        columns: columns.into_iter().map(Into::into).collect(),
    };
    Ok((row.try_get("table")?, policy))
}
