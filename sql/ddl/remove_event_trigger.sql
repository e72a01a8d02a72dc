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
