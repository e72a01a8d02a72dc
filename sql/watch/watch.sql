-- Watches a table: called from the user's migrations, and by src/store for each table that the application declares.
-- Calling it again changes the settings to those given; when nothing would change it does nothing, takes no lock
-- (but ACCESS SHARE on a partitioned table) and needs no privilege but to read, so an engine without rights may declare
-- what a migration has watched before. Problems that only an owner can fix raise a notice: a later partition must not keep
-- the engine from serving the others.
--
-- Runs as its caller, who must own the table and publication rowcast. It may be called while others write. Locks, until
-- commit: advisory (1919907683, 1) against a second watch; ACCESS EXCLUSIVE on the table and its partitions where the
-- replica identity must change (see set_identity_full); SHARE UPDATE EXCLUSIVE on the table to publish it, which
-- writers do not notice. The publication cuts inside transactions that are open: rows that they wrote
-- before are not in the stream, rows that they write after are. Where changes are captured by triggers it waits for them
-- (see install_outbox_triggers).
--
-- Partitions that are attached later follow their root, but have a replica identity of their own ('default'), and no triggers
-- for the outbox (engines add those where they may): call watch again after attaching one. Until then rowcast.status says so,
-- and without a primary key UPDATEs of it fail.
--
-- Without jit: rowcast.tables takes 70 ms for 200 watched tables of 2000 (PostgreSQL 15). The planner's estimate grows with
-- the catalog, and once it passed the threshold, an earlier form of the view took 1.1 s to compile for 35 ms of work.
--
-- RC001 not watchable, RC002 tenant column, RC003 no replica identity, RC004 partition tree, RC005 argument.
create or replace function rowcast.watch(
    relation regclass,
    tenant_column name default null,
    public boolean default false,
    replica_identity text default 'full'
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    wanted_attnum int2;
    problems text[];
begin
    if public is null or replica_identity is null or replica_identity not in ('full', 'keep') then
        raise exception 'replica_identity must be ''full'' or ''keep'', and public true or false'
            using errcode = 'RC005', hint = '''full'' sets REPLICA IDENTITY FULL, ''keep'' leaves the table as it is.';
    elsif public and tenant_column is not null then
        raise exception '% cannot be public and have a tenant column', relation
            using errcode = 'RC005', hint = 'Leave out public, or leave out tenant_column.';
    end if;
    perform rowcast.refuse_unwatchable(relation);
    wanted_attnum := rowcast.tenant_attnum(relation, tenant_column);

    -- What it would mend, if it is watched in this way already.
    select array(
        select unnest(t.problems)
        intersect
        select unnest('{not_published,not_captured,partition_not_captured,merge_not_captured,order_not_captured,identity_missing,identity_generated,row_filter,column_list}'
            || case when replica_identity = 'full' then '{identity_not_full}' end::text[])
    ) into problems
    from rowcast.watched w
    join rowcast.tables t on t.oid = w.relation
    where w.relation = watch.relation and w.relation_oid = watch.relation
      and w.tenant_column is not distinct from watch.tenant_column
      and w.tenant_attnum is not distinct from wanted_attnum
      and w.public = watch.public;
    if problems = '{}' then
        return false;
    elsif not problems && '{not_published,not_captured}' and (
        not pg_has_role((select c.relowner from pg_class c where c.oid = relation), 'usage')
        or (not problems && '{row_filter,column_list}' and exists (
            select from pg_partition_tree(relation) p join pg_class c on c.oid = p.relid where not pg_has_role(c.relowner, 'usage')
        ))
        or (problems <@ '{partition_not_captured,merge_not_captured,order_not_captured}'
            and not exists (select from rowcast.missing_trigger g where g.relation = watch.relation and g.installable))
    ) then
        raise notice '%: %', relation, (select string_agg(rowcast.problem_hint(p), ' ') from unnest(problems) p);
        return false;
    end if;

    perform rowcast.refuse_stranger(relation);
    perform pg_advisory_xact_lock(1919907683, 1);
    -- A relative of it may have been watched before the lock was there.
    perform rowcast.refuse_unwatchable(relation);
    -- One message is enough: rowcast.tell_of_ddl is silent about what follows.
    perform set_config('rowcast.told', pg_current_xact_id()::text, true);
    perform rowcast.ensure_publication();
    if replica_identity = 'full' then
        perform rowcast.set_identity_full(relation);
    end if;
    delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.relation);
    insert into rowcast.watched as w (relation, relation_oid, relation_name, tenant_column, tenant_attnum, public)
    values (watch.relation, watch.relation, watch.relation::text, watch.tenant_column, wanted_attnum, watch.public)
    on conflict on constraint watched_pkey do update
    set relation_oid = excluded.relation_oid, relation_name = excluded.relation_name,
        tenant_column = excluded.tenant_column, tenant_attnum = excluded.tenant_attnum,
        public = excluded.public, updated_at = now();
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems @> '{identity_missing}') then
        raise exception '% has no replica identity', relation
            using errcode = 'RC003',
                hint = 'Once published, UPDATE and DELETE of it would fail. Add a primary key, or leave out replica_identity => ''keep''.';
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems @> '{identity_generated}') then
        raise exception '% has a virtual generated column, and its replica identity would be full', relation
            using errcode = 'RC003',
                hint = format('PostgreSQL would refuse UPDATE and DELETE of it. Run: alter table %s replica identity default, and leave it so with replica_identity => ''keep'', or make the column a stored one.', relation);
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems && '{row_filter,column_list}') then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and not t.published) then
        execute format('alter publication rowcast add table only %s', relation);
    end if;
    perform rowcast.install_outbox_triggers(relation);
    perform rowcast.announce('watch', relation);
    return true;
end
$function$;
comment on function rowcast.watch(regclass, name, boolean, text) is
    'Follows a table, or changes how it is followed; whether anything changed. replica_identity: full or keep.';
revoke all on function rowcast.watch(regclass, name, boolean, text) from public;
