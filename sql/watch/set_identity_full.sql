-- Sets REPLICA IDENTITY FULL where it is not, on a table and on everything below it when it is partitioned, and remembers
-- in rowcast.former_identity what it was.
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
    target regclass;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
    for target in
        select c.oid from pg_class c
        where (c.oid = relation or c.oid in (select t.relid from pg_partition_tree(relation) t))
          and c.relreplident <> 'f'
        order by c.oid <> relation, c.oid
    loop
        insert into rowcast.former_identity as f (member, watched, identity, index)
        select c.oid, set_identity_full.relation, case when c.relreplident = 'i' and x.oid is null then 'n' else c.relreplident end, x.relname
        from pg_class c
        left join pg_index i on i.indrelid = c.oid and i.indisreplident and c.relreplident = 'i'
        left join pg_class x on x.oid = i.indexrelid
        where c.oid = target
        on conflict on constraint former_identity_pkey do update
        set watched = excluded.watched, identity = excluded.identity, index = excluded.index;
        execute format('alter table %s replica identity full', target);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to set its replica identity', coalesce(target, relation)
            using errcode = 'lock_not_available',
                hint = 'A transaction that uses the table is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.set_identity_full(regclass) is 'Sets REPLICA IDENTITY FULL on a table and its partitions where it is not.';
revoke all on function rowcast.set_identity_full(regclass) from public;
