-- The watched tables as the catalog has them now; tables that were dropped are not in it.
-- Read by src/catalog/mod.rs at each load, by rowcast.watch for its verdict and by rowcast.status.
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
        case when part.published and not part.is_whole then 'not_all_published' end,
        case when parent.found and exists (select from rowcast.outbox_state) then 'changed_through_parent' end,
        case when parent.is_published then 'delivered_through_parent' end,
        case when uncaptured.problems @> '{not_captured}' then 'not_captured' end,
        case when uncaptured.problems @> '{partition_not_captured}' then 'partition_not_captured' end,
        case when uncaptured.problems @> '{merge_not_captured}' then 'merge_not_captured' end,
        -- 5 is the command's number in the server's own form of a rule; no rule could have one before 17.
        case when c.relkind = 'p' and current_setting('server_version_num')::int >= 170000
                and exists (select from rowcast.outbox_state) and exists (
            select from pg_catalog.pg_rewrite w where w.rulename <> '_RETURN' and w.ev_action::text like '%:commandType 5%'
        ) then 'merge_in_rule' end,
        case when uncaptured.problems @> '{order_not_captured}' then 'order_not_captured' end,
        case when w.tenant_column is not null and tenant.attnum is null then 'tenant_column_lost' end,
        case when not member.identified then 'identity_missing' end,
        case when member.has_virtual or (member.has_stored and part.lacks_stored) then 'identity_generated' end,
        case when member.identified and member.identity <> 'f' then 'identity_not_full' end,
        case when not member.logged then 'partition_not_logged' end,
        case when c.relkind = 'r' and child.found then 'has_children' end,
        case when part.of_rows then 'row_filter' end,
        case when part.of_columns then 'column_list' end,
        case when key.attnums is null then 'no_primary_key' end,
        case when key.deferrable then 'key_deferrable' end,
        case when c.relrowsecurity and not policy.found then 'no_policy' end,
        case when w.tenant_column is null and not w.public and not c.relrowsecurity then 'nobody_may_subscribe' end
    ], null) as problems
from rowcast.watched w
join pg_catalog.pg_class c on c.oid = w.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join (
    select g.relation, array_agg(distinct g.problem) as problems from rowcast.missing_trigger g group by g.relation
) uncaptured on uncaptured.relation = c.oid
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
        bool_and(m.relkind in ('r', 'p') and m.relpersistence = 'p') as logged,
        bool_or(generated.kinds @> '{v}') as has_virtual,
        bool_or(generated.kinds @> '{s}') as has_stored
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
    cross join lateral (
        select array(
            select a.attgenerated from pg_catalog.pg_attribute a
            where a.attrelid = m.oid and a.attgenerated <> '' and not a.attisdropped and (m.relreplident = 'f' or exists (
                select from pg_catalog.pg_index i
                where i.indrelid = m.oid and a.attnum = any (i.indkey)
                  and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
            ))
        ) as kinds
    ) generated
) member
left join lateral (
    select array_agg(k.attnum order by k.place) as attnums, bool_or(not i.indimmediate) as deferrable
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
) key on true
-- Number and name agree; or the name is gone since the column was renamed; or the number means nothing since the
-- dump was restored. In every other case the tenant column is unknown, and rows are hidden.
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
    select
        exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) as found,
        -- Published under the root's name, changes of a partition are the root's.
        c.relispartition and exists (
            with recursive above (oid) as (
                select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
                union all
                select i.inhparent from above join pg_catalog.pg_inherits i on i.inhrelid = above.oid
            )
            select from above
            join pg_catalog.pg_publication b on b.pubname = 'rowcast' and b.pubviaroot
            left join pg_catalog.pg_publication_rel r on r.prpubid = b.oid and r.prrelid = above.oid
            where r.oid is not null or b.puballtables
        ) as is_published
) parent
cross join lateral (
    -- Row filters and column lists exist since PostgreSQL 15: reached by name so that one view serves 14 as well. In a
    -- publication for all tables a partition is not a separate member: its changes carry the root.
    select
        count(r.oid) > 0 or coalesce(bool_or(b.puballtables and not c.relispartition), false) as published,
        coalesce(bool_and(
            b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and (b.pubviaroot or c.relkind <> 'p')
        ), true) as is_whole,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prqual' is not null) as of_rows,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prattrs' is not null) as of_columns,
        -- There is no such column, and no such rule, before 18.
        coalesce(bool_or(pg_catalog.to_jsonb(b) ->> 'pubgencols' <> 's'), false) as lacks_stored
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
