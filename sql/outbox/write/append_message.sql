-- Appends a message to the outbox, if there is one, as pg_logical_emit_message appends it to the WAL. Called by
-- rowcast.publish, rowcast.close_sessions and rowcast.announce.
create or replace function rowcast.append_message(prefix text, content text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    -- Where there is none nothing is written: a read-only transaction may publish to the WAL.
    if exists (select from rowcast.outbox_state) then
        insert into rowcast.outbox (segment, kind, shape, new)
        select s.segment, 'M', array[prefix], content from rowcast.outbox_state s;
        perform rowcast.wake_outbox_readers();
    end if;
end
$function$;
comment on function rowcast.append_message(text, text) is 'Appends a message to the outbox, if there is one.';
revoke all on function rowcast.append_message(text, text) from public;
