-- Gives a role what the engine needs and nothing else: read what is watched, report health, publish, close sessions, and call watch for
-- tables that a migration has watched already. Called by an administrator, once; repeating it is harmless.
--
--     create role rowcast_engine login replication password 'secret';
--     select rowcast.grant_engine('rowcast_engine');
--
-- It grants no table of the application. For snapshots and for row policies that PostgreSQL must evaluate, the engine
-- changes to the roles of its principals: grant those to it. An attribute that this function cannot give is a warning.
create or replace function rowcast.grant_engine(engine regrole)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    r pg_roles;
    callable text;
begin
    select * into strict r from pg_roles where oid = engine;
    if not has_database_privilege(engine, current_database(), 'connect') then
        execute format('grant connect on database %I to %s', current_database(), engine);
    end if;
    -- The engine compares what policies call with what is stored, in a temporary function that is rolled back.
    if not has_database_privilege(engine, current_database(), 'temporary') then
        execute format('grant temporary on database %I to %s', current_database(), engine);
    end if;
    execute format('grant usage on schema rowcast to %s', engine);
    execute format('grant select on rowcast.migration, rowcast.watched, rowcast.tables, rowcast.coverage, rowcast.missing_trigger, rowcast.outbox_state, rowcast.outbox_window, rowcast.outbox_reader, rowcast.outbox to %s', engine);
    foreach callable in array array[
        'status()', 'problem_hint(text)', 'publish(text, jsonb, text)', 'close_sessions(jsonb)',
        'ensure_publication()',
        'watch(regclass, name, boolean, text)', 'refuse_unwatchable(regclass)', 'tenant_attnum(regclass, name)',
        'refuse_stranger(regclass)', 'start_outbox()', 'open_outbox(text)', 'close_window()', 'trim_outbox(text, pg_lsn)',
        'leave_outbox(text)', 'note_coverage()'
    ] loop
        execute format('grant execute on function rowcast.%s to %s', callable, engine);
    end loop;
    if not r.rolcanlogin then
        raise warning 'role % cannot log in', engine using hint = format('Run: alter role %s login', engine);
    end if;
    if not (r.rolreplication or r.rolsuper or exists (
        select from pg_roles managed
        where managed.rolname = 'rds_replication' and pg_has_role(engine, managed.oid, 'usage')
    )) then
        raise warning 'role % may not stream changes', engine
            using hint = format('As a superuser, run: alter role %s replication. On Amazon RDS: grant rds_replication to %s', engine, engine);
    end if;
end
$function$;
comment on function rowcast.grant_engine(regrole) is 'Gives a role what the engine needs and nothing else.';
revoke all on function rowcast.grant_engine(regrole) from public;
