-- Raises the reason why a relation cannot be watched, if there is one. Called by rowcast.watch before it takes a lock.
-- RC001: the relation is of the wrong kind. RC004: another member of its partition tree is watched already.
create or replace function rowcast.refuse_unwatchable(relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    c pg_class;
    relative regclass;
begin
    select * into c from pg_class where oid = relation;
    if not found then
        raise exception 'relation % does not exist', coalesce(relation::text, 'null')
            using errcode = '42P01', hint = 'Give the name of an existing table, such as ''public.orders''.';
    elsif c.relkind in ('v', 'm') then
        raise exception '% is a view', relation
            using errcode = 'RC001', hint = 'Changes happen to tables: watch the tables that the view reads.';
    elsif c.relkind = 'f' then
        raise exception '% is a foreign table', relation
            using errcode = 'RC001', hint = 'Its changes happen on another server: run rowcast there.';
    elsif c.relkind not in ('r', 'p') then
        raise exception '% is not a table', relation
            using errcode = 'RC001', hint = 'Only tables and partitioned tables can be watched.';
    elsif c.relpersistence = 't' then
        raise exception '% is a temporary table', relation
            using errcode = 'RC001', hint = 'Changes of temporary tables are not in the WAL: use a permanent table.';
    elsif c.relpersistence = 'u' then
        raise exception '% is an unlogged table', relation
            using errcode = 'RC001', hint = format('Its changes are not in the WAL. Run: alter table %s set logged', relation);
    elsif c.relnamespace = 'rowcast'::regnamespace then
        raise exception '% belongs to rowcast itself', relation
            using errcode = 'RC001', hint = 'Watch a table of your own.';
    elsif c.oid < 16384 or c.relnamespace in ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) then
        raise exception '% is a system table', relation
            using errcode = 'RC001', hint = 'System tables cannot be published: watch a table of your own.';
    end if;

    select w.relation into relative
    from pg_partition_ancestors(refuse_unwatchable.relation) a
    join rowcast.watched w on w.relation = a.relid
    where a.relid <> refuse_unwatchable.relation;
    if found then
        raise exception '% is a partition of %, which is watched', relation, relative
            using errcode = 'RC004', hint = format('Changes of the partition are delivered as changes of %s: subscribe to that.', relative);
    end if;

    select w.relation into relative
    from pg_partition_tree(refuse_unwatchable.relation) t
    join rowcast.watched w on w.relation = t.relid
    where t.relid <> refuse_unwatchable.relation;
    if found then
        raise exception '% is watched, which is a partition of %', relative, relation
            using errcode = 'RC004', hint = format('Run: select rowcast.unwatch(''%s''), then watch %s.', relative, relation);
    end if;

    if exists (select from rowcast.outbox_state) and exists (select from pg_inherits i where i.inhrelid = refuse_unwatchable.relation) then
        raise exception '% is a partition or inherits from another table', relation
            using errcode = 'RC001',
                hint = 'Changes are captured by triggers here, and statements that name the parent do not fire its own. Watch the root of the partitions.';
    end if;

    select t.relid into relative
    from pg_partition_tree(refuse_unwatchable.relation) t
    join pg_class m on m.oid = t.relid
    where m.relkind not in ('r', 'p') or m.relpersistence <> 'p';
    if found then
        raise exception '% is a partition of % and a foreign or unlogged table', relative, relation
            using errcode = 'RC001', hint = 'Its changes are not in the WAL, so subscribers would miss them silently.';
    end if;
end
$function$;
comment on function rowcast.refuse_unwatchable(regclass) is 'Raises the reason why a relation cannot be watched, if there is one.';
revoke all on function rowcast.refuse_unwatchable(regclass) from public;
