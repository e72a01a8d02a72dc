-- Takes back what rowcast.start_outbox did: drops the triggers and empties the outbox; whether there was one. Called by an
-- administrator, once no engine captures from the outbox any more: one that still does ends with OUTBOX_MISSING. Takes ACCESS
-- EXCLUSIVE on the watched tables and the outbox; unless the caller has set lock_timeout it fails with SQLSTATE 55P03 before
-- another session would look for deadlocks.
create or replace function rowcast.stop_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    timeout text := current_setting('lock_timeout');
    deadline timestamptz;
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state) then
        return false;
    end if;
    deadline := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
    perform rowcast.remove_outbox_triggers();
    -- Readers of the watched tables wait by now, and one of them may be in the way: one deadline for both.
    if timeout = '0' then
        perform set_config('lock_timeout', greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
    end if;
    -- See rowcast.start_outbox. In the order in which readers lock them.
    delete from rowcast.outbox_state;
    delete from rowcast.outbox_reader;
    truncate rowcast.outbox_window, rowcast.outbox;
    perform set_config('lock_timeout', timeout, true);
    return true;
exception
    when lock_not_available then
        raise exception 'could not lock the outbox and the tables that are captured by it'
            using errcode = 'lock_not_available',
                hint = 'A transaction that uses them is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.stop_outbox() is 'Takes back what rowcast.start_outbox did; whether there was an outbox.';
revoke all on function rowcast.stop_outbox() from public;
