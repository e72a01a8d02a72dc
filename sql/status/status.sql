-- The health of rowcast in this database, one line for each thing that can be wrong. Called by operators, by
-- `rowcast status` and by src/store. `ok` is false if an operator must act; then `hint` says how.
-- Reads catalogs, statistics and rowcast's own tables. Without jit, as rowcast.watch.
create or replace function rowcast.status()
returns table (name text, value text, ok boolean, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
with line (place, name, value, ok, hint) as (
    select 1, 'schema_version', coalesce(max(version)::text, 'none'), max(version) is not null, 'Run: rowcast migrate'
    from rowcast.migration
    union all
    select 2, 'server_version', current_setting('server_version'), current_setting('server_version_num')::int >= 140000,
        'rowcast needs PostgreSQL 14 or newer.'
    union all
    select 3, 'primary', case when pg_is_in_recovery() then 'no' else 'yes' end, not pg_is_in_recovery(),
        'This is a standby: watch, unwatch and publish need the primary.'
    union all
    select 4, 'wal_level', current_setting('wal_level'),
        current_setting('wal_level') = 'logical' or exists (select from rowcast.outbox_state),
        'Run: alter system set wal_level = logical, and restart the server; or have changes captured by triggers: select rowcast.start_outbox()'
    union all
    select 5, 'publication', case
            when count(*) = 0 then 'missing'
            when bool_and(p.puballtables) then 'for all tables'
            else 'exists'
        end,
        coalesce(bool_and(
            p.pubviaroot and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and not p.puballtables
            and coalesce(to_jsonb(p) ->> 'pubgencols' = 's', true)
        ), false),
        case
            when count(*) = 0 then 'Run: select rowcast.ensure_publication(). Drop and recreate an existing slot.'
            when bool_and(p.puballtables) then 'UPDATEs of tables without a primary key fail. Drop it and run: select rowcast.ensure_publication()'
            else format(
                'Run: alter publication rowcast set (publish_via_partition_root = true, publish = ''insert, update, delete, truncate''%s)',
                case when bool_or(to_jsonb(p) ? 'pubgencols') then ', publish_generated_columns = stored' end)
        end
    from pg_publication p where p.pubname = 'rowcast'
    union all
    select 6, 'replication_slots', format('%s of %s used', count(*), current_setting('max_replication_slots')),
        count(*) < current_setting('max_replication_slots')::int
            or coalesce(bool_or(s.plugin = 'pgoutput' and s.database = current_database()), false),
        'Raise max_replication_slots, or drop a slot that nobody uses.'
    from pg_replication_slots s
    union all
    select 7, 'wal_senders', format('%s of %s used', count(*), current_setting('max_wal_senders')),
        count(*) < current_setting('max_wal_senders')::int, 'Raise max_wal_senders.'
    from pg_stat_replication
    union all
    select 8, 'synchronous_commit', current_setting('synchronous_commit'), true,
        case when current_setting('synchronous_commit') = 'off' then
            'Changes are seen when the WAL is flushed, 0.1 to 0.5 seconds later: lower wal_writer_delay, such as 10ms.'
        end
    union all
    select 9, 'publish_privilege', case when bool_or(has_function_privilege('public', f.oid, 'execute')) then 'open' else 'restricted' end, true,
        case when bool_or(has_function_privilege('public', f.oid, 'execute')) then
            'Every role can send messages with pg_logical_emit_message. To allow messages only through rowcast.publish, revoke it from public and grant it to the owner of rowcast.'
        end
    from pg_proc f where f.proname = 'pg_logical_emit_message' and f.pronamespace = 'pg_catalog'::regnamespace
    union all
    select 10, 'event_trigger',
        case
            when e.installed = 0 then 'missing'
            when e.installed < 2 then 'incomplete'
            when o.untold then 'does not write to the outbox'
            else 'installed'
        end, true,
        'Engines poll for changed policies and grants: they are in force up to 2 seconds after their commit, and not at their place in the stream. '
            || case when e.installed < 2 then 'As a superuser, run: select rowcast.install_event_trigger()'
            when o.untold then 'It runs with a superuser''s rights: give schema rowcast and the outbox''s tables to a superuser.' end
    from (
        select count(*) as installed from pg_event_trigger e
        where e.evtname in ('rowcast_ddl', 'rowcast_drop') and e.evtenabled in ('O', 'A')
    ) e
    -- As in rowcast.tell_of_ddl.
    cross join (
        select exists (select from rowcast.outbox_state)
            and not bool_and((c.relowner = f.proowner or r.rolsuper) and (n.nspowner = f.proowner or s.rolsuper)) as untold
        from pg_class c
        join pg_roles r on r.oid = c.relowner
        join pg_namespace n on n.oid = c.relnamespace
        join pg_roles s on s.oid = n.nspowner
        join pg_proc f on f.pronamespace = n.oid and f.proname = 'tell_of_ddl'
        where n.nspname = 'rowcast' and c.relname in ('outbox', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3', 'outbox_state')
    ) o
    union all
    select 11, 'outbox',
        case when s.is_ours then format('%s bytes kept for %s readers', k.bytes, r.live) else 'of another database' end,
        s.is_ours and r.live > 0,
        case when s.is_ours
            then 'No engine captures from the outbox, so nothing empties it: start one, or run: select rowcast.stop_outbox()'
            else 'It came with a dump or a copy of another database: run: select rowcast.start_outbox()' end
    from (
        select s.system_id = c.system_identifier and s.database = d.oid as is_ours
        from rowcast.outbox_state s, pg_control_system() c, pg_database d
        where d.datname = current_database()
    ) s
    cross join (select sum(pg_relation_size(i.inhrelid)) as bytes from pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass) k
    cross join (select count(*) as live from rowcast.outbox_reader r where r.seen_at >= clock_timestamp() - interval '1 minute') r
    union all
    select 12, 'slot ' || s.slot_name,
        format('%s, %s bytes of WAL retained, %s',
            case when s.active then 'active' else 'inactive' end,
            coalesce(pg_wal_lsn_diff(newest.lsn, s.restart_lsn)::text, 'no'),
            coalesce(to_jsonb(s) ->> 'invalidation_reason', s.wal_status, 'unknown')),
        coalesce(s.wal_status in ('reserved', 'extended'), false) and to_jsonb(s) ->> 'invalidation_reason' is null,
        case when s.wal_status = 'unreserved' then 'The server is about to drop WAL that the slot needs: let the engine catch up, or raise max_slot_wal_keep_size.'
            else 'The slot is lost, cursors have expired: drop it and restart the engine.' end
    from pg_replication_slots s
    cross join (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end) newest (lsn)
    where s.plugin = 'pgoutput' and s.database = current_database()
    union all
    select 13, 'table ' || format('%I.%I', t.schema, t.name),
        concat_ws(', ',
            'identity ' || case t.identity when 'f' then 'full' when 'd' then 'default' when 'i' then 'index' else 'nothing' end,
            case when t.public then 'public' end,
            'tenant ' || (select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid and a.attnum = t.tenant_attnum),
            case when t.row_security then 'row security' end),
        met.problems = '{}',
        (select string_agg(rowcast.problem_hint(p), ' ') from unnest(met.problems) p)
    from rowcast.tables t
    -- Triggers see whole rows whatever the identity is.
    cross join lateral (
        select array_remove(t.problems, case when exists (select from rowcast.outbox_state) then 'identity_not_full' end) as problems
    ) met
    union all
    select 14, 'unwatched ' || format('%I.%I', n.nspname, c.relname), 'published', false,
        'The table is in publication rowcast but nobody watches it: call rowcast.watch, or alter publication rowcast drop table.'
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname = 'rowcast' and not exists (select from rowcast.tables t where t.oid = c.oid)
    union all
    -- What runs in rowcast's objects as whoever uses them. PostgreSQL's own is in pg_catalog.
    select 15, 'object ' || (pg_identify_object(o.classid, o.objid, 0)).identity,
        'depends on ' || string_agg(distinct concat_ws(' ', r.type, r.identity), ', '), false,
        'rowcast uses only PostgreSQL''s own objects: another role has put its object in the place of one, or added one to schema rowcast. Find out which role that is, run: rowcast uninstall, then: rowcast migrate, and watch the tables again'
    from (
        select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace = 'rowcast'::regnamespace
        union all
        select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace = 'rowcast'::regnamespace
        union all
        select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.connamespace = 'rowcast'::regnamespace
        union all
        select part.classid, part.oid
        from pg_class c
        cross join lateral (
            select 'pg_class'::regclass, c.oid
            union all
            select 'pg_rewrite'::regclass, w.oid from pg_rewrite w where w.ev_class = c.oid
            union all
            select 'pg_attrdef'::regclass, d.oid from pg_attrdef d where d.adrelid = c.oid
            union all
            select 'pg_trigger'::regclass, g.oid from pg_trigger g where g.tgrelid = c.oid
            union all
            select 'pg_policy'::regclass, y.oid from pg_policy y where y.polrelid = c.oid
        ) part (classid, oid)
        where c.relnamespace = 'rowcast'::regnamespace
    ) o (classid, objid)
    join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.deptype <> 'e'
    cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
    where r.schema not in ('pg_catalog', 'pg_toast', 'rowcast')
    group by o.classid, o.objid
)
select line.name, line.value, line.ok, case when not line.ok or line.place in (8, 9, 10) then line.hint end
from line
order by line.place, line.name
$function$;
comment on function rowcast.status() is 'The health of rowcast in this database: name, value, whether it is ok, and what to do if not.';
revoke all on function rowcast.status() from public;
