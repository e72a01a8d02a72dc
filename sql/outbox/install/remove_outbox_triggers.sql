-- Takes back what rowcast.install_outbox_triggers did, of one table or of all. Called by rowcast.unwatch and
-- rowcast.stop_outbox. Locks as there, ACCESS EXCLUSIVE. A partition that was detached has its triggers still.
create or replace function rowcast.remove_outbox_triggers(relation regclass default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    installed pg_trigger;
    timeout text := current_setting('lock_timeout');
    deadline timestamptz := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
begin
    for installed in
        select t.* from pg_trigger t
        join pg_proc f on f.oid = t.tgfoid and f.pronamespace = 'rowcast'::regnamespace
        where t.tgparentid = 0
          and (relation is null or t.tgrelid = relation or t.tgrelid in (select p.relid from pg_partition_tree(relation) p)
               or t.tgargs = convert_to(relation::oid::text, 'UTF8') || '\x00')
        -- The root first, as statements lock them.
        order by (select count(*) from pg_partition_ancestors(t.tgrelid)), t.tgrelid, t.tgname
    loop
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
        end if;
        execute format('drop trigger %I on %s', installed.tgname, installed.tgrelid::regclass);
    end loop;
    perform set_config('lock_timeout', timeout, true);
end
$function$;
comment on function rowcast.remove_outbox_triggers(regclass) is 'Takes back what rowcast.install_outbox_triggers did.';
revoke all on function rowcast.remove_outbox_triggers(regclass) from public;
