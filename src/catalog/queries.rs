//! The questions to the catalog, asked in one read-only snapshot, and their answers as plain rows.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Client;

use super::fingerprint::Fingerprint;
use super::rows::{ColumnRow, TableRow, TypeRow, column_row, rows, table_row, type_row};
use super::{CatalogError, access, roles, settings};
use crate::model::{Access, Roles, Seen};

/// For [`read`]: one snapshot for all questions, since a table may change its shape between two. Where only
/// `pg_catalog` is searched, and temporary relations last, PostgreSQL prints a policy's expression with every other name
/// qualified, and nobody's objects get in between.
/// No jit: see `sql/watch/watch.sql`.
const BEGIN: &str = "begin isolation level repeatable read read only; set local jit = off; \
                     set local search_path = pg_catalog, pg_temp";

/// For [`read`], before its snapshot: what one that is older sees, and the transactions that hold the lock on their own number. One of them may be visible to it
/// although sessions have not heard yet that their caches of the catalog are stale, from which `pg_get_expr` answers: that is
/// reported before the lock is released.
const OPEN: &str = "
    select pg_catalog.pg_current_snapshot()::text,
           array(select l.transactionid::text from pg_catalog.pg_locks l where l.locktype = 'transactionid' and l.granted)";

/// For [`read`]: by `rowcast.watched_pkey`, see `sql/watch/tables.sql`; the tables of `$1` by `pg_class_oid_index` as they
/// would be if they were watched.
const TABLES: &str = "
    select t.oid, t.schema, t.name, t.identity, t.key_attnums, t.tenant_attnum, t.public, t.comment,
           t.problems,
           array(select rowcast.problem_hint(p) from pg_catalog.unnest(t.problems) with ordinality u (p, n) order by n) as hints,
           c.coverage::text, w.coverage is not distinct from c.coverage as is_noted,
           case
               when w.coverage is not distinct from c.coverage then w.whole_since
               when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
               else pg_catalog.pg_current_wal_insert_lsn()
           end as whole_since
    from rowcast.tables t
    join rowcast.watched w on w.relation = t.oid
    join rowcast.coverage c on c.relation = t.oid
    union all
    select c.oid, n.nspname, c.relname, 'f',
           array(select k.attnum from pg_catalog.pg_index i
                 cross join lateral pg_catalog.unnest(i.indkey::int2[]) with ordinality k (attnum, place)
                 where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts order by k.place),
           null, false, null, '{}', '{}', null, null, null
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = any ($1::oid[]) and not exists (select from rowcast.watched w where w.relation = c.oid)
    order by 2, 3";

/// For [`read`]: by `pg_attribute_relid_attnum_index`. `sent` follows pgoutput: a column list decides when there is one
/// (15 and newer), else generated columns are left out unless the publication asks for stored ones (18); virtual ones
/// are never sent. The two catalog columns are reached by name so that one query serves 14 to 18. A NOT NULL constraint
/// that is not validated (18) promises nothing. A collation is PostgreSQL's or its database's, of libc or of another
/// provider, each with a column of its own in each version; text without one is `"char"`, one byte; Turkish and Azeri have their own idea of `lower('I')`.
const COLUMNS: &str = "
    select a.attrelid, a.attnum, a.attname, a.atttypid,
           a.attnotnull and not exists (
               select from pg_catalog.pg_constraint c
               where c.conrelid = a.attrelid and c.contype = 'n' and not c.convalidated and c.conkey[1] = a.attnum
           ) as not_null,
           case
               when a.attgenerated = 'v' then false
               when r.list is not null then r.list @> pg_catalog.to_jsonb(a.attnum)
               when a.attgenerated = 's' then coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', 'n') = 's'
               else true
           end as sent,
           array(
               select distinct g.grantee from pg_catalog.aclexplode(a.attacl) g where g.privilege_type = 'SELECT' order by 1
           ) as to_select,
           case
               when co.oid is null then 'c'
               when not co.collisdeterministic then 'nondeterministic'
               when l.letters ~* '^(tr|az)' then 'deterministic'
               when l.sorts in ('C', 'POSIX') then 'c'
               else 'plain'
           end as collation,
           case
               when co.oid is null or l.letters in ('C', 'POSIX') then 'ascii'
               when l.letters ~* '^(tr|az|lt)' then 'language'
               when l.provider = 'i' or l.letters = 'PG_UNICODE_FAST' then 'full'
               else 'simple'
           end as folding
    from pg_catalog.pg_attribute a
    left join pg_catalog.pg_collation co on co.oid = a.attcollation
    left join pg_catalog.pg_database d on co.collprovider = 'd' and d.datname = pg_catalog.current_database()
    left join lateral (
        select coalesce(j ->> 'datlocale', j ->> 'daticulocale', j ->> 'colllocale', j ->> 'colliculocale') as locale, j
        from coalesce(pg_catalog.to_jsonb(d), pg_catalog.to_jsonb(co)) j
    ) n on true
    left join lateral (
        select coalesce(n.locale, n.j ->> 'datcollate', n.j ->> 'collcollate') as sorts,
               coalesce(n.locale, n.j ->> 'datctype', n.j ->> 'collctype') as letters,
               coalesce(n.j ->> 'datlocprovider', n.j ->> 'collprovider') as provider
    ) l on true
    left join pg_catalog.pg_publication p on p.pubname = 'rowcast'
    left join lateral (
        select nullif(pg_catalog.to_jsonb(pr) -> 'prattrs', 'null') as list
        from pg_catalog.pg_publication_rel pr
        where pr.prpubid = p.oid and pr.prrelid = a.attrelid
    ) r on true
    where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
    order by a.attrelid, a.attnum";

/// For [`read`]: by `pg_type_oid_index`; the types of the columns and whatever they are made of. Arrays are those that
/// print as arrays: int2vector and its like have elements but a text form of their own.
const TYPES: &str = "
    with recursive needed (oid) as (
        select pg_catalog.unnest($1::oid[])
        union
        select part.oid
        from needed
        join pg_catalog.pg_type t on t.oid = needed.oid
        cross join lateral (
            select t.typbasetype where t.typtype = 'd'
            union all
            select t.typelem where t.typelem <> 0
            union all
            select a.atttypid from pg_catalog.pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
        ) part (oid)
    )
    select t.oid, t.typname as name, t.typtype::text as kind, t.typcategory::text as category,
           t.typbasetype as base, t.typnotnull as not_null, t.typdelim::text as delimiter,
           case when t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc then t.typelem else 0 end as element,
           array(select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels,
           array(select a.attname::text from pg_catalog.pg_attribute a
                 where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                 order by a.attnum) as attribute_names,
           array(select a.atttypid from pg_catalog.pg_attribute a
                 where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
                 order by a.attnum) as attribute_types
    from needed join pg_catalog.pg_type t on t.oid = needed.oid";

/// Everything that was asked for.
pub(super) struct Catalog {
    pub(super) tables: Vec<TableRow>,
    pub(super) columns: Vec<ColumnRow>,
    pub(super) types: Vec<TypeRow>,
    pub(super) access: HashMap<u32, Access>,
    pub(super) roles: Roles,
    pub(super) setting_defaults: BTreeMap<Box<str>, Box<str>>,
    pub(super) seen: Option<Seen>,
    pub(super) fingerprint: Fingerprint,
}

/// Ask everything in one snapshot. The transaction is ended even when a question fails. A caller that drops this future
/// half-way must drop the client too.
pub(super) async fn read(client: &Client, planned: &[u32]) -> Result<Catalog, CatalogError> {
    let open = client.query_one(OPEN, &[]).await?;
    let (snapshot, open): (String, Vec<String>) = (open.try_get(0)?, open.try_get(1)?);
    client.batch_execute(BEGIN).await?;
    let answer = ask(client, planned).await;
    let ended = client.batch_execute("rollback").await;
    let mut catalog = answer?;
    ended?;
    let open: Vec<u32> = open.iter().filter_map(|xid| xid.parse().ok()).collect();
    catalog.seen = snapshot.parse().ok().map(|seen: Seen| seen.without(&open));
    // A setting that may not be read would end the transaction, and no snapshot has any part in it.
    catalog.setting_defaults = settings::read(client, &settings::named(catalog.access.values())).await?;
    Ok(catalog)
}

async fn ask(client: &Client, planned: &[u32]) -> Result<Catalog, tokio_postgres::Error> {
    let tables = rows(&client.query(TABLES, &[&planned]).await?, table_row)?;
    let oids: Vec<u32> = tables.iter().map(|table: &TableRow| table.oid).collect();
    let columns = rows(&client.query(COLUMNS, &[&oids]).await?, column_row)?;
    let type_oids: Vec<u32> = columns.iter().map(|column: &ColumnRow| column.type_oid).collect();
    let types = rows(&client.query(TYPES, &[&type_oids]).await?, type_row)?;
    let access = access::read(client, &oids).await?;
    let roles = roles::read(client, &access::named(access.values(), &columns)).await?;
    let fingerprint = Fingerprint::take(client, &oids).await?;
    let (seen, setting_defaults) = (None, BTreeMap::new());
    Ok(Catalog { tables, columns, types, access, roles, setting_defaults, seen, fingerprint })
}
