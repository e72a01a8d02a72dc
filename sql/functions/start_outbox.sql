-- Has the changes of all watched tables, and of those that are watched later, captured by triggers: for databases without
-- logical replication. Called by an administrator or a migration, and by src/store where the engine captures from the
-- outbox. Calling it again installs what is missing; when nothing is it takes no lock and needs no privilege but to read.
-- Whether anything changed. Runs as its caller, who must own the watched tables and rowcast's; locks as
-- rowcast.install_outbox_triggers says.
--
-- A dump that was restored elsewhere brings rows whose transaction numbers mean nothing there: those are emptied.
create or replace function rowcast.start_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    here int8 := (select system_identifier from pg_control_system());
    uncaptured oid[];
begin
    if exists (select from rowcast.outbox_state s where s.system_id = here)
        and not exists (select from rowcast.tables t where t.problems @> '{not_captured}')
    then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state s where s.system_id = here) then
        truncate rowcast.outbox, rowcast.outbox_state, rowcast.outbox_window, rowcast.outbox_reader;
        insert into rowcast.outbox_state (system_id) values (here);
        -- Where everything begins: nobody needs what was before.
        insert into rowcast.outbox_window (first, last, since, upto, xids, timeline, closed_at)
        select w.lsn, w.lsn, x.xmin, x.xmin, '{}', rowcast.timeline(), clock_timestamp()
        from (select pg_current_wal_insert_lsn() as lsn) w, (select pg_snapshot_xmin(pg_current_snapshot()) as xmin) x;
    end if;
    for uncaptured in select array_agg(t.oid) from rowcast.tables t where t.problems @> '{not_captured}' loop
        perform rowcast.install_outbox_triggers(u.oid::regclass) from unnest(uncaptured) u (oid);
    end loop;
    perform rowcast.announce('outbox', 0);
    return true;
end
$function$;
comment on function rowcast.start_outbox() is
    'Has changes of watched tables captured by triggers, for databases without logical replication; whether anything changed.';
revoke all on function rowcast.start_outbox() from public;
