-- Why: the engine must know, after a restart and from SQL, which tables are followed and by which rule; a publication
-- alone cannot say who may see what. The schema and its history table exist already: the migrator needs them first.

comment on schema rowcast is
    'rowcast: watched tables, manual publishing and health. Its version is the last row of rowcast.migration.';

comment on table rowcast.migration is 'Migrations that were applied to this database. Written by rowcast alone.';
revoke all on table rowcast.migration from public;

-- The tables that somebody watches. Written by rowcast.watch and rowcast.unwatch, read through rowcast.tables.
--
-- `relation` is a regclass: it follows a rename, and pg_dump writes it as a name. `tenant_attnum` follows the rename
-- of a column while the database lives, but a restored dump numbers columns anew: then `relation_oid` differs from
-- `relation`, and `tenant_column` decides instead. rowcast.tables holds that rule; when number and name
-- contradict each other it gives no tenant column at all, and the table is not served until it is watched again.
create table rowcast.watched (
    relation regclass primary key,
    relation_oid oid not null,
    relation_name text not null,
    tenant_column name,
    tenant_attnum int2,
    public boolean not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint watched_tenant_is_whole check ((tenant_column is null) = (tenant_attnum is null)),
    constraint watched_public_has_no_tenant check (not public or tenant_column is null)
);
comment on table rowcast.watched is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
comment on column rowcast.watched.relation is 'The table; stale when the table was dropped.';
comment on column rowcast.watched.relation_oid is 'relation as it was when watched: differs after a dump was restored.';
comment on column rowcast.watched.relation_name is 'Qualified name as it was when watched, to unwatch a table that is gone.';
comment on column rowcast.watched.tenant_column is 'Name of the tenant column when watched.';
comment on column rowcast.watched.tenant_attnum is 'Number of the tenant column when watched.';
comment on column rowcast.watched.public is 'Readable by every principal.';
comment on column rowcast.watched.created_at is 'When it was watched first.';
comment on column rowcast.watched.updated_at is 'When its settings changed last.';
revoke all on table rowcast.watched from public;

-- The watched tables as the catalog has them now; tables that were dropped are not in it.
-- Read by src/capture/catalog.rs at each load, by rowcast.watch for its verdict and by rowcast.status.
-- Served by pg_class_oid_index and the other catalogs' indexes for each row of rowcast.watched. It reads catalogs alone and
-- locks no table of the user, so it answers while one is altered: pg_publication_tables (16 and newer) and pg_partition_tree
-- would wait behind ACCESS EXCLUSIVE.
create view rowcast.tables as
select
    c.oid,
    n.nspname as schema,
    c.relname as name,
    member.identity,
    coalesce(key.attnums, '{}') as key_attnums,
    tenant.attnum as tenant_attnum,
    w.public,
    c.relrowsecurity as row_security,
    part.published,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    array_remove(array[
        case when not part.published then 'not_published' end,
        case when w.tenant_column is not null and tenant.attnum is null then 'tenant_column_lost' end,
        case when not member.identified then 'identity_missing' end,
        case when member.identified and member.identity <> 'f' then 'identity_not_full' end,
        case when not member.logged then 'partition_not_logged' end,
        case when c.relkind = 'r' and child.found then 'has_children' end,
        case when part.of_rows then 'row_filter' end,
        case when part.of_columns then 'column_list' end,
        case when key.attnums is null then 'no_primary_key' end,
        case when c.relrowsecurity and not policy.found then 'no_policy' end,
        case when w.tenant_column is null and not w.public and not c.relrowsecurity then 'nobody_may_subscribe' end
    ], null) as problems
from rowcast.watched w
join pg_catalog.pg_class c on c.oid = w.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
-- The table itself and, when it is partitioned, everything below it. Identity is the weakest of all, since an old
-- image comes from a leaf; a leaf without one makes its owner's UPDATE and DELETE fail.
cross join lateral (
    select
        coalesce(min(m.relreplident) filter (where m.relreplident <> 'f'), 'f')::text as identity,
        bool_and(m.relkind = 'p' or m.relreplident = 'f' or exists (
            select from pg_catalog.pg_index i
            where i.indrelid = m.oid and i.indisvalid and i.indimmediate
              and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
        )) as identified,
        bool_and(m.relkind in ('r', 'p') and m.relpersistence = 'p') as logged
    from (
        with recursive tree (oid) as (
            select c.oid
            union all
            select i.inhrelid
            from tree
            join pg_catalog.pg_inherits i on i.inhparent = tree.oid
            where c.relkind = 'p' and not i.inhdetachpending
        )
        select tree.oid from tree
    ) tree
    join pg_catalog.pg_class m on m.oid = tree.oid
) member
left join lateral (
    select array_agg(k.attnum order by k.place) as attnums
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
) key on true
-- Number and name agree; or the name is gone since the column was renamed; or the number means nothing since the
-- dump was restored. Everything else is no tenant column: in doubt nobody sees a row.
left join lateral (
    select a.attnum
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and case
          when a.attnum = w.tenant_attnum and a.attname = w.tenant_column then true
          when w.relation_oid = c.oid then a.attnum = w.tenant_attnum and not exists (
              select from pg_catalog.pg_attribute named
              where named.attrelid = c.oid and named.attname = w.tenant_column and not named.attisdropped
          )
          else a.attname = w.tenant_column
      end
) tenant on true
cross join lateral (
    select exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as found
) child
cross join lateral (
    -- Row filters and column lists exist since PostgreSQL 15: reached by name so that one view serves 14 as well. Of a
    -- publication for all tables a partition is not a member of its own: its changes carry the root.
    select
        count(r.oid) > 0 or coalesce(bool_or(b.puballtables and not c.relispartition), false) as published,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prqual' is not null) as of_rows,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prattrs' is not null) as of_columns
    from pg_catalog.pg_publication b
    left join pg_catalog.pg_publication_rel r on r.prpubid = b.oid and r.prrelid = c.oid
    where b.pubname = 'rowcast'
) part
cross join lateral (
    select exists (
        select from pg_catalog.pg_policy y where y.polrelid = c.oid and y.polcmd in ('r', '*')
    ) as found
) policy;
comment on view rowcast.tables is
    'Watched tables as the catalog has them now, with their problems; rowcast.problem_hint explains each.';
revoke all on table rowcast.tables from public;

-- What a word in rowcast.tables.problems means and what to do. Called by rowcast.status and src/capture/catalog.rs.
create or replace function rowcast.problem_hint(problem text)
returns text
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
    select case problem
        when 'not_published' then
            'The table is watched but not in publication rowcast: call rowcast.watch again.'
        when 'tenant_column_lost' then
            'The tenant column was dropped, or a rename made it ambiguous: call rowcast.watch again with the right tenant_column.'
        when 'identity_missing' then
            'The table or a partition has no replica identity, so UPDATE and DELETE of it fail: call rowcast.watch again.'
        when 'identity_not_full' then
            'Old rows carry the replica identity alone, so rows that leave a filter or a tenant cannot be recognized: call rowcast.watch with replica_identity => ''full''.'
        when 'partition_not_logged' then
            'A partition is a foreign, temporary or unlogged table: its changes never reach the WAL and are not seen.'
        when 'has_children' then
            'Tables inherit from this one: rows of the children are not seen, watch them on their own.'
        when 'row_filter' then
            'Publication rowcast has a row filter on the table, so subscribers miss rows: call rowcast.watch again.'
        when 'column_list' then
            'Publication rowcast has a column list on the table: the other columns are not seen, and UPDATE fails if the replica identity has one of them: call rowcast.watch again.'
        when 'no_primary_key' then
            'Without a primary key, DELETE and LEAVE events cannot say which row they are about: add one.'
        when 'no_policy' then
            'Row security is on and no policy allows SELECT, so no ordinary role may see a row: create a policy.'
        when 'nobody_may_subscribe' then
            'No tenant column, not public, no row security: nobody may subscribe. Call rowcast.watch with tenant_column or public => true.'
        else problem
    end
$function$;
comment on function rowcast.problem_hint(text) is 'What a word in rowcast.tables.problems means and what to do about it.';
revoke all on function rowcast.problem_hint(text) from public;
