-- Sets the replica identity of a table and its partitions back to what it was before rowcast.watch. Called by
-- rowcast.unwatch. Locks as set_identity_full: ACCESS EXCLUSIVE until commit, waited for at most 5 seconds unless the
-- caller has set lock_timeout.
create or replace function rowcast.restore_identity(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    change record;
    target regclass := relation;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
    for change in select c.* from rowcast.identity_changes(relation) c loop
        target := change.member;
        if change.needed_by is null then
            execute change.statement;
        else
            raise notice '% keeps replica identity full, since another publication has the table: %', target, change.needed_by;
        end if;
    end loop;
    perform set_config('lock_timeout', timeout, true);
    delete from rowcast.former_identity f
    where f.watched = restore_identity.relation or not exists (select from pg_class c where c.oid = f.member);
exception
    when lock_not_available then
        raise exception 'could not lock % to restore its replica identity', target
            using errcode = 'lock_not_available',
                hint = 'A transaction that uses the table is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.restore_identity(regclass) is
    'Sets the replica identity of a table and its partitions back to what it was before rowcast.watch.';
revoke all on function rowcast.restore_identity(regclass) from public;
