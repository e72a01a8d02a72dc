//! Takes everything that rowcast made out of a database, also what another version of rowcast made: statements are
//! written from the catalogs, and only what this version's schema knows is read from it where it is there.
//!
//! One transaction holds all but the replication slots, which have no transactions and come last. A run that fails
//! before them changes nothing, and one that fails at them can be repeated.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};

use super::StoreError;
use super::migrate::{self, LOCK, LOCK_TIMEOUT};

/// What an uninstall does, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uninstall {
    /// What has to end first, each with what to do. With one of them nothing is removed.
    pub obstacles: Vec<String>,
    /// The statements of one transaction, in order.
    pub statements: Vec<String>,
    /// What follows it: each drops a replication slot.
    pub slots: Vec<String>,
    /// What stays in the database or the cluster, and why.
    pub leaves: Vec<String>,
}

/// For [`uninstall`]: no table is watched until it ends. Taken behind [`LOCK`], as migrations do.
const WATCH_LOCK: &str = "select pg_catalog.pg_advisory_xact_lock(1919907683, 1)";

/// For [`plan`].
const HAS_READERS: &str = "select pg_catalog.to_regclass('rowcast.outbox_reader') is not null";

/// For [`plan`]: an engine of a development version remembered no identities.
const HAS_IDENTITIES: &str = "select pg_catalog.to_regprocedure('rowcast.identity_changes(regclass)') is not null";

/// Engines that stream; `$1` names the slots of the pool.
const STREAMS: &str = "
    select pg_catalog.format('an engine streams from slot %s (process %s of PostgreSQL): stop it', slot_name, active_pid)
    from pg_catalog.pg_replication_slots where slot_name::text = any ($1) and active_pid is not null order by 1";

/// Engines that read the outbox. One that was killed counts for a minute.
const READERS: &str = "
    select pg_catalog.format('an engine reads the outbox (%s, last seen %s s ago): stop it; one that was killed counts for 60 s',
        name, pg_catalog.round(extract(epoch from pg_catalog.clock_timestamp() - seen_at)))
    from rowcast.outbox_reader where seen_at >= pg_catalog.clock_timestamp() - interval '1 minute' order by 1";

/// What is in schema rowcast, or names it, and was not made by a migration; `$1` names the relations and `$2` the functions
/// that are. A role called rowcast finds the schema first on its `search_path`, so anything of an application may be in
/// it, also partitions of its tables elsewhere. A sequence that belongs to a column goes with its table, and the query of
/// a view with the view: both are in the same schema.
const STRANGERS: &str = "
    select distinct pg_catalog.format('%s %s is not part of rowcast, and would be dropped with the schema: move it to another schema, or drop it',
        o.type, o.identity)
    from pg_catalog.pg_depend d
    left join pg_catalog.pg_depend e on e.classid = d.classid and e.objid = d.objid and e.deptype = 'e'
    cross join lateral pg_catalog.pg_identify_object(coalesce(e.refclassid, d.classid), coalesce(e.refobjid, d.objid), 0) o
    where d.refclassid = 'pg_catalog.pg_namespace'::regclass and d.refobjid = pg_catalog.to_regnamespace('rowcast') and d.deptype = 'n'
      and not exists (
          select from pg_catalog.pg_class c
          left join pg_catalog.pg_depend s on s.classid = d.classid and s.objid = c.oid and s.refclassid = s.classid
              and s.refobjsubid > 0 and s.deptype in ('a', 'i') and c.relkind = 'S'
          where d.classid = 'pg_catalog.pg_class'::regclass and c.oid = d.objid and (c.relname = any ($1) or s.objid is not null)
      )
      and not exists (
          select from pg_catalog.pg_rewrite w join pg_catalog.pg_class c on c.oid = w.ev_class
          where d.classid = 'pg_catalog.pg_rewrite'::regclass and w.oid = d.objid and c.relnamespace = d.refobjid
      )
      and not exists (
          select from pg_catalog.unnest($2::text[]) f (signature)
          where d.classid = 'pg_catalog.pg_proc'::regclass and pg_catalog.to_regprocedure(f.signature)::oid = d.objid
      )
    order by 1";

/// Objects elsewhere that need one of schema rowcast, and would be dropped with it. Triggers are rowcast's own if their
/// function is one of `$1`.
const DEPENDENTS: &str = "
    with ours as (select pg_catalog.to_regnamespace('rowcast') as id),
    part as (
        select 'pg_catalog.pg_class'::regclass::oid as kind, c.oid from pg_catalog.pg_class c, ours where c.relnamespace = ours.id
        union all
        select 'pg_catalog.pg_proc'::regclass, p.oid from pg_catalog.pg_proc p, ours where p.pronamespace = ours.id
        union all
        select 'pg_catalog.pg_type'::regclass, t.oid from pg_catalog.pg_type t, ours where t.typnamespace = ours.id
    )
    select distinct pg_catalog.format('%s needs schema rowcast: drop it', pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid))
    from pg_catalog.pg_depend d
    join part on part.kind = d.refclassid and part.oid = d.refobjid
    cross join ours
    cross join lateral pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) o
    left join pg_catalog.pg_rewrite w on d.classid = 'pg_catalog.pg_rewrite'::regclass and w.oid = d.objid
    left join pg_catalog.pg_attrdef a on d.classid = 'pg_catalog.pg_attrdef'::regclass and a.oid = d.objid
    left join pg_catalog.pg_constraint k on d.classid = 'pg_catalog.pg_constraint'::regclass and k.oid = d.objid
    left join pg_catalog.pg_trigger t on d.classid = 'pg_catalog.pg_trigger'::regclass and t.oid = d.objid
    left join pg_catalog.pg_event_trigger e on d.classid = 'pg_catalog.pg_event_trigger'::regclass and e.oid = d.objid
    left join pg_catalog.pg_class c on c.oid = coalesce(w.ev_class, a.adrelid, nullif(k.conrelid, 0), t.tgrelid)
    where d.deptype = 'n'
      and not exists (
          select from pg_catalog.unnest($1::text[]) f (signature)
          where pg_catalog.to_regprocedure(f.signature)::oid in (t.tgfoid, e.evtfoid)
      )
      and coalesce(c.relnamespace, pg_catalog.to_regnamespace(pg_catalog.quote_ident(o.schema))::oid, 0) <> ours.id
    order by 1";

/// What is dropped before the replica identities are set back: the triggers whose function is one of `$1`.
const TRIGGERS: &str = "
    with ours as (select pg_catalog.to_regprocedure(f.signature)::oid as id from pg_catalog.unnest($1::text[]) f (signature))
    select pg_catalog.format('drop event trigger %I', e.evtname) as statement, 1 as place
    from pg_catalog.pg_event_trigger e join ours on ours.id = e.evtfoid
    union all
    select pg_catalog.format('drop trigger %I on %I.%I', t.tgname, n.nspname, c.relname), 2
    from pg_catalog.pg_trigger t
    join ours on ours.id = t.tgfoid
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where t.tgparentid = 0
    order by place, statement";

/// Replica identities that rowcast set to FULL.
const IDENTITIES: &str = "select statement from rowcast.identity_changes() where needed_by is null";

/// Those that stay, since another publication has the table.
const NEEDED_IDENTITIES: &str = "
    select pg_catalog.format('%s keeps replica identity full: another publication has the table (%s)', member, needed_by)
    from rowcast.identity_changes() where needed_by is not null";

/// What is dropped after them.
const REST: &str = "
    select 'drop publication rowcast' from pg_catalog.pg_publication where pubname = 'rowcast'
    union all
    select 'drop schema rowcast cascade' where pg_catalog.to_regnamespace('rowcast') is not null";

/// One for each slot of the pool.
const SLOTS: &str = "
    select pg_catalog.format('select pg_catalog.pg_drop_replication_slot(%L)', slot_name)
    from pg_catalog.pg_replication_slots where slot_name::text = any ($1) order by 1";

/// The same where no identities were remembered.
const UNKNOWN_IDENTITIES: &str = "
    select pg_catalog.format('%I.%I keeps replica identity full: what it was before was not recorded', n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relreplident = 'f' and exists (
        select from pg_catalog.pg_publication p join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
        where p.pubname = 'rowcast'
          and (r.prrelid = c.oid or r.prrelid in (select a.relid from pg_catalog.pg_partition_ancestors(c.oid) a))
    )
    order by 1";

/// Slots that may be of another pool, and roles that were given rights.
const OTHERS: &str = "
    select pg_catalog.format('replication slot %s: it is not of this pool; `--slot` names another pool', slot_name)
    from pg_catalog.pg_replication_slots
    where plugin = 'pgoutput' and database = pg_catalog.current_database() and not temporary and slot_name::text <> all ($1)
    union all
    select distinct pg_catalog.format('role %I: its rights in schema rowcast end, the role stays', r.rolname)
    from pg_catalog.pg_namespace n
    cross join lateral pg_catalog.aclexplode(n.nspacl) a
    join pg_catalog.pg_roles r on r.oid = a.grantee
    where n.nspname = 'rowcast' and a.grantee <> n.nspowner
    order by 1";

/// Removes what rowcast made, or with `dry_run` only says so. `slots` names those of the pool.
pub async fn uninstall(client: &mut Client, slots: &[String], dry_run: bool) -> Result<Uninstall, StoreError> {
    let transaction = client.transaction().await?;
    for lock in [LOCK, WATCH_LOCK, LOCK_TIMEOUT] {
        transaction.batch_execute(lock).await?;
    }
    let planned = plan(&transaction, slots).await?;
    if dry_run {
        return Ok(planned);
    }
    if !planned.obstacles.is_empty() {
        return Err(StoreError::UninstallBlocked { obstacles: planned.obstacles.join("; ") });
    }
    transaction.batch_execute(&planned.statements.join(";\n")).await?;
    transaction.commit().await?;
    for slot in &planned.slots {
        client.batch_execute(slot).await?;
    }
    Ok(planned)
}

async fn plan(transaction: &Transaction<'_>, slots: &[String]) -> Result<Uninstall, StoreError> {
    let mut statements = texts(transaction, TRIGGERS, &[&migrate::functions()]).await?;
    let mut leaves = Vec::new();
    if holds(transaction, HAS_IDENTITIES).await? {
        statements.extend(texts(transaction, IDENTITIES, &[]).await?);
        leaves.extend(texts(transaction, NEEDED_IDENTITIES, &[]).await?);
    } else {
        leaves.extend(texts(transaction, UNKNOWN_IDENTITIES, &[]).await?);
    }
    leaves.extend(texts(transaction, OTHERS, &[&slots]).await?);
    statements.extend(texts(transaction, REST, &[]).await?);
    let drops = texts(transaction, SLOTS, &[&slots]).await?;
    Ok(Uninstall { obstacles: obstacles(transaction, slots).await?, statements, slots: drops, leaves })
}

async fn obstacles(transaction: &Transaction<'_>, slots: &[String]) -> Result<Vec<String>, StoreError> {
    let mut found = texts(transaction, STREAMS, &[&slots]).await?;
    if holds(transaction, HAS_READERS).await? {
        found.extend(texts(transaction, READERS, &[]).await?);
    }
    let functions = migrate::functions();
    found.extend(texts(transaction, STRANGERS, &[&migrate::relations(), &functions]).await?);
    found.extend(texts(transaction, DEPENDENTS, &[&functions]).await?);
    Ok(found)
}

async fn holds(transaction: &Transaction<'_>, condition: &str) -> Result<bool, StoreError> {
    Ok(transaction.query_one(condition, &[]).await?.try_get(0)?)
}

async fn texts(
    transaction: &Transaction<'_>,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<String>, StoreError> {
    transaction.query(sql, parameters).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
