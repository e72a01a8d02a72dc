-- Wakes the readers of the outbox if they sleep. Called by every function that appends to it.
--
-- A sleeping reader holds the advisory lock (1919907683, 3), which every writer tries to share until the end of its
-- transaction. So a reader cannot fall asleep while a writer is active, and a writer that fails to share the lock
-- notifies. A NOTIFY in every transaction would cost two thirds of the write rate: a lock that all commits take in
-- turn. If transactions may be prepared, writers do not notify and readers do not sleep: PREPARE TRANSACTION fails after a NOTIFY.
create or replace function rowcast.wake_outbox_readers()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    if not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('rowcast', '');
    end if;
end
$function$;
comment on function rowcast.wake_outbox_readers() is 'Wakes the readers of the outbox if they sleep.';
revoke all on function rowcast.wake_outbox_readers() from public;
