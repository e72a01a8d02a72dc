-- Has the changes of watched tables and of everything below them appended to the outbox: creates what rowcast.missing_trigger
-- lists, of one table or of all where the caller may. Called by rowcast.watch and rowcast.start_outbox.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and whoever writes later waits behind it. So unless the caller has set lock_timeout it gives up
-- with SQLSTATE 55P03 when it has lasted for four fifths of deadlock_timeout, however many tables there are: whoever waits
-- for a table that it has does not come to look for deadlocks, in which he might be chosen. (Nor does the server cancel an
-- autovacuum that stands in the way, which it does after deadlock_timeout.)
-- Always enabled: that is also where session_replication_role is replica.
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
    'Has the changes of a watched table, or of all, appended to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;
