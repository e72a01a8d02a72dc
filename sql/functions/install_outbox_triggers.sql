-- Has the changes of a watched table and of everything below it appended to the outbox: creates what rowcast.missing_trigger
-- lists. Called by rowcast.watch and rowcast.start_outbox.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and whoever writes later waits behind it. So unless the caller has set lock_timeout it gives up
-- after 0.8 seconds with SQLSTATE 55P03: sooner than the server looks for deadlocks, in which the other might be chosen.
-- Always enabled: that is also where session_replication_role is replica.
create or replace function rowcast.install_outbox_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    missing rowcast.missing_trigger;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '800ms', true);
    end if;
    for missing in
        select g.* from rowcast.missing_trigger g
        where g.relation = install_outbox_triggers.relation
        order by g.member <> g.relation, g.member
    loop
        execute missing.definition;
        execute format('alter table %s enable always trigger %I', missing.member::regclass, missing.name);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to capture its changes', coalesce(missing.member, relation)::regclass
            using errcode = 'lock_not_available',
                hint = 'A transaction that writes to the table is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.install_outbox_triggers(regclass) is
    'Has the changes of a table and its partitions appended to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;
