-- Installs the event trigger that reports changes of policies, grants and owners in the stream. Called by the migration that
-- adds it, and by a superuser if the migration lacked the privilege; repeating it is harmless. Without it engines poll, and
-- a change takes effect up to 2 seconds after its commit; rowcast.status reports whether it is installed.
--
-- The caller becomes the owner of a function that runs in the statements of all roles: a role that can replace it gains the
-- privileges of every role that runs DDL. So read schema rowcast before calling this in a database where another role
-- owns it.
--
-- Enabled always, that is also where session_replication_role is replica, which restoring tools set. No event trigger
-- fires for roles, their memberships and REASSIGN OWNED (14 to 18): those are polled for in any case.
create or replace function rowcast.install_event_trigger()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    execute format('alter function rowcast.tell_of_ddl() owner to %I', current_user);
    if not exists (select from pg_event_trigger where evtname = 'rowcast_ddl') then
        create event trigger rowcast_ddl on ddl_command_end when tag in (
            'CREATE POLICY', 'ALTER POLICY', 'ALTER TABLE', 'GRANT', 'REVOKE', 'DROP OWNED', 'ALTER SCHEMA',
            'ALTER TYPE', 'ALTER DOMAIN', 'ALTER EXTENSION', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
            'ALTER AGGREGATE', 'ALTER OPERATOR', 'ALTER COLLATION', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW',
            'ALTER FOREIGN TABLE', 'ALTER SEQUENCE', 'ALTER PUBLICATION'
        ) execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_ddl is 'rowcast: reports changed policies, grants and owners to engines.';
    end if;
    alter event trigger rowcast_ddl enable always;
    if not exists (select from pg_event_trigger where evtname = 'rowcast_drop') then
        create event trigger rowcast_drop on sql_drop execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_drop is 'rowcast: reports dropped policies and tables to engines.';
    end if;
    alter event trigger rowcast_drop enable always;
exception
    when insufficient_privilege then
        raise exception '% may not install an event trigger: %', quote_ident(current_user), sqlerrm
            using errcode = 'insufficient_privilege', hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$function$;
comment on function rowcast.install_event_trigger() is
    'Installs the event trigger that reports changed policies, grants and owners in the stream. For superusers.';
revoke all on function rowcast.install_event_trigger() from public;
