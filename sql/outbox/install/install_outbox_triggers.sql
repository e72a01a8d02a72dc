-- Creates the triggers that append changes of watched tables and their partitions to the outbox: those that
-- rowcast.missing_trigger lists, for one table or for all that the caller may alter. Called by rowcast.watch and rowcast.start_outbox.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and later writers wait for it. So unless the caller has set lock_timeout it fails
-- with SQLSTATE 55P03 after four fifths of deadlock_timeout for all tables together: a writer that waits for it then never
-- runs the deadlock check, which could cancel the writer. (Nor does the server cancel an
-- autovacuum that stands in the way, which it does after deadlock_timeout.)
-- Always enabled: also if session_replication_role is replica.
create or replace function rowcast.install_outbox_triggers(relation regclass default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    missing rowcast.missing_trigger;
    timeout text := current_setting('lock_timeout');
    deadline timestamptz := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
begin
    for missing in
        select g.* from rowcast.missing_trigger g
        where case when install_outbox_triggers.relation is null then g.installable
            else g.relation = install_outbox_triggers.relation end
        order by g.relation, g.member <> g.relation, g.member
    loop
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
        end if;
        execute missing.definition;
        execute format('alter table %s enable always trigger %I', missing.member::regclass, missing.name);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to capture its changes', missing.member::regclass
            using errcode = 'lock_not_available',
                hint = 'A transaction that writes to the table is still open, or it is being vacuumed. Call again later, or set lock_timeout to wait longer: beyond deadlock_timeout an autovacuum gives way.';
end
$function$;
comment on function rowcast.install_outbox_triggers(regclass) is
    'Creates the triggers that append changes of a watched table, or of all, to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;
