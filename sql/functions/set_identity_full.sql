-- Sets REPLICA IDENTITY FULL where it is not, on a table and on everything below it when it is partitioned.
-- Called by rowcast.watch. The root is set too: its RELATION message announces it for all partitions.
--
-- ALTER TABLE takes ACCESS EXCLUSIVE until commit, for a moment of work, but it waits for every transaction that has
-- touched the table, and whoever comes later waits behind it. So unless the caller has set lock_timeout it gives up after
-- 5 seconds (long enough for ordinary transactions, short enough for the queue behind it) with SQLSTATE 55P03.
create or replace function rowcast.set_identity_full(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    member regclass;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
    for member in
        select c.oid from pg_class c
        where (c.oid = relation or c.oid in (select t.relid from pg_partition_tree(relation) t))
          and c.relreplident <> 'f'
        order by c.oid <> relation, c.oid
    loop
        execute format('alter table %s replica identity full', member);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to set its replica identity', coalesce(member, relation)
            using errcode = 'lock_not_available',
                hint = 'A transaction that uses the table is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.set_identity_full(regclass) is 'Sets REPLICA IDENTITY FULL on a table and its partitions where it is not.';
revoke all on function rowcast.set_identity_full(regclass) from public;
