-- Creates publication rowcast, with all tables that are watched, unless it exists. Called by the migrations, by rowcast.watch,
-- and by src/store at every start. Returns whether it had to change anything.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever. Needs CREATE on the database.
--
-- From 18 on it has stored generated columns too: else the server refuses UPDATE and DELETE of a table that has one and
-- REPLICA IDENTITY FULL. One that was created without them gets them here, if the caller owns it.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    has_option boolean := current_setting('server_version_num')::int >= 180000;
    p record;
    tables text;
begin
    select b.pubowner, to_jsonb(b) ->> 'pubgencols' = 's' as has_generated into p from pg_publication b where b.pubname = 'rowcast';
    if found and (not has_option or p.has_generated or not pg_has_role(p.pubowner, 'usage')) then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if exists (select from pg_publication b where b.pubname = 'rowcast') then
        if not has_option or exists (
            select from pg_publication b where b.pubname = 'rowcast' and to_jsonb(b) ->> 'pubgencols' = 's'
        ) then
            return false;
        end if;
        alter publication rowcast set (publish_generated_columns = stored);
        perform rowcast.announce('publication', 0);
        return true;
    end if;
    select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
    into tables
    from rowcast.watched w join pg_class c on c.oid = w.relation;
    execute format('create publication rowcast%s with (publish_via_partition_root = true%s)', tables,
        case when has_option then ', publish_generated_columns = stored' end);
    comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
    return true;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast unless it is as it has to be; whether it was not.';
revoke all on function rowcast.ensure_publication() from public;
