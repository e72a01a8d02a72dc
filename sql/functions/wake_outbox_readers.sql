-- Wakes the readers of the outbox if they sleep. Called by whatever appends to it.
--
-- A reader that sleeps holds the advisory lock (1919907683, 3), which everybody who appends tries to share until the end
-- of his transaction. So a reader cannot fall asleep while one of them is in flight, and whoever comes later sees that he
-- has to notify. A NOTIFY in every transaction would cost two thirds of the write rate: a lock that all commits take in
-- turn. Where transactions may be prepared nobody notifies and no reader sleeps: PREPARE TRANSACTION fails after a NOTIFY.
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
