-- Takes back what rowcast.start_outbox did: drops the triggers and empties the outbox; whether there was one. Called by an
-- administrator, once no engine captures from the outbox any more: one that still does ends with OUTBOX_MISSING.
create or replace function rowcast.stop_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state) then
        return false;
    end if;
    perform rowcast.remove_outbox_triggers();
    -- See rowcast.start_outbox. In the order in which readers lock them.
    delete from rowcast.outbox_state;
    delete from rowcast.outbox_reader;
    truncate rowcast.outbox_window, rowcast.outbox;
    return true;
end
$function$;
comment on function rowcast.stop_outbox() is 'Takes back what rowcast.start_outbox did; whether there was an outbox.';
revoke all on function rowcast.stop_outbox() from public;
