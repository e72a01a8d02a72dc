-- Stops following a table; whether it was followed. Called from the user's migrations.
-- A replica identity that rowcast.watch set is set back to what it was (see restore_identity).
-- Runs as its caller, who must own the table and publication rowcast. Locks: SHARE UPDATE EXCLUSIVE on the table, and
-- ACCESS EXCLUSIVE where the replica identity is set back or the table has triggers for the outbox.
create or replace function rowcast.unwatch(relation regclass)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    removed oid;
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    delete from rowcast.watched w where w.relation = unwatch.relation returning w.relation into removed;
    delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.relation);
    if removed is not null then
        -- The message below is enough: rowcast.tell_of_ddl is silent about what follows.
        perform set_config('rowcast.told', pg_current_xact_id()::text, true);
    end if;
    if exists (
        select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where p.pubname = 'rowcast' and r.prrelid = unwatch.relation
    ) then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if removed is not null then
        perform rowcast.restore_identity(relation);
        perform rowcast.remove_outbox_triggers(relation);
        perform rowcast.announce('unwatch', removed);
    end if;
    return removed is not null;
end
$function$;
comment on function rowcast.unwatch(regclass) is 'Stops following a table; whether it was followed.';
revoke all on function rowcast.unwatch(regclass) from public;
