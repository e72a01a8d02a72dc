-- Has the changes of a table and of everything below it appended to the outbox. Called by rowcast.watch and
-- rowcast.start_outbox. A statement that names a partition fires the partition's triggers alone, one that names the root the
-- root's alone, so both have them. TRUNCATE of a partition is not told, as in the replication stream.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and whoever writes later waits behind it. So unless the caller has set lock_timeout it gives up
-- after 0.8 seconds with SQLSTATE 55P03: sooner than the server looks for deadlocks, in which the other might be chosen. Always enabled: that is also where session_replication_role is replica.
create or replace function rowcast.install_outbox_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    member regclass;
    event text;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '800ms', true);
    end if;
    for member in
        select c.oid from pg_class c
        where (c.oid = relation or c.oid in (select t.relid from pg_partition_tree(relation) t)) and c.relkind in ('r', 'p')
        order by c.oid <> relation, c.oid
    loop
        foreach event in array array['insert', 'update', 'delete', 'truncate'] loop
            continue when event = 'truncate' and member <> relation;
            execute format(
                'create or replace trigger rowcast_%1$s after %1$s on %2$s %3$s for each statement execute function rowcast.append_to_outbox(%4$s)',
                event, member,
                case event
                    when 'insert' then 'referencing new table as new_rows'
                    when 'update' then 'referencing old table as old_rows new table as new_rows'
                    when 'delete' then 'referencing old table as old_rows'
                end,
                case when member <> relation then quote_literal(relation::oid) end
            );
            execute format('alter table %s enable always trigger rowcast_%s', member, event);
        end loop;
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to capture its changes', coalesce(member, relation)
            using errcode = 'lock_not_available',
                hint = 'A transaction that writes to the table is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.install_outbox_triggers(regclass) is
    'Has the changes of a table and its partitions appended to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;
