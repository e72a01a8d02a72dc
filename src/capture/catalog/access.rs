//! Who may read what: owners, grants, policies and roles, asked in the snapshot of the tables.
//!
//! Who has whose privileges is PostgreSQL's own word (`pg_has_role`): inheritance differs between versions (since 16 it
//! belongs to the membership, before to the role).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio_postgres::{Client, Row};

use super::queries::ColumnRow;
use crate::model::{Access, Policy, Role, Roles};

/// For [`read`]: owner and grants by `pg_class_oid_index` and `pg_namespace_oid_index`. An object that nobody granted
/// anything on has no list of its own but the default one. Who holds `pg_read_all_data` (6181, since 14) reads every
/// table in every schema.
const TABLES: &str = "
    select c.oid, c.relowner as owner, c.relrowsecurity as row_security, c.relforcerowsecurity as forced,
           array(select 6181::oid union
                 select g.grantee from pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) g
                 where g.privilege_type = 'USAGE') as schema_usage,
           array(select 6181::oid union
                 select g.grantee from pg_catalog.aclexplode(coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))) g
                 where g.privilege_type = 'SELECT') as readers
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = any ($1::oid[])";

/// For [`read`]: by `pg_attribute_relid_attnum_index`; grants on columns.
const COLUMNS: &str = "
    select a.attrelid, a.attnum, g.grantee
    from pg_catalog.pg_attribute a cross join lateral pg_catalog.aclexplode(a.attacl) g
    where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped and g.privilege_type = 'SELECT'";

/// For [`read`]: by `pg_policy_polrelid_polname_index` and `pg_depend_depender_index`. Only policies for SELECT and for
/// ALL decide what is seen. Printed under an empty `search_path`, a policy's text means the same in every session.
const POLICIES: &str = "
    select p.polrelid, p.polname, p.polpermissive, p.polroles, pg_catalog.pg_get_expr(p.polqual, p.polrelid) as condition,
           array(select distinct a.attname::text from pg_catalog.pg_depend d
                 join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
                 where d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and d.objid = p.oid
                   and d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                   and d.refobjid = p.polrelid and d.refobjsubid > 0) as columns
    from pg_catalog.pg_policy p
    where p.polrelid = any ($1::oid[]) and p.polcmd in ('r', '*')
    order by p.polrelid, p.polname";

/// For [`read`]: all roles, and of those in `$1` the ones whose privileges each has. Role by role, as PostgreSQL keeps
/// what it found out about one. A membership allows `set role` unless, since 16, it says otherwise.
const ROLES: &str = "
    select r.oid, r.rolname, r.rolsuper, r.rolbypassrls,
           pg_catalog.pg_has_role(r.oid, case when pg_catalog.current_setting('server_version_num')::int >= 160000
                                              then 'SET' else 'MEMBER' end) as settable,
           array(select g.oid from pg_catalog.unnest($1::oid[]) g (oid)
                 where pg_catalog.pg_has_role(r.oid, g.oid, 'USAGE') order by g.oid) as privileges_of
    from pg_catalog.pg_roles r";

/// For [`read`]: what the settings are for a session that sets none of them.
const SETTINGS: &str = "
    select s.name, pg_catalog.current_setting(s.name, true) as value from pg_catalog.unnest($1::text[]) s (name)";

/// Access control of the tables asked for.
#[derive(Default)]
pub(super) struct AccessCatalog {
    pub(super) tables: HashMap<u32, Access>,
    pub(super) roles: Arc<Roles>,
    pub(super) setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
}

/// Asks for the tables with these columns, within the caller's transaction, whose `search_path` is empty.
pub(super) async fn read(
    client: &Client,
    oids: &[u32],
    columns: &[ColumnRow],
) -> Result<AccessCatalog, tokio_postgres::Error> {
    let mut tables = HashMap::new();
    for row in client.query(TABLES, &[&oids]).await? {
        tables.insert(row.try_get("oid")?, access(&row)?);
    }
    add_columns(&mut tables, columns, &client.query(COLUMNS, &[&oids]).await?)?;
    add_policies(&mut tables, &client.query(POLICIES, &[&oids]).await?)?;
    let named: Vec<u32> = tables.values().flat_map(roles_of).collect::<BTreeSet<_>>().into_iter().collect();
    let roles = client.query(ROLES, &[&named]).await?.iter().map(role).collect::<Result<_, _>>()?;
    let setting_defaults = setting_defaults(client, &settings_of(&tables)).await?;
    Ok(AccessCatalog {
        tables,
        roles: Arc::new(Roles { by_name: roles }),
        setting_defaults: Arc::new(setting_defaults),
    })
}

fn access(row: &Row) -> Result<Access, tokio_postgres::Error> {
    Ok(Access {
        owner: row.try_get("owner")?,
        schema_usage: row.try_get::<_, Vec<u32>>("schema_usage")?.into(),
        select: row.try_get::<_, Vec<u32>>("readers")?.into(),
        row_security: row.try_get("row_security")?,
        force_row_security: row.try_get("forced")?,
        ..Access::default()
    })
}

/// Columns that are sent have their grantees, in order; the others their names.
fn add_columns(
    tables: &mut HashMap<u32, Access>,
    columns: &[ColumnRow],
    granted: &[Row],
) -> Result<(), tokio_postgres::Error> {
    let mut grantees: HashMap<(u32, i16), Vec<u32>> = HashMap::new();
    for row in granted {
        grantees.entry((row.try_get("attrelid")?, row.try_get("attnum")?)).or_default().push(row.try_get("grantee")?);
    }
    for (oid, access) in tables {
        let (sent, unsent): (Vec<_>, Vec<_>) =
            columns.iter().filter(|column| column.table == *oid).partition(|column| column.sent);
        let readers = |column: &&ColumnRow| grantees.get(&(*oid, column.attnum)).cloned().unwrap_or_default().into();
        access.select_column = sent.iter().map(readers).collect();
        access.unsent = unsent.iter().map(|column| column.name.as_str().into()).collect();
    }
    Ok(())
}

fn add_policies(tables: &mut HashMap<u32, Access>, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    let mut policies: HashMap<u32, Vec<Policy>> = HashMap::new();
    for row in rows {
        policies.entry(row.try_get("polrelid")?).or_default().push(policy(row)?);
    }
    for (oid, policies) in policies {
        if let Some(access) = tables.get_mut(&oid) {
            access.policies = policies.into();
        }
    }
    Ok(())
}

fn policy(row: &Row) -> Result<Policy, tokio_postgres::Error> {
    let columns: Vec<String> = row.try_get("columns")?;
    Ok(Policy {
        name: row.try_get::<_, String>("polname")?.into(),
        permissive: row.try_get("polpermissive")?,
        roles: row.try_get::<_, Vec<u32>>("polroles")?.into(),
        using: row.try_get::<_, Option<String>>("condition")?.map(Into::into),
        columns: columns.into_iter().map(Into::into).collect(),
    })
}

/// The roles whose privileges decide something about the table; 0 stands for everybody and is no role.
fn roles_of(access: &Access) -> impl Iterator<Item = u32> {
    let granted = access.schema_usage.iter().chain(&access.select).chain(access.select_column.iter().flatten());
    let named = granted.chain(access.policies.iter().flat_map(|policy| &policy.roles));
    named.copied().chain([access.owner]).filter(|oid| *oid != 0)
}

fn role(row: &Row) -> Result<(Box<str>, Role), tokio_postgres::Error> {
    let name: Box<str> = row.try_get::<_, String>("rolname")?.into();
    let role = Role {
        oid: row.try_get("oid")?,
        name: name.clone(),
        superuser: row.try_get("rolsuper")?,
        bypass_rls: row.try_get("rolbypassrls")?,
        settable: row.try_get("settable")?,
        privileges_of: row.try_get::<_, Vec<u32>>("privileges_of")?.into(),
    };
    Ok((name, role))
}

/// Custom settings (their names have a dot) that policies name. One that the text builds at run time is not found here,
/// and not needed either: such a policy is not compiled.
fn settings_of(tables: &HashMap<u32, Access>) -> Vec<String> {
    let texts = tables.values().flat_map(|access| &access.policies).filter_map(|policy| policy.using.as_deref());
    let called = texts.flat_map(|text| text.split("current_setting('").skip(1));
    let names = called.filter_map(|rest| rest.split_once('\'').map(|(name, _)| name.to_owned()));
    names.filter(|name| name.contains('.')).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn setting_defaults(
    client: &Client,
    names: &[String],
) -> Result<BTreeMap<Box<str>, Box<str>>, tokio_postgres::Error> {
    let mut defaults = BTreeMap::new();
    for row in client.query(SETTINGS, &[&names]).await? {
        let (name, value): (String, Option<String>) = (row.try_get("name")?, row.try_get("value")?);
        defaults.extend(value.map(|value| (name.into(), value.into())));
    }
    Ok(defaults)
}
