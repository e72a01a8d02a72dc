-- Creates publication rowcast, with all tables that are watched, unless it exists. Called by the migration that adds
-- it, by rowcast.watch, and by src/store at every start. Returns whether it had to.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever. Needs CREATE on the database.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    tables text;
begin
    if exists (select from pg_publication where pubname = 'rowcast') then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if exists (select from pg_publication where pubname = 'rowcast') then
        return false;
    end if;
    select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
    into tables
    from rowcast.watched w join pg_class c on c.oid = w.relation;
    execute format('create publication rowcast%s with (publish_via_partition_root = true)', tables);
    comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
    return true;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast unless it exists; whether it had to.';
revoke all on function rowcast.ensure_publication() from public;
