-- The statements that set replica identities back to what they were before rowcast.watch: of one watched table with its
-- partitions, or of all. Called by rowcast.restore_identity and by `rowcast uninstall`.
--
-- An identity that is no longer FULL is not in it: another session has changed it. If another publication has the
-- table, `needed_by` names it and FULL stays: without it UPDATE and DELETE could fail, or a reader of that publication
-- would miss the old rows. If the index was dropped, or PostgreSQL refuses its replacement, the default is set.
create or replace function rowcast.identity_changes(relation regclass default null)
returns table (member regclass, statement text, needed_by text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select c.oid::regclass,
        format('alter table %I.%I replica identity %s', n.nspname, c.relname, case
            when f.identity = 'n' then 'nothing'
            when i.indexrelid is not null then format('using index %I', f.index)
            else 'default'
        end),
        (
            select string_agg(distinct quote_ident(p.pubname), ', ')
            from pg_publication_tables p
            join pg_namespace s on s.nspname = p.schemaname
            join pg_class t on t.relnamespace = s.oid and t.relname = p.tablename
            where p.pubname <> 'rowcast' and (t.oid = c.oid or t.oid in (select a.relid from pg_partition_ancestors(c.oid) a))
        )
    from rowcast.former_identity f
    join pg_class c on c.oid = f.member
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_index i on i.indrelid = c.oid and i.indexrelid = (
        select x.oid from pg_class x where x.relnamespace = c.relnamespace and x.relname = f.index
    )
    and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null and not exists (
        select from unnest((i.indkey::int2[])[:i.indnkeyatts - 1]) k (attnum)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where not a.attnotnull
    )
    where c.relreplident = 'f' and (relation is null or f.watched = relation)
    -- The root first, as statements lock them.
    order by f.watched, c.oid <> f.watched, c.oid
$function$;
comment on function rowcast.identity_changes(regclass) is
    'The statements that set replica identities back to what they were before rowcast.watch.';
revoke all on function rowcast.identity_changes(regclass) from public;
