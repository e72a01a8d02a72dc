-- Why: policies, grants and owners decide who sees a row, and no row tells when they change. Where the migrating role may,
-- an event trigger tells it in the stream, at the place where it happened; elsewhere engines poll.

-- Event trigger: tells every streaming engine, at this place of the transaction, that a statement may have changed who sees
-- what of a watched table. See install_event_trigger, which says when it runs, and src/engine/policy_watch.rs for what
-- happens without it.
--
-- It reads catalogs alone and calls nothing of schema rowcast: it runs with its owner's rights, a superuser's, in
-- everybody's statements, and schema rowcast may belong to somebody else. What is watched is what publication rowcast has.
-- Security definer, since pg_logical_emit_message may be revoked from public.
--
-- One message is enough for a transaction: the engine waits until the transaction is visible as a whole before it reads
-- the catalog. A setting of that transaction remembers it, and goes with a savepoint that is rolled back.
--
-- Nobody's statement fails for it: an error becomes a warning, and the engine's poll finds the change.
create or replace function rowcast.tell_of_ddl()
returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    concerned boolean;
begin
    if current_setting('wal_level') <> 'logical'
        or current_setting('rowcast.told', true) = pg_current_xact_id()::text
        or not exists (select from pg_publication where pubname = 'rowcast')
    then
        return;
    end if;
    if tg_event = 'sql_drop' then
        -- A policy goes alone, with what it reads (CASCADE) or with its table; a table leaves the publication with its schema or
        -- alone. What leaves it otherwise was unwatched, and rowcast.unwatch says so itself.
        select exists (
            select from pg_event_trigger_dropped_objects() d
            where case d.object_type
                when 'publication relation' then d.address_args = '{rowcast}' and tg_tag <> 'ALTER PUBLICATION'
                when 'policy' then exists (
                    select from pg_publication p
                    left join pg_publication_rel r on r.prpubid = p.oid
                    where p.pubname = 'rowcast'
                      and (p.puballtables or r.prrelid = to_regclass(format('%I.%I', d.address_names[1], d.address_names[2])))
                )
            end
        ) into concerned;
    elsif tg_tag in ('GRANT', 'REVOKE') then
        -- The server does not say on which.
        select exists (
            select from pg_event_trigger_ddl_commands() d where d.object_type in ('TABLE', 'SCHEMA')
        ) into concerned;
    elsif tg_tag in ('DROP OWNED', 'ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE', 'ALTER DOMAIN') then
        concerned := true;
    else
        -- A watched table, a policy of one, or what such a policy names.
        with watched (oid) as (
            select r.prrelid from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = 'rowcast'
            union
            select y.polrelid from pg_publication p cross join pg_policy y where p.pubname = 'rowcast' and p.puballtables
        )
        select exists (
            select from pg_event_trigger_ddl_commands() d
            where (d.classid = 'pg_class'::regclass and d.objid in (select watched.oid from watched))
               or exists (
                    select from watched join pg_policy y on y.polrelid = watched.oid
                    where (d.classid = 'pg_policy'::regclass and y.oid = d.objid) or exists (
                        select from pg_depend u
                        where u.classid = 'pg_policy'::regclass and u.objid = y.oid
                          and u.refclassid = d.classid and u.refobjid = d.objid
                    )
               )
               or (d.classid = 'pg_class'::regclass
                   and exists (select from pg_publication p where p.pubname = 'rowcast' and p.puballtables))
        ) into concerned;
    end if;
    if concerned then
        perform pg_logical_emit_message(
            true, 'rowcast.catalog', convert_to(json_build_object('change', 'ddl', 'tag', tg_tag)::text, 'UTF8')
        );
        -- Decoding gives a message the position of its end, which is where the next record begins. This block is a
        -- subtransaction, and between it and its parent equal positions come in any order (14 to 18: a row that was
        -- written next came first). So something that nobody reads is written in between.
        perform pg_logical_emit_message(true, 'rowcast.space', '');
        perform set_config('rowcast.told', pg_current_xact_id()::text, true);
    end if;
exception
    when others then
        raise warning 'rowcast was not told of %: %', tg_tag, sqlerrm
            using hint = 'Its engines find the change by polling, within seconds.';
end
$function$;
comment on function rowcast.tell_of_ddl() is
    'Event trigger: tells engines that a statement may have changed who sees what of a watched table.';
revoke all on function rowcast.tell_of_ddl() from public;

-- Has engines told of changes of policies, grants and owners at their place in the stream. Called by the migration that
-- adds it, and by a superuser where that one was not allowed to; repeating it is harmless. Without it engines poll, and
-- a change is in force up to 2 seconds after its commit; rowcast.status says which it is.
--
-- The function that runs in everybody's statements becomes the caller's: whoever may replace it could do whatever those
-- who change the schema may do. For the same reason read what is in schema rowcast before calling this in a database
-- where somebody else owns it.
--
-- Enabled always, that is also where session_replication_role is replica, which restoring tools set. No event trigger
-- fires for roles, their memberships and REASSIGN OWNED (14 to 18): those are polled for in any case.
create or replace function rowcast.install_event_trigger()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    execute format('alter function rowcast.tell_of_ddl() owner to %I', current_user);
    if not exists (select from pg_event_trigger where evtname = 'rowcast_ddl') then
        create event trigger rowcast_ddl on ddl_command_end when tag in (
            'CREATE POLICY', 'ALTER POLICY', 'ALTER TABLE', 'GRANT', 'REVOKE', 'DROP OWNED', 'ALTER SCHEMA',
            'ALTER TYPE', 'ALTER DOMAIN', 'ALTER EXTENSION', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
            'ALTER AGGREGATE', 'ALTER OPERATOR', 'ALTER COLLATION', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW',
            'ALTER FOREIGN TABLE', 'ALTER SEQUENCE'
        ) execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_ddl is 'rowcast: tells engines of changed policies, grants and owners.';
    end if;
    alter event trigger rowcast_ddl enable always;
    if not exists (select from pg_event_trigger where evtname = 'rowcast_drop') then
        create event trigger rowcast_drop on sql_drop execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_drop is 'rowcast: tells engines of dropped policies and tables.';
    end if;
    alter event trigger rowcast_drop enable always;
exception
    when insufficient_privilege then
        raise exception '% may not install an event trigger: %', quote_ident(current_user), sqlerrm
            using errcode = 'insufficient_privilege', hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$function$;
comment on function rowcast.install_event_trigger() is
    'Has engines told of changed policies, grants and owners at their place in the stream. For superusers.';
revoke all on function rowcast.install_event_trigger() from public;

-- Takes back what install_event_trigger did, but for the owner of the function: from now on engines poll. For whoever
-- owns the event triggers. The slots and subscriptions do not notice.
create or replace function rowcast.remove_event_trigger()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    drop event trigger if exists rowcast_ddl;
    drop event trigger if exists rowcast_drop;
end
$function$;
comment on function rowcast.remove_event_trigger() is 'Takes back what rowcast.install_event_trigger did. For superusers.';
revoke all on function rowcast.remove_event_trigger() from public;

-- The health of rowcast in this database, one line for each thing that can be wrong. Called by people, by
-- `rowcast doctor` and by src/store. `ok` is false where somebody must act; then `hint` says how.
-- Reads catalogs and statistics alone, so any role with EXECUTE sees the same. Without jit, as rowcast.watch.
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
    select 4, 'wal_level', current_setting('wal_level'), current_setting('wal_level') = 'logical',
        'Run: alter system set wal_level = logical, and restart the server.'
    union all
    select 5, 'publication', case
            when count(*) = 0 then 'missing'
            when bool_and(p.puballtables) then 'for all tables'
            else 'exists'
        end,
        coalesce(bool_and(
            p.pubviaroot and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and not p.puballtables
        ), false),
        case
            when count(*) = 0 then 'Run: select rowcast.ensure_publication(). A slot that exists must be made anew.'
            when bool_and(p.puballtables) then 'UPDATEs of tables without a primary key fail. Drop it and run: select rowcast.ensure_publication()'
            else 'Run: alter publication rowcast set (publish_via_partition_root = true, publish = ''insert, update, delete, truncate'')'
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
            'Every role can send messages with pg_logical_emit_message. To make rowcast.publish the only door, revoke it from public and grant it to the owner of rowcast.'
        end
    from pg_proc f where f.proname = 'pg_logical_emit_message' and f.pronamespace = 'pg_catalog'::regnamespace
    union all
    select 10, 'event_trigger', case when count(*) = 2 then 'installed' when count(*) = 0 then 'missing' else 'incomplete' end, true,
        case when count(*) < 2 then
            'Engines poll for changed policies and grants: they are in force up to 2 seconds after their commit, and not at their place in the stream. As a superuser, run: select rowcast.install_event_trigger()'
        end
    from pg_event_trigger e
    where e.evtname in ('rowcast_ddl', 'rowcast_drop') and e.evtenabled in ('O', 'A')
    union all
    select 11, 'slot ' || s.slot_name,
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
    select 12, 'table ' || format('%I.%I', t.schema, t.name),
        concat_ws(', ',
            'identity ' || case t.identity when 'f' then 'full' when 'd' then 'default' when 'i' then 'index' else 'nothing' end,
            case when t.public then 'public' end,
            'tenant ' || (select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid and a.attnum = t.tenant_attnum),
            case when t.row_security then 'row security' end),
        t.problems = '{}',
        (select string_agg(rowcast.problem_hint(p), ' ') from unnest(t.problems) p)
    from rowcast.tables t
    union all
    select 13, 'unwatched ' || format('%I.%I', n.nspname, c.relname), 'published', false,
        'The table is in publication rowcast but nobody watches it: call rowcast.watch, or alter publication rowcast drop table.'
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname = 'rowcast' and not exists (select from rowcast.tables t where t.oid = c.oid)
)
select line.name, line.value, line.ok, case when not line.ok or line.place in (8, 9, 10) then line.hint end
from line
order by line.place, line.name
$function$;
comment on function rowcast.status() is 'The health of rowcast in this database: name, value, whether it is ok, and what to do if not.';
revoke all on function rowcast.status() from public;

-- Where the migrating role may: a superuser, or what a managed service lets do the same. Others poll.
do $do$
begin
    perform rowcast.install_event_trigger();
exception
    when insufficient_privilege then
        raise notice 'rowcast polls for changed policies and grants, as % may not install event triggers', quote_ident(current_user)
            using hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$do$;
