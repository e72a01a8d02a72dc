-- The timeline that the server writes. pg_control_checkpoint() gives that of the last checkpoint, which may precede a
-- promotion. Called by rowcast.start_outbox, rowcast.open_outbox and rowcast.close_window.
create or replace function rowcast.timeline()
returns int4
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4
$function$;
comment on function rowcast.timeline() is 'The timeline that the server writes.';
revoke all on function rowcast.timeline() from public;
