//! One number that is another when anything has changed that an event's shape, visibility or presence depends on: cheap to
//! ask for, so that it can be asked for often.
//!
//! Each command writes new versions of the catalog rows that it changes, with its transaction as their `xmin`. So the number
//! is the sum of the hashes of which versions there are: what is in a row need not be read, and nothing in it can be
//! forgotten. Roles are the exception, whose catalog only superusers may read. The rows are those of the
//! [facts](super::facts). It may also be another number when nothing has changed that matters here.
//!
//! It knows nothing of `postgresql.conf`, prints no policy and resolves no membership.

use tokio_postgres::Client;

/// Sums of hashes do not depend on the order; each part has its own seed. `datdba` decides who is `pg_database_owner`.
/// 10,000 roles with 19,000 memberships, all in memory: see `tests/it/capture/access.rs`. `pg_depend` names what policies
/// name, whose names are part of their text; a cast, or another function or operator of that name, may be what the text means
/// from then on.
const FINGERPRINT: &str = "
    with recursive member (oid) as (
        select pg_catalog.unnest($1::oid[])
        union
        select i.inhrelid from member m join pg_catalog.pg_inherits i on i.inhparent = m.oid
    ),
    columns as materialized (
        select a.attrelid, a.attnum, a.atttypid, a.attcollation, a.xmin as version
        from pg_catalog.pg_attribute a
        where a.attrelid = any ($1::oid[]) and a.attnum > 0 and not a.attisdropped
    ),
    needed (oid) as (
        select distinct columns.atttypid from columns
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
    ),
    -- Those that initdb made stay as they are.
    made (oid) as (
        select needed.oid from needed where needed.oid >= 16384
    ),
    named as (
        select distinct d.refclassid as class, d.refobjid as oid, d.refobjsubid as part
        from pg_catalog.pg_policy y
        join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and d.objid = y.oid
        where y.polrelid = any ($1::oid[])
    ),
    watched_class as (
        select c.oid, c.xmin as version
        from member m join pg_catalog.pg_class c on c.oid = m.oid
    ),
    version (class, oid, part, version) as (
        select 1, c.oid, 0, c.version from watched_class c
        union all
        select 2, n.oid, 0, n.xmin from pg_catalog.pg_namespace n where n.nspname !~ '^pg_(toast_)?temp_'
        union all
        select 3, columns.attrelid, columns.attnum, columns.version from columns
        union all
        select 4, y.oid, 0, y.xmin from pg_catalog.pg_policy y where y.polrelid = any ($1::oid[])
        union all
        select 5, g.oid, 0, g.xmin from member m join pg_catalog.pg_trigger g on g.tgrelid = m.oid where not g.tgisinternal
        union all
        select 6, i.inhrelid, i.inhseqno, i.xmin from member m join pg_catalog.pg_inherits i on i.inhrelid = m.oid
        union all
        select 7, i.indexrelid, 0, i.xmin from member m join pg_catalog.pg_index i on i.indrelid = m.oid where i.indisunique
        union all
        select 8, k.oid, 0, k.xmin from pg_catalog.pg_constraint k where k.conrelid = any ($1::oid[])
        union all
        select 9, k.oid, 0, k.xmin from made join pg_catalog.pg_constraint k on k.contypid = made.oid
        union all
        select 10, t.oid, 0, t.xmin from made join pg_catalog.pg_type t on t.oid = made.oid
        union all
        select 11, e.oid, 0, e.xmin from made join pg_catalog.pg_enum e on e.enumtypid = made.oid
        union all
        select 12, a.attrelid, a.attnum, a.xmin
        from made
        join pg_catalog.pg_type t on t.oid = made.oid and t.typtype = 'c'
        join pg_catalog.pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0
        union all
        select 13, o.oid, 0, o.xmin
        from (select distinct columns.attcollation as oid from columns) c
        join pg_catalog.pg_collation o on o.oid = c.oid
        union all
        select 14, p.oid, 0, p.xmin from pg_catalog.pg_publication p where p.pubname = 'rowcast'
        union all
        select 15, r.oid, 0, r.xmin
        from pg_catalog.pg_publication p join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
        where p.pubname = 'rowcast'
        union all
        select 16, w.relation::oid, 0, w.xmin from rowcast.watched w
        union all
        select 17, d.objoid, d.objsubid, d.xmin
        from pg_catalog.pg_description d
        where d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.objoid = any ($1::oid[])
        union all
        select 18, w.oid, 0, w.xmin from pg_catalog.pg_rewrite w where w.rulename <> '_RETURN'
        union all
        select 19, named.oid, named.part, coalesce(f.xmin, c.xmin, t.xmin, o.xmin)
        from named
        left join pg_catalog.pg_proc f on named.class = 'pg_catalog.pg_proc'::pg_catalog.regclass and f.oid = named.oid
        left join pg_catalog.pg_class c on named.class = 'pg_catalog.pg_class'::pg_catalog.regclass and c.oid = named.oid
        left join pg_catalog.pg_type t on named.class = 'pg_catalog.pg_type'::pg_catalog.regclass and t.oid = named.oid
        left join pg_catalog.pg_operator o on named.class = 'pg_catalog.pg_operator'::pg_catalog.regclass and o.oid = named.oid
        union all
        select 20, a.attrelid, a.attnum, a.xmin
        from named
        join pg_catalog.pg_attribute a on a.attrelid = named.oid and a.attnum = named.part
        where named.class = 'pg_catalog.pg_class'::pg_catalog.regclass and named.part > 0
        union all
        select 21, c.oid, 0, c.xmin from pg_catalog.pg_cast c where c.oid >= 16384
        union all
        select 22, f.oid, 0, f.xmin
        from named
        join pg_catalog.pg_proc n on n.oid = named.oid
        join pg_catalog.pg_proc f on f.proname = n.proname and f.pronamespace = n.pronamespace
        where named.class = 'pg_catalog.pg_proc'::pg_catalog.regclass
        union all
        select 23, o.oid, 0, o.xmin
        from named
        join pg_catalog.pg_operator n on n.oid = named.oid
        join pg_catalog.pg_operator o on o.oprname = n.oprname and o.oprnamespace = n.oprnamespace
        where named.class = 'pg_catalog.pg_operator'::pg_catalog.regclass
        union all
        -- Transactions that have ended since an engine noted them: see sql/watch/note_coverage.sql.
        select 24, w.relation::oid, 0, t.xid::pg_catalog.xid8::pg_catalog.xid
        from rowcast.watched w
        cross join pg_catalog.jsonb_array_elements_text(w.coverage -> 'open') t (xid)
        where pg_catalog.pg_visible_in_snapshot(t.xid::pg_catalog.xid8, pg_catalog.pg_current_snapshot())
    ),
    part (hash) as (
        select pg_catalog.hash_record_extended(v, 1) from version v
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', r.oid, r.rolname, r.rolsuper, r.rolinherit, r.rolbypassrls) collate \"C\", 2)
        from pg_catalog.pg_roles r
        union all
        select pg_catalog.hash_record_extended(m, 3) from pg_catalog.pg_auth_members m
        union all
        select pg_catalog.hashtextextended(d.datdba::text collate \"C\", 4)
        from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
        union all
        select pg_catalog.hashtextextended(
            pg_catalog.concat_ws(',', s.setdatabase, s.setrole, s.setconfig) collate \"C\", 5)
        from pg_catalog.pg_db_role_setting s
        left join pg_catalog.pg_database d on d.oid = s.setdatabase
        left join pg_catalog.pg_roles r on r.oid = s.setrole
        where (s.setdatabase = 0 or d.datname = pg_catalog.current_database())
          and (s.setrole = 0 or r.rolname = current_user)
    )
    select coalesce(pg_catalog.sum(part.hash), 0)::text from part";

/// What the catalog said of the watched tables, as one number. Equal ones say that nothing has changed.
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

    /// The same question now. Without jit, which takes 20 times as long to compile it as it takes to run.
    pub async fn again(&self, client: &Client) -> Result<Self, super::CatalogError> {
        client.batch_execute("begin read only; set local jit = off").await?;
        let taken = Self::take(client, &self.tables).await;
        client.batch_execute("rollback").await?;
        Ok(taken?)
    }
}
