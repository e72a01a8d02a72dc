-- Why: a table is followed by one statement in the user's own migrations, which does all that following needs (replica
-- identity, publication, the rule who may see it) or refuses before it could harm the table's owner. The publication is
-- made here, empty, because it must be older than the slot.

-- Tells every streaming engine, at the position of this transaction's commit, that the watched tables changed.
-- Called by rowcast.watch and rowcast.unwatch. The stream carries it even when no row changes.
create or replace function rowcast.announce(change text, relation oid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select pg_logical_emit_message(
        true,
        'rowcast.catalog',
        convert_to(json_build_object('change', change, 'oid', relation::int8)::text, 'UTF8')
    )
$function$;
comment on function rowcast.announce(text, oid) is 'Sends a transactional logical message with prefix rowcast.catalog.';
revoke all on function rowcast.announce(text, oid) from public;

-- Creates publication rowcast, with all tables that are watched, unless it exists. Called by the migration that adds
-- it, by rowcast.watch, and by src/store at every start. Returns whether it had to.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever. Needs CREATE on the database.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    tables text;
begin
    if exists (select from pg_publication where pubname = 'rowcast') then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if exists (select from pg_publication where pubname = 'rowcast') then
        return false;
    end if;
    select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
    into tables
    from rowcast.watched w join pg_class c on c.oid = w.relation;
    execute format('create publication rowcast%s with (publish_via_partition_root = true)', tables);
    comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
    return true;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast unless it exists; whether it had to.';
revoke all on function rowcast.ensure_publication() from public;

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

-- The number of the column that is to be the tenant column; null for null. Called by rowcast.watch.
-- RC002: there is no such column, or the stream does not carry it.
create or replace function rowcast.tenant_attnum(relation regclass, tenant_column name)
returns int2
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    a pg_attribute;
begin
    if tenant_column is null then
        return null;
    end if;
    select * into a from pg_attribute
    where attrelid = relation and attname = tenant_attnum.tenant_column and attnum > 0 and not attisdropped;
    if not found then
        raise exception 'column % of % does not exist', quote_ident(tenant_column), relation
            using errcode = 'RC002',
                hint = format('Its columns are: %s. Names are case-sensitive here and need no quotes.', (
                    select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                    where attrelid = relation and attnum > 0 and not attisdropped));
    elsif a.attgenerated <> '' then
        raise exception 'column % of % is generated', quote_ident(tenant_column), relation
            using errcode = 'RC002', hint = 'The stream does not carry generated columns: use an ordinary column.';
    end if;
    return a.attnum;
end
$function$;
comment on function rowcast.tenant_attnum(regclass, name) is 'The number of the tenant column, or an error that lists the columns.';
revoke all on function rowcast.tenant_attnum(regclass, name) from public;

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

-- Raises which membership the caller lacks to watch a relation, before anything is locked. Called by rowcast.watch.
-- The server's own error names the object but neither its owner nor the remedy.
create or replace function rowcast.refuse_stranger(relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    owner oid;
begin
    select relowner into owner from pg_class where oid = relation;
    if not pg_has_role(current_user, owner, 'usage') then
        raise exception 'table % belongs to %, not to %', relation, owner::regrole, quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Call rowcast.watch as %s, or run: grant %s to %I', owner::regrole, owner::regrole, current_user);
    end if;
    select pubowner into owner from pg_publication where pubname = 'rowcast';
    if found and not pg_has_role(current_user, owner, 'usage') then
        raise exception 'publication rowcast belongs to %, not to %', owner::regrole, quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Call rowcast.watch as %s, or run: grant %s to %I', owner::regrole, owner::regrole, current_user);
    elsif not found and not has_database_privilege(current_database(), 'create') then
        raise exception 'publication rowcast does not exist, and % may not create it', quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Run: grant create on database %I to %I', current_database(), current_user);
    end if;
end
$function$;
comment on function rowcast.refuse_stranger(regclass) is 'Raises which membership the caller lacks to watch a relation.';
revoke all on function rowcast.refuse_stranger(regclass) from public;

-- Follows a table: called from the user's migrations, and by src/store for each table that the application declares.
-- Calling it again changes the settings to those given; when nothing would change it does nothing, takes no lock
-- (but ACCESS SHARE on a partitioned table) and needs no privilege but to read, so an engine without rights may declare
-- what a migration has watched before.
--
-- Runs as its caller, who must own the table and publication rowcast. It may be called while others write. Locks, until
-- commit: advisory (1919907683, 1) against a second watch; ACCESS EXCLUSIVE on the table and its partitions where the
-- replica identity must change (see set_identity_full); SHARE UPDATE EXCLUSIVE on the table to publish it, which
-- writers do not notice. The publication cuts inside transactions that are open meanwhile: rows that they wrote
-- before are not in the stream, rows that they write after are.
--
-- Partitions that are attached later follow their root, but have a replica identity of their own ('default'): call watch
-- again after attaching one. Until then rowcast.status says so, and without a primary key UPDATEs of it fail.
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

    if exists (
        select from rowcast.watched w
        join rowcast.tables t on t.oid = w.relation
        where w.relation = watch.relation and w.relation_oid = watch.relation
          and w.tenant_column is not distinct from watch.tenant_column
          and w.tenant_attnum is not distinct from wanted_attnum
          and w.public = watch.public
          and (watch.replica_identity = 'keep' or t.identity = 'f')
          and not t.problems && '{not_published,identity_missing,row_filter,column_list}'
    ) then
        return false;
    end if;

    perform rowcast.refuse_stranger(relation);
    perform pg_advisory_xact_lock(1919907683, 1);
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
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems && '{row_filter,column_list}') then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and not t.published) then
        execute format('alter publication rowcast add table only %s', relation);
    end if;
    perform rowcast.announce('watch', relation);
    return true;
end
$function$;
comment on function rowcast.watch(regclass, name, boolean, text) is
    'Follows a table, or changes how it is followed; whether anything changed. replica_identity: full or keep.';
revoke all on function rowcast.watch(regclass, name, boolean, text) from public;

-- Stops following a table; whether it was followed. Called from the user's migrations.
-- The replica identity stays as it is: what it was before is not known, and others may rely on it by now.
-- Runs as its caller, who must own publication rowcast. Locks: SHARE UPDATE EXCLUSIVE on the table.
create or replace function rowcast.unwatch(relation regclass)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    removed oid;
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    delete from rowcast.watched w where w.relation = unwatch.relation returning w.relation into removed;
    delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.relation);
    if exists (
        select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where p.pubname = 'rowcast' and r.prrelid = unwatch.relation
    ) then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if removed is not null then
        perform rowcast.announce('unwatch', removed);
    end if;
    return removed is not null;
end
$function$;
comment on function rowcast.unwatch(regclass) is 'Stops following a table; whether it was followed.';
revoke all on function rowcast.unwatch(regclass) from public;

-- Stops following a table by its name, also when the table is gone; whether it was followed. A plain literal,
-- `rowcast.unwatch('public.orders')`, comes here, as does src/store. The name is looked up among the watched tables and
-- not on a search_path: a dropped table is on none. RC005: the name fits more than one of them.
create or replace function rowcast.unwatch(relation text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    wanted text[] := parse_ident(relation);
    candidates oid[];
begin
    select array_agg(w.relation::oid) into candidates
    from rowcast.watched w
    left join pg_class c on c.oid = w.relation
    left join pg_namespace n on n.oid = c.relnamespace
    cross join lateral (
        select case when c.oid is null then parse_ident(w.relation_name) else array[n.nspname, c.relname]::text[] end
    ) as known (parts)
    where known.parts = wanted or (cardinality(wanted) = 1 and known.parts[2] = wanted[1]);
    if cardinality(candidates) > 1 then
        raise exception '% names more than one watched table', relation
            using errcode = 'RC005', hint = 'Write the schema in front, such as ''public.orders''.';
    end if;
    return candidates is not null and rowcast.unwatch(candidates[1]::regclass);
end
$function$;
comment on function rowcast.unwatch(text) is 'Stops following a table by its name, also when it is gone; whether it was followed.';
revoke all on function rowcast.unwatch(text) from public;

-- The publication that the slot streams; rowcast.watch adds tables to it.
select rowcast.ensure_publication();
