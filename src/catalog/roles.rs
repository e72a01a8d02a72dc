//! The roles of the cluster and what they inherit, as PostgreSQL itself resolves it.

use tokio_postgres::{Client, Row};

use super::rows::rows;
use crate::model::{Role, Roles};

/// The judge is `pg_has_role`; the closure over `pg_auth_members` only finds whom to ask it about, so that many roles
/// times many grantees cost what is granted and not their product. 6171 is `pg_database_owner`, which the database's
/// owner is a member of without a row. Sorted behind a fence (`offset 0`): `pg_has_role` keeps what one role belongs to,
/// and would find it out again for each pair if they came in another order. 10,000 roles in two groups each: 0.7 s on
/// PostgreSQL 15 (nearly all in `pg_has_role`), 0.15 s on 18.
///
/// Whether rowcast's user may `set role`: membership was enough before 16, which knows `SET` as an option of it.
const ROLES: &str = "
    with recursive edge (member, role) as materialized (
        select m.member, m.roleid from pg_catalog.pg_auth_members m
        union all
        select d.datdba, 6171 from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
    ),
    above (member, role) as (
        select r.oid, r.oid from pg_catalog.pg_roles r
        union
        select above.member, edge.role from above join edge on edge.member = above.role
    ),
    candidate (member, role) as (
        select above.member, above.role from above where above.role = any ($1::oid[])
        union
        select r.oid, named from pg_catalog.pg_roles r, pg_catalog.unnest($1::oid[]) named where r.rolsuper
    ),
    had as (
        select c.member, pg_catalog.array_agg(c.role order by c.role) as roles
        from (select member, role from candidate order by member, role offset 0) c
        where pg_catalog.pg_has_role(c.member, c.role, 'USAGE')
        group by c.member
    )
    select r.oid, r.rolname, r.rolsuper, r.rolbypassrls,
           pg_catalog.pg_has_role(
               (select me.oid from pg_catalog.pg_roles me where me.rolname = current_user), r.oid,
               (select case when pg_catalog.current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)
           ) as settable,
           coalesce(had.roles, '{}') as privileges_of
    from pg_catalog.pg_roles r left join had on had.member = r.oid";

/// All roles, with their relation to the `named` ones.
pub(super) async fn read(client: &Client, named: &[u32]) -> Result<Roles, tokio_postgres::Error> {
    let roles = rows(&client.query(ROLES, &[&named]).await?, role_row)?;
    Ok(Roles { by_name: roles.into_iter().map(|role| (role.name.clone(), role)).collect() })
}

fn role_row(row: &Row) -> Result<Role, tokio_postgres::Error> {
    Ok(Role {
        oid: row.try_get("oid")?,
        name: row.try_get::<_, String>("rolname")?.into(),
        superuser: row.try_get("rolsuper")?,
        bypass_rls: row.try_get("rolbypassrls")?,
        settable: row.try_get("settable")?,
        privileges_of: row.try_get::<_, Vec<u32>>("privileges_of")?.into(),
    })
}
