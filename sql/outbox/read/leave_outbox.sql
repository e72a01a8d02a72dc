-- Nothing needs to be kept for this reader any more. Called by src/engine when an engine stops.
create or replace function rowcast.leave_outbox(reader text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
    delete from rowcast.outbox_reader r where r.name = reader
$function$;
comment on function rowcast.leave_outbox(text) is 'Nothing needs to be kept for this reader of the outbox any more.';
revoke all on function rowcast.leave_outbox(text) from public;
