-- Why: not every database has logical replication (managed services, wal_level = replica, roles without REPLICATION). There
-- changes are captured by triggers, in the transactions that make them, and read from a table: the outbox. Nothing is
-- captured that way before rowcast.start_outbox is called.

-- What was changed in watched tables, where changes are captured by triggers. Written by rowcast.append_to_outbox and
-- rowcast.append_message, in the transactions that make the changes; read by src/capture/outbox.
--
-- `id` numbers changes in the order in which they were made: a row's lock is held until commit, so of two changes of one
-- row the later has the greater number. `xid` is the top-level transaction. Images are rows as text, every value as its
-- type prints it, in the order of the columns that `shape` names; `shape` is there at the first row of each statement.
--
-- Segments are written one after the other and emptied as a whole when they have been read (rowcast.trim_outbox): nothing
-- is ever deleted row by row, and no catalog grows.
create table rowcast.outbox (
    segment int2 not null,
    id int8 not null generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    relation oid,
    kind "char" not null,
    shape text[],
    old text,
    new text
) partition by list (segment);
comment on table rowcast.outbox is 'Captured changes that readers may still want. Written by triggers alone.';
comment on column rowcast.outbox.segment is 'The partition; rowcast.outbox_state names the one that is written.';
comment on column rowcast.outbox.id is 'Numbers changes in the order in which they were made.';
comment on column rowcast.outbox.xid is 'The top-level transaction that made the change.';
comment on column rowcast.outbox.relation is 'The watched table (of a partition, its root); null for a message.';
comment on column rowcast.outbox.kind is 'I insert, U update, D delete, T truncate, M message.';
comment on column rowcast.outbox.shape is 'Schema, name, and for each column its type''s oid (0: not told) and name; of a message its prefix.';
comment on column rowcast.outbox.old is 'The row before.';
comment on column rowcast.outbox.new is 'The row after; of a message its content.';
revoke all on table rowcast.outbox from public;

-- Serves every reading: of a window of transactions, and of one transaction in its order.
create index outbox_by_transaction on rowcast.outbox (xid, id);

create table rowcast.outbox_0 partition of rowcast.outbox for values in (0) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_0 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_0 from public;
create table rowcast.outbox_1 partition of rowcast.outbox for values in (1) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_1 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_1 from public;
create table rowcast.outbox_2 partition of rowcast.outbox for values in (2) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_2 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_2 from public;
create table rowcast.outbox_3 partition of rowcast.outbox for values in (3) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_3 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_3 from public;

-- Whether changes are captured by triggers, and which segment they are written to. One row, or none: then watched tables
-- have no triggers. Written by rowcast.start_outbox and rowcast.trim_outbox, read by every trigger.
create table rowcast.outbox_state (
    is_here boolean primary key default true,
    segment int2 not null default 0,
    segment_since timestamptz not null default now(),
    system_id int8 not null,
    constraint outbox_state_is_one_row check (is_here)
);
comment on table rowcast.outbox_state is 'The one row that is there while changes are captured by triggers.';
comment on column rowcast.outbox_state.is_here is 'There is one row at most.';
comment on column rowcast.outbox_state.segment is 'The segment that is written.';
comment on column rowcast.outbox_state.segment_since is 'Since when.';
comment on column rowcast.outbox_state.system_id is 'The cluster in which it was written: a restored dump is another history.';
revoke all on table rowcast.outbox_state from public;

-- The order in which transactions are told, the same for every reader. A window holds the transactions that changed something
-- and had ended when it was closed, as one snapshot sees it, but not when the window before it was. So whatever a
-- transaction has seen is told before it, however long it or others were open. Within a window transactions are in the order
-- of their last change, which agrees with the order of commits wherever two have changed one row.
--
-- (Windows of all transactions below pg_snapshot_xmin are not enough: of two that have changed one row, the one that came
-- later may have the lesser number, and be in an earlier window while a third is still open.)
--
-- The n-th of them has the position `first + n - 1`: a place in the WAL behind every commit of the window, or just behind
-- that, and greater than all positions before. Written by rowcast.close_window, removed by rowcast.trim_outbox.
create table rowcast.outbox_window (
    first pg_lsn primary key,
    last pg_lsn not null,
    previous pg_lsn not null,
    since xid8 not null,
    still xid8[] not null,
    upto xid8 not null,
    running xid8[] not null,
    xids xid8[] not null,
    timeline int4 not null,
    closed_at timestamptz not null
);
comment on table rowcast.outbox_window is 'The order in which captured transactions are told.';
comment on column rowcast.outbox_window.first is 'The position of the first transaction.';
comment on column rowcast.outbox_window.last is 'The position of the last one.';
comment on column rowcast.outbox_window.previous is 'The last position of the window before it.';
comment on column rowcast.outbox_window.since is 'upto of the window before it.';
comment on column rowcast.outbox_window.still is 'running of the window before it: they, and what is not before since, may be in this one.';
comment on column rowcast.outbox_window.upto is 'The least transaction number that had not been given when it was closed.';
comment on column rowcast.outbox_window.running is 'The transactions that were open then.';
comment on column rowcast.outbox_window.xids is 'Its transactions, in the order in which they are told.';
comment on column rowcast.outbox_window.timeline is 'The server''s timeline when it was closed.';
comment on column rowcast.outbox_window.closed_at is 'When it was closed: the time at which its transactions are told to have committed.';
revoke all on table rowcast.outbox_window from public;

-- Who reads the outbox, and from where on everything is kept for it. Written by rowcast.open_outbox, rowcast.trim_outbox
-- and rowcast.leave_outbox.
create table rowcast.outbox_reader (
    name text primary key,
    confirmed pg_lsn not null,
    seen_at timestamptz not null
);
comment on table rowcast.outbox_reader is 'Engines that read the outbox.';
comment on column rowcast.outbox_reader.name is 'One for each engine.';
comment on column rowcast.outbox_reader.confirmed is 'What is before this position it needs no more.';
comment on column rowcast.outbox_reader.seen_at is 'When it was heard of last.';
revoke all on table rowcast.outbox_reader from public;

-- The watched tables as the catalog has them now; tables that were dropped are not in it.
-- Read by src/capture/catalog.rs at each load, by rowcast.watch for its verdict and by rowcast.status.
-- Served by pg_class_oid_index and the other catalogs' indexes for each row of rowcast.watched. It reads catalogs alone and
-- locks no table of the user, so it answers while one is altered: pg_publication_tables (16 and newer) and pg_partition_tree
-- would wait behind ACCESS EXCLUSIVE.
create or replace view rowcast.tables as
select
    c.oid,
    n.nspname as schema,
    c.relname as name,
    member.identity,
    coalesce(key.attnums, '{}') as key_attnums,
    tenant.attnum as tenant_attnum,
    w.public,
    c.relrowsecurity as row_security,
    part.published,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    array_remove(array[
        case when not part.published then 'not_published' end,
        case when not member.captured then 'not_captured' end,
        case when not member.partitions_captured then 'partition_not_captured' end,
        case when w.tenant_column is not null and tenant.attnum is null then 'tenant_column_lost' end,
        case when not member.identified then 'identity_missing' end,
        case when member.identified and member.identity <> 'f' then 'identity_not_full' end,
        case when not member.logged then 'partition_not_logged' end,
        case when c.relkind = 'r' and child.found then 'has_children' end,
        case when part.of_rows then 'row_filter' end,
        case when part.of_columns then 'column_list' end,
        case when key.attnums is null then 'no_primary_key' end,
        case when c.relrowsecurity and not policy.found then 'no_policy' end,
        case when w.tenant_column is null and not w.public and not c.relrowsecurity then 'nobody_may_subscribe' end
    ], null) as problems
from rowcast.watched w
join pg_catalog.pg_class c on c.oid = w.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
cross join (select exists (select from rowcast.outbox_state) as found) outbox
-- The table itself and, when it is partitioned, everything below it. Identity is the weakest of all, since an old
-- image comes from a leaf; a leaf without one makes its owner's UPDATE and DELETE fail.
cross join lateral (
    select
        coalesce(min(m.relreplident) filter (where m.relreplident <> 'f'), 'f')::text as identity,
        bool_and(m.relkind = 'p' or m.relreplident = 'f' or exists (
            select from pg_catalog.pg_index i
            where i.indrelid = m.oid and i.indisvalid and i.indimmediate
              and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
        )) as identified,
        bool_and(m.relkind in ('r', 'p') and m.relpersistence = 'p') as logged,
        -- The three triggers that tell of rows, and the root's of TRUNCATE; a partition's know whose partition it is.
        not outbox.found or coalesce(bool_and(triggers.installed = 4) filter (where m.oid = c.oid), true) as captured,
        not outbox.found or coalesce(
            bool_and(triggers.installed = 3) filter (where m.oid <> c.oid and m.relkind in ('r', 'p')), true
        ) as partitions_captured
    from (
        with recursive tree (oid) as (
            select c.oid
            union all
            select i.inhrelid
            from tree
            join pg_catalog.pg_inherits i on i.inhparent = tree.oid
            where c.relkind = 'p' and not i.inhdetachpending
        )
        select tree.oid from tree
    ) tree
    join pg_catalog.pg_class m on m.oid = tree.oid
    cross join lateral (
        select count(*) as installed
        from pg_catalog.pg_trigger g
        where g.tgrelid = m.oid and g.tgenabled = 'A'
          and g.tgname in ('rowcast_insert', 'rowcast_update', 'rowcast_delete', 'rowcast_truncate')
          and g.tgargs = case when m.oid = c.oid then ''::bytea else convert_to(c.oid::text, 'UTF8') || '\x00' end
    ) triggers
) member
left join lateral (
    select array_agg(k.attnum order by k.place) as attnums
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
) key on true
-- Number and name agree; or the name is gone since the column was renamed; or the number means nothing since the
-- dump was restored. Everything else is no tenant column: in doubt nobody sees a row.
left join lateral (
    select a.attnum
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and case
          when a.attnum = w.tenant_attnum and a.attname = w.tenant_column then true
          when w.relation_oid = c.oid then a.attnum = w.tenant_attnum and not exists (
              select from pg_catalog.pg_attribute named
              where named.attrelid = c.oid and named.attname = w.tenant_column and not named.attisdropped
          )
          else a.attname = w.tenant_column
      end
) tenant on true
cross join lateral (
    select exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as found
) child
cross join lateral (
    -- Row filters and column lists exist since PostgreSQL 15: reached by name so that one view serves 14 as well. Of a
    -- publication for all tables a partition is not a member of its own: its changes carry the root.
    select
        count(r.oid) > 0 or coalesce(bool_or(b.puballtables and not c.relispartition), false) as published,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prqual' is not null) as of_rows,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prattrs' is not null) as of_columns
    from pg_catalog.pg_publication b
    left join pg_catalog.pg_publication_rel r on r.prpubid = b.oid and r.prrelid = c.oid
    where b.pubname = 'rowcast'
) part
cross join lateral (
    select exists (
        select from pg_catalog.pg_policy y where y.polrelid = c.oid and y.polcmd in ('r', '*')
    ) as found
) policy;
comment on view rowcast.tables is
    'Watched tables as the catalog has them now, with their problems; rowcast.problem_hint explains each.';
revoke all on table rowcast.tables from public;

-- What a word in rowcast.tables.problems means and what to do. Called by rowcast.status and src/capture/catalog.rs.
create or replace function rowcast.problem_hint(problem text)
returns text
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
    select case problem
        when 'not_published' then
            'The table is watched but not in publication rowcast: call rowcast.watch again.'
        when 'not_captured' then
            'The table lacks the triggers that tell the outbox of its changes: call rowcast.watch again.'
        when 'partition_not_captured' then
            'A partition lacks the triggers that tell the outbox of statements that name the partition itself: call rowcast.watch again.'
        when 'tenant_column_lost' then
            'The tenant column was dropped, or a rename made it ambiguous: call rowcast.watch again with the right tenant_column.'
        when 'identity_missing' then
            'The table or a partition has no replica identity, so UPDATE and DELETE of it fail: call rowcast.watch again.'
        when 'identity_not_full' then
            'Old rows carry the replica identity alone, so rows that leave a filter or a tenant cannot be recognized: call rowcast.watch with replica_identity => ''full''.'
        when 'partition_not_logged' then
            'A partition is a foreign, temporary or unlogged table: its changes never reach the WAL and are not seen.'
        when 'has_children' then
            'Tables inherit from this one: rows of the children are not seen, watch them on their own.'
        when 'row_filter' then
            'Publication rowcast has a row filter on the table, so subscribers miss rows: call rowcast.watch again.'
        when 'column_list' then
            'Publication rowcast has a column list on the table: the other columns are not seen, and UPDATE fails if the replica identity has one of them: call rowcast.watch again.'
        when 'no_primary_key' then
            'Without a primary key, DELETE and LEAVE events cannot say which row they are about: add one.'
        when 'no_policy' then
            'Row security is on and no policy allows SELECT, so no ordinary role may see a row: create a policy.'
        when 'nobody_may_subscribe' then
            'No tenant column, not public, no row security: nobody may subscribe. Call rowcast.watch with tenant_column or public => true.'
        else problem
    end
$function$;
comment on function rowcast.problem_hint(text) is 'What a word in rowcast.tables.problems means and what to do about it.';
revoke all on function rowcast.problem_hint(text) from public;

-- The timeline that the server writes. pg_control_checkpoint() tells that of the last checkpoint, which may be of before a
-- promotion. Called by rowcast.start_outbox, rowcast.open_outbox and rowcast.close_window.
create or replace function rowcast.timeline()
returns int4
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4
$function$;
comment on function rowcast.timeline() is 'The timeline that the server writes.';
revoke all on function rowcast.timeline() from public;

-- Wakes the readers of the outbox if they sleep. Called by whatever appends to it.
--
-- A reader that sleeps holds the advisory lock (1919907683, 3), which everybody who appends tries to share until the end
-- of his transaction. So a reader cannot fall asleep while one of them is in flight, and whoever comes later sees that he
-- has to notify. A NOTIFY in every transaction would cost two thirds of the write rate: a lock that all commits take in
-- turn. Where transactions may be prepared nobody notifies and no reader sleeps: PREPARE TRANSACTION fails after a NOTIFY.
create or replace function rowcast.wake_outbox_readers()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    if not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('rowcast', '');
    end if;
end
$function$;
comment on function rowcast.wake_outbox_readers() is 'Wakes the readers of the outbox if they sleep.';
revoke all on function rowcast.wake_outbox_readers() from public;

-- Trigger, once for each statement: appends what the statement changed to rowcast.outbox. Installed by
-- rowcast.install_outbox_triggers on each watched table and its partitions; a partition's has the root's oid as argument.
--
-- Security definer: who may write the table need not be allowed to write, or read, the outbox. Values are printed with the
-- settings that a replication stream has, so both kinds of capture tell the same; most sessions have them, and to set them for
-- each call takes a third of its time (28 of 93 us for an INSERT of one row). Without generic plans the planner thinks for
-- each statement anew (0.1 ms more).
--
-- Rows of an UPDATE are paired by their order in the two transition tables, which the server fills in step. Where a row
-- that moved to another partition was swallowed by a trigger there the two are not in step: those rows are told as deleted
-- and inserted. row(r.*), not r: a column may have the name of the alias, and nobody's cast of the table's own type is to be
-- called here. Generated columns have no type: the replication stream does not have them either. What an AFTER trigger for
-- each row changes is appended before what its statement changed, since this runs after both.
create or replace function rowcast.append_to_outbox()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $function$
#variable_conflict use_variable
declare
    watched oid := coalesce(tg_argv[0]::oid, tg_relid);
    shape text[] := array(
        select case when a.attgenerated = '' then a.atttypid::text else '0' end || ' ' || a.attname from pg_attribute a
        where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
    );
    zone text := current_setting('timezone');
    style text := current_setting('datestyle');
    intervals text := current_setting('intervalstyle');
    bytes text := current_setting('bytea_output');
    digits text := current_setting('extra_float_digits');
    unusual boolean := zone not in ('UTC', 'Etc/UTC', 'GMT') or style not like 'ISO%' or intervals <> 'postgres'
        or bytes <> 'hex' or digits not in ('1', '2', '3');
begin
    if unusual then
        perform set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
            set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
            set_config('extra_float_digits', '1', true);
    end if;
    if watched = tg_relid then
        shape := array[tg_table_schema::text, tg_table_name::text] || shape;
    else
        select array[n.nspname::text, c.relname::text] || shape into shape
        from pg_partition_ancestors(tg_relid) a
        join pg_class c on c.oid = a.relid
        join pg_namespace n on n.oid = c.relnamespace
        where a.relid = watched;
        if not found then
            return null;  -- It was detached, and nobody watches it any more.
        end if;
    end if;
    if tg_op = 'INSERT' then
        insert into rowcast.outbox (segment, relation, kind, shape, new)
        select s.segment, watched, 'I', case when row_number() over () = 1 then shape end, row(r.*)::text
        from rowcast.outbox_state s cross join new_rows r;
    elsif tg_op = 'DELETE' then
        insert into rowcast.outbox (segment, relation, kind, shape, old)
        select s.segment, watched, 'D', case when row_number() over () = 1 then shape end, row(r.*)::text
        from rowcast.outbox_state s cross join old_rows r;
    elsif tg_op = 'TRUNCATE' then
        insert into rowcast.outbox (segment, relation, kind, shape)
        select s.segment, watched, 'T', shape from rowcast.outbox_state s;
    elsif (select count(*) from old_rows) = 1 and (select count(*) from new_rows) = 1 then
        -- As below, in a third of the time.
        insert into rowcast.outbox (segment, relation, kind, shape, old, new)
        select s.segment, watched, 'U', shape, row(o.*)::text, row(r.*)::text
        from rowcast.outbox_state s cross join old_rows o cross join new_rows r;
    elsif (select count(*) from old_rows) = (select count(*) from new_rows) then
        insert into rowcast.outbox (segment, relation, kind, shape, old, new)
        select s.segment, watched, 'U', case when o.place = 1 then shape end, o.image, n.image
        from rowcast.outbox_state s
        cross join (select row_number() over () as place, row(r.*)::text as image from old_rows r) o
        join (select row_number() over () as place, row(r.*)::text as image from new_rows r) n
            on n.place = o.place
        order by o.place;
    else
        insert into rowcast.outbox (segment, relation, kind, shape, old, new)
        select s.segment, watched, r.kind, case when row_number() over () = 1 then shape end, r.old, r.new
        from rowcast.outbox_state s
        cross join (
            select 'D'::"char", row(r.*)::text, null from old_rows r
            union all
            select 'I', null, row(r.*)::text from new_rows r
        ) r (kind, old, new);
    end if;
    -- As rowcast.wake_outbox_readers, whose call alone takes 12 us.
    if found and not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('rowcast', '');
    end if;
    if unusual then
        perform set_config('timezone', zone, true), set_config('datestyle', style, true),
            set_config('intervalstyle', intervals, true), set_config('bytea_output', bytes, true),
            set_config('extra_float_digits', digits, true);
    end if;
    return null;
end
$function$;
comment on function rowcast.append_to_outbox() is 'Trigger: appends what a statement changed to rowcast.outbox.';
revoke all on function rowcast.append_to_outbox() from public;

-- Appends a message to the outbox, if there is one, as pg_logical_emit_message appends it to the WAL. Called by
-- rowcast.publish and rowcast.announce.
create or replace function rowcast.append_message(prefix text, content text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    -- Where there is none nothing is written: a read-only transaction may publish to the WAL.
    if exists (select from rowcast.outbox_state) then
        insert into rowcast.outbox (segment, kind, shape, new)
        select s.segment, 'M', array[prefix], content from rowcast.outbox_state s;
        perform rowcast.wake_outbox_readers();
    end if;
end
$function$;
comment on function rowcast.append_message(text, text) is 'Appends a message to the outbox, if there is one.';
revoke all on function rowcast.append_message(text, text) from public;

-- Tells every engine, at the position of this transaction's commit, that the watched tables changed. Called by
-- rowcast.watch, rowcast.unwatch and rowcast.start_outbox. The stream carries it even when no row changes.
create or replace function rowcast.announce(change text, relation oid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := json_build_object('change', change, 'oid', relation::int8)::text;
begin
    perform pg_logical_emit_message(true, 'rowcast.catalog', convert_to(content, 'UTF8'));
    perform rowcast.append_message('rowcast.catalog', content);
end
$function$;
comment on function rowcast.announce(text, oid) is 'Sends a transactional message with prefix rowcast.catalog, in the WAL and in the outbox.';
revoke all on function rowcast.announce(text, oid) from public;

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

-- Takes back what rowcast.install_outbox_triggers did. Called by rowcast.unwatch and rowcast.stop_outbox.
-- Locks as there, ACCESS EXCLUSIVE. A partition that was detached has them still.
create or replace function rowcast.remove_outbox_triggers(relation regclass)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    installed pg_trigger;
    timeout text := current_setting('lock_timeout');
begin
    if timeout = '0' then
        perform set_config('lock_timeout', '800ms', true);
    end if;
    for installed in
        select t.* from pg_trigger t
        where t.tgfoid = 'rowcast.append_to_outbox()'::regprocedure
          and (t.tgrelid = relation or t.tgrelid in (select p.relid from pg_partition_tree(relation) p)
               or t.tgargs = convert_to(relation::oid::text, 'UTF8') || '\x00')
    loop
        execute format('drop trigger %I on %s', installed.tgname, installed.tgrelid::regclass);
    end loop;
    perform set_config('lock_timeout', timeout, true);
end
$function$;
comment on function rowcast.remove_outbox_triggers(regclass) is 'Takes back what rowcast.install_outbox_triggers did.';
revoke all on function rowcast.remove_outbox_triggers(regclass) from public;

-- Follows a table: called from the user's migrations, and by src/store for each table that the application declares.
-- Calling it again changes the settings to those given; when nothing would change it does nothing, takes no lock
-- (but ACCESS SHARE on a partitioned table) and needs no privilege but to read, so an engine without rights may declare
-- what a migration has watched before.
--
-- Runs as its caller, who must own the table and publication rowcast. It may be called while others write. Locks, until
-- commit: advisory (1919907683, 1) against a second watch; ACCESS EXCLUSIVE on the table and its partitions where the
-- replica identity must change (see set_identity_full); SHARE UPDATE EXCLUSIVE on the table to publish it, which
-- writers do not notice. The publication cuts inside transactions that are open meanwhile: rows that they wrote
-- before are not in the stream, rows that they write after are. Where changes are captured by triggers it waits for them
-- (see install_outbox_triggers).
--
-- Partitions that are attached later follow their root, but have a replica identity of their own ('default'), and no triggers
-- for the outbox: call watch again after attaching one. Until then rowcast.status says so, and without a primary key UPDATEs
-- of it fail.
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
          and not t.problems && '{not_published,not_captured,partition_not_captured,identity_missing,row_filter,column_list}'
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
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems && '{not_captured,partition_not_captured}') then
        perform rowcast.install_outbox_triggers(relation);
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
-- Runs as its caller, who must own publication rowcast. Locks: SHARE UPDATE EXCLUSIVE on the table, and
-- ACCESS EXCLUSIVE where it has triggers for the outbox.
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
        perform rowcast.remove_outbox_triggers(relation);
        perform rowcast.announce('unwatch', removed);
    end if;
    return removed is not null;
end
$function$;
comment on function rowcast.unwatch(regclass) is 'Stops following a table; whether it was followed.';
revoke all on function rowcast.unwatch(regclass) from public;

-- Sends a message to the subscribers of a topic when, and only when, the caller's transaction commits; its place is that
-- of the commit. Called by applications and by src/store. The result is where the message is in the WAL.
--
-- Security definer, so that an application role needs EXECUTE on this function alone and an administrator may revoke
-- pg_logical_emit_message from public: while that is granted, every role can send what this function would send.
-- The content is UTF-8 whatever the database's encoding. RC006: topic, tenant or payload is missing or too long; the limits keep
-- one message well under the engine's frame limit (1 MiB of payload, 255 bytes of name).
create or replace function rowcast.publish(topic text, payload jsonb, tenant text default null)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := jsonb_build_object('topic', topic, 'tenant', tenant, 'payload', payload)::text;
begin
    if topic is null or topic = '' or octet_length(topic) > 255 then
        raise exception 'a topic has 1 to 255 bytes, this one has %', coalesce(octet_length(topic)::text, 'none: it is null')
            using errcode = 'RC006', hint = 'Name a topic that the application declares.';
    elsif tenant = '' or octet_length(tenant) > 255 then
        raise exception 'a tenant has 1 to 255 bytes, this one has %', octet_length(tenant)
            using errcode = 'RC006', hint = 'Leave tenant out, or null, for a topic that is declared public.';
    elsif payload is null then
        raise exception 'the payload is null'
            using errcode = 'RC006', hint = 'Send the JSON value ''null'' if that is what you mean.';
    elsif octet_length(payload::text) > 1048576 then
        raise exception 'a payload has at most 1048576 bytes, this one has %', octet_length(payload::text)
            using errcode = 'RC006', hint = 'Store it in a table and publish its key.';
    end if;
    perform rowcast.append_message('rowcast.publish', content);
    return pg_logical_emit_message(true, 'rowcast.publish', convert_to(content, 'UTF8'));
end
$function$;
comment on function rowcast.publish(text, jsonb, text) is
    'Sends a payload to the subscribers of a topic when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.publish(text, jsonb, text) from public;

-- Has the changes of all watched tables, and of those that are watched later, captured by triggers: for databases without
-- logical replication. Called by an administrator or a migration, and by src/store where the engine captures from the
-- outbox. Calling it again installs what is missing; when nothing is it takes no lock and needs no privilege but to read.
-- Whether anything changed. Runs as its caller, who must own the watched tables and rowcast's; locks as
-- rowcast.install_outbox_triggers says.
--
-- A dump that was restored elsewhere brings rows whose transaction numbers mean nothing there: those are emptied.
create or replace function rowcast.start_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    here int8 := (select system_identifier from pg_control_system());
    owner regrole := (select c.relowner from pg_class c where c.oid = 'rowcast.outbox'::regclass);
    uncaptured regclass;
begin
    if exists (select from rowcast.outbox_state s where s.system_id = here)
        and not exists (select from rowcast.tables t where t.problems && '{not_captured,partition_not_captured}')
    then
        return false;
    end if;
    if not pg_has_role(owner, 'usage') then
        raise exception 'the outbox belongs to %, not to %', owner, quote_ident(current_user)
            using errcode = 'insufficient_privilege', hint = format('As %s, run: select rowcast.start_outbox()', owner);
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state s where s.system_id = here) then
        -- Others have read the state and wait for the lock: TRUNCATE would wait for them.
        delete from rowcast.outbox_state;
        delete from rowcast.outbox_reader;
        truncate rowcast.outbox_window, rowcast.outbox;
        insert into rowcast.outbox_state (system_id) values (here);
        -- Where everything begins: nobody needs what was before.
        insert into rowcast.outbox_window (first, last, previous, since, still, upto, running, xids, timeline, closed_at)
        select p.lsn, p.lsn, p.lsn - 1, s.upto, s.running, s.upto, s.running, '{}', rowcast.timeline(), clock_timestamp()
        from (select pg_current_wal_insert_lsn() as lsn) p
        cross join (
            select pg_snapshot_xmax(c.snapshot) as upto, array(select pg_snapshot_xip(c.snapshot)) as running
            from (select pg_current_snapshot() as snapshot) c
        ) s;
    end if;
    for uncaptured in
        select t.oid::regclass from rowcast.tables t
        where t.problems && '{not_captured,partition_not_captured}'
        order by t.oid
    loop
        perform rowcast.refuse_stranger(uncaptured);
        perform rowcast.install_outbox_triggers(uncaptured);
    end loop;
    perform rowcast.announce('outbox', 0);
    return true;
end
$function$;
comment on function rowcast.start_outbox() is
    'Has changes of watched tables captured by triggers, for databases without logical replication; whether anything changed.';
revoke all on function rowcast.start_outbox() from public;

-- Takes back what rowcast.start_outbox did: drops the triggers and empties the outbox; whether there was one. Called by an
-- administrator, once no engine captures from the outbox any more: one that still does ends with OUTBOX_MISSING.
create or replace function rowcast.stop_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state) then
        return false;
    end if;
    perform rowcast.remove_outbox_triggers(w.relation) from rowcast.watched w join pg_class c on c.oid = w.relation;
    -- See rowcast.start_outbox. In the order in which readers lock them.
    delete from rowcast.outbox_state;
    delete from rowcast.outbox_reader;
    truncate rowcast.outbox_window, rowcast.outbox;
    return true;
end
$function$;
comment on function rowcast.stop_outbox() is 'Takes back what rowcast.start_outbox did; whether there was an outbox.';
revoke all on function rowcast.stop_outbox() from public;

-- Lets a reader in, and keeps everything for it that is there. Called by src/capture/outbox at each connection. No row when
-- there is no outbox, or it was written in another cluster: rowcast.start_outbox makes one.
--
-- `begins_at` is where what is kept begins, `newest` the last position that was given; `timelines` and `lasts` name the
-- timelines of whose windows something is kept, and the last position of each that this server has.
-- Security definer, so that engines need not write rowcast's tables.
create or replace function rowcast.open_outbox(
    reader text,
    out system_id int8,
    out timeline int4,
    out begins_at pg_lsn,
    out newest pg_lsn,
    out timelines int4[],
    out lasts pg_lsn[],
    out notifies boolean
)
returns setof record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    here int8 := (select c.system_identifier from pg_control_system() c);
begin
    if not exists (select from rowcast.outbox_state s where s.system_id = here) then
        return;
    end if;
    insert into rowcast.outbox_reader as r (name, confirmed, seen_at)
    select reader, min(w.previous) + 1, clock_timestamp() from rowcast.outbox_window w
    on conflict on constraint outbox_reader_pkey do update set seen_at = excluded.seen_at;
    return query
    select here, rowcast.timeline(), min(t.previous) + 1, max(t.last), array_agg(t.timeline), array_agg(t.last),
        current_setting('max_prepared_transactions') = '0'
    from (
        select w.timeline, min(w.previous) as previous, max(w.last) as last from rowcast.outbox_window w group by w.timeline
    ) t;
end
$function$;
comment on function rowcast.open_outbox(text) is 'Lets a reader of the outbox in, and keeps everything for it that is there.';
revoke all on function rowcast.open_outbox(text) from public;

-- Gives positions to the captured transactions that have ended since the last window. Called by src/capture/outbox every few
-- milliseconds while changes come, as a statement of its own; everything is decided by one snapshot, taken behind the lock.
--
-- `seen`: every transaction that this snapshot sees is in a window up to `newest`, which is null when there is no outbox.
-- Other readers are woken when a window was closed: only one polls while changes come.
--
-- Between the transactions that are open, outbox_by_transaction is read in ranges, and not across them: one that has a
-- million changes and is still open would else be passed over, change by change, each time.
--
-- The lock stops other calls alone; an advisory one could be held by every role that may connect. It is on a table that
-- autovacuum, which takes the same, has hardly a reason to visit.
create or replace function rowcast.close_window(out seen pg_snapshot, out newest pg_lsn)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    closed boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rowcast.close_window needs a transaction that is read committed'
            using errcode = 'RC005', hint = 'In any other it would not see what was committed since the transaction began.';
    end if;
    lock table rowcast.outbox_state in share update exclusive mode;
    with w as materialized (
        select x.first, x.last, x.upto, x.running from rowcast.outbox_window x order by x.first desc limit 1
    ),
    s as materialized (
        select c.snapshot, pg_snapshot_xmax(c.snapshot) as upto, array(select pg_snapshot_xip(c.snapshot)) as running
        from (select pg_current_snapshot() as snapshot) c
    ),
    range as (
        select coalesce(lag(e.xid) over (order by e.xid), '0') as above, e.xid as below
        from (select unnest(s.running) as xid from s union all select s.upto from s) e
    ),
    ended as (
        select o.xid, max(o.id) as last_change
        from w cross join range r join rowcast.outbox o on o.xid >= w.upto and o.xid > r.above and o.xid < r.below
        where r.below > w.upto
        group by o.xid
        union all
        select o.xid, max(o.id)
        from w cross join s cross join unnest(w.running) r (xid) join rowcast.outbox o on o.xid = r.xid
        where r.xid <> all (s.running)
        group by o.xid
    ),
    ordered as (
        select array_agg(e.xid order by e.last_change) as xids, count(*) as many from ended e
    ),
    made as (
        insert into rowcast.outbox_window (first, last, previous, since, still, upto, running, xids, timeline, closed_at)
        select p.first, p.first + (t.many - 1)::numeric, w.last, w.upto, w.running, s.upto, s.running, t.xids,
            rowcast.timeline(), clock_timestamp()
        from w, s, ordered t, lateral (select greatest(pg_current_wal_insert_lsn(), w.last + 1) as first) p
        where t.many > 0
        returning outbox_window.last
    )
    select s.snapshot, coalesce(m.last, w.last), m.last is not null
    into seen, newest, closed
    from s left join w on true left join made m on true;
    if closed and (select count(*) > 1 from rowcast.outbox_reader) then
        perform pg_notify('rowcast', '');
    end if;
end
$function$;
comment on function rowcast.close_window() is 'Gives positions to the captured transactions that have ended since the last window.';
revoke all on function rowcast.close_window() from public;

-- Keeps for a reader what is behind `confirmed`, and empties what no reader needs any more. Called by src/capture/outbox every
-- few seconds. Security definer, so that engines need not write rowcast's tables.
--
-- The segment that is written changes when it has 64 MiB or is a minute old, if another is empty. One that is not written
-- is emptied when every transaction in it was told before all that readers need. A reader that was not heard of for a minute does
-- not count; it finds out by the windows that are missing. The newest window stays: whoever has seen it all misses nothing.
--
-- TRUNCATE locks out whoever has that segment in use: a transaction that was open when the segment changed, or a reader. So
-- it waits for a twentieth of a second at most, and comes again; nobody's statement waits for longer.
create or replace function rowcast.trim_outbox(reader text, confirmed pg_lsn)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '50ms'
as $function$
declare
    state rowcast.outbox_state;
    next int2;
    needed rowcast.outbox_window;
    is_needed boolean;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'rowcast.trim_outbox needs a transaction that is read committed'
            using errcode = 'RC005', hint = 'In any other it would not see what was committed since the transaction began.';
    end if;
    insert into rowcast.outbox_reader as r (name, confirmed, seen_at) values (reader, trim_outbox.confirmed, clock_timestamp())
    on conflict on constraint outbox_reader_pkey do update set confirmed = excluded.confirmed, seen_at = excluded.seen_at;
    delete from rowcast.outbox_reader r where r.seen_at < clock_timestamp() - interval '1 minute';
    begin
        lock table rowcast.outbox_reader in share update exclusive mode nowait;
    exception
        when lock_not_available then
            return;  -- Somebody else is at it.
    end;
    select * into strict state from rowcast.outbox_state;
    select (state.segment + d) % 4 into next
    from generate_series(1, 3) d
    where pg_relation_size(format('rowcast.outbox_%s', (state.segment + d) % 4)) = 0
    order by d
    limit 1;
    if next is not null and (
        pg_relation_size(format('rowcast.outbox_%s', state.segment)) >= 67108864
        or (pg_relation_size(format('rowcast.outbox_%s', state.segment)) > 0
            and state.segment_since < clock_timestamp() - interval '1 minute')
    ) then
        update rowcast.outbox_state set segment = next, segment_since = clock_timestamp();
        state.segment := next;
    end if;
    -- The window that the reader who needs most has yet to read, or the newest.
    select w.* into strict needed
    from rowcast.outbox_window w
    where w.last >= (select min(r.confirmed) from rowcast.outbox_reader r)
       or w.first = (select max(n.first) from rowcast.outbox_window n)
    order by w.first
    limit 1;
    for segment in 0..3 loop
        continue when segment = state.segment or pg_relation_size(format('rowcast.outbox_%s', segment)) = 0;
        begin
            execute format('lock table rowcast.outbox_%s in access exclusive mode', segment);
            execute format(
                'select exists (select from rowcast.outbox_%1$s o where o.xid >= $1)
                     or exists (select from rowcast.outbox_%1$s o where o.xid = any ($2))', segment
            ) using needed.since, needed.still into is_needed;
            if not is_needed then
                execute format('truncate rowcast.outbox_%s', segment);
                delete from rowcast.outbox_window w where w.first < needed.first;
            end if;
        exception
            when lock_not_available then
                null;
        end;
    end loop;
end
$function$;
comment on function rowcast.trim_outbox(text, pg_lsn) is
    'Keeps for a reader of the outbox what is behind a position, and empties what no reader needs.';
revoke all on function rowcast.trim_outbox(text, pg_lsn) from public;

-- Nothing needs to be kept for this reader any more. Called by src/capture/outbox when an engine stops.
create or replace function rowcast.leave_outbox(reader text)
returns void
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
    delete from rowcast.outbox_reader r where r.name = reader
$function$;
comment on function rowcast.leave_outbox(text) is 'Nothing needs to be kept for this reader of the outbox any more.';
revoke all on function rowcast.leave_outbox(text) from public;

-- The health of rowcast in this database, one line for each thing that can be wrong. Called by people, by
-- `rowcast doctor` and by src/store. `ok` is false where somebody must act; then `hint` says how.
-- Reads catalogs, statistics and rowcast's own tables. Without jit, as rowcast.watch.
create or replace function rowcast.status()
returns table (name text, value text, ok boolean, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
with line (place, name, value, ok, hint) as (
    select 1, 'schema_version', coalesce(max(version)::text, 'none'), max(version) is not null, 'Run: rowcast migrate'
    from rowcast.migration
    union all
    select 2, 'server_version', current_setting('server_version'), current_setting('server_version_num')::int >= 140000,
        'rowcast needs PostgreSQL 14 or newer.'
    union all
    select 3, 'primary', case when pg_is_in_recovery() then 'no' else 'yes' end, not pg_is_in_recovery(),
        'This is a standby: watch, unwatch and publish need the primary.'
    union all
    select 4, 'wal_level', current_setting('wal_level'),
        current_setting('wal_level') = 'logical' or exists (select from rowcast.outbox_state),
        'Run: alter system set wal_level = logical, and restart the server; or have changes captured by triggers: select rowcast.start_outbox()'
    union all
    select 5, 'publication', case
            when count(*) = 0 then 'missing'
            when bool_and(p.puballtables) then 'for all tables'
            else 'exists'
        end,
        coalesce(bool_and(
            p.pubviaroot and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and not p.puballtables
        ), false),
        case
            when count(*) = 0 then 'Run: select rowcast.ensure_publication(). A slot that exists must be made anew.'
            when bool_and(p.puballtables) then 'UPDATEs of tables without a primary key fail. Drop it and run: select rowcast.ensure_publication()'
            else 'Run: alter publication rowcast set (publish_via_partition_root = true, publish = ''insert, update, delete, truncate'')'
        end
    from pg_publication p where p.pubname = 'rowcast'
    union all
    select 6, 'replication_slots', format('%s of %s used', count(*), current_setting('max_replication_slots')),
        count(*) < current_setting('max_replication_slots')::int
            or coalesce(bool_or(s.plugin = 'pgoutput' and s.database = current_database()), false),
        'Raise max_replication_slots, or drop a slot that nobody uses.'
    from pg_replication_slots s
    union all
    select 7, 'wal_senders', format('%s of %s used', count(*), current_setting('max_wal_senders')),
        count(*) < current_setting('max_wal_senders')::int, 'Raise max_wal_senders.'
    from pg_stat_replication
    union all
    select 8, 'synchronous_commit', current_setting('synchronous_commit'), true,
        case when current_setting('synchronous_commit') = 'off' then
            'Changes are seen when the WAL is flushed, 0.1 to 0.5 seconds later: lower wal_writer_delay, such as 10ms.'
        end
    union all
    select 9, 'publish_privilege', case when bool_or(has_function_privilege('public', f.oid, 'execute')) then 'open' else 'restricted' end, true,
        case when bool_or(has_function_privilege('public', f.oid, 'execute')) then
            'Every role can send messages with pg_logical_emit_message. To make rowcast.publish the only door, revoke it from public and grant it to the owner of rowcast.'
        end
    from pg_proc f where f.proname = 'pg_logical_emit_message' and f.pronamespace = 'pg_catalog'::regnamespace
    union all
    select 10, 'event_trigger', case when count(*) = 2 then 'installed' when count(*) = 0 then 'missing' else 'incomplete' end, true,
        case when count(*) < 2 then
            'Engines poll for changed policies and grants: they are in force up to 2 seconds after their commit, and not at their place in the stream. As a superuser, run: select rowcast.install_event_trigger()'
        end
    from pg_event_trigger e
    where e.evtname in ('rowcast_ddl', 'rowcast_drop') and e.evtenabled in ('O', 'A')
    union all
    select 11, 'outbox',
        format('%s bytes kept for %s readers',
            (select sum(pg_relation_size(i.inhrelid)) from pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass),
            (select count(*) from rowcast.outbox_reader)),
        exists (select from rowcast.outbox_reader),
        'No engine captures from the outbox, so nothing empties it: start one, or run: select rowcast.stop_outbox()'
    from rowcast.outbox_state
    union all
    select 12, 'slot ' || s.slot_name,
        format('%s, %s bytes of WAL retained, %s',
            case when s.active then 'active' else 'inactive' end,
            coalesce(pg_wal_lsn_diff(newest.lsn, s.restart_lsn)::text, 'no'),
            coalesce(to_jsonb(s) ->> 'invalidation_reason', s.wal_status, 'unknown')),
        coalesce(s.wal_status in ('reserved', 'extended'), false) and to_jsonb(s) ->> 'invalidation_reason' is null,
        case when s.wal_status = 'unreserved' then 'The server is about to drop WAL that the slot needs: let the engine catch up, or raise max_slot_wal_keep_size.'
            else 'The slot is lost, cursors have expired: drop it and restart the engine.' end
    from pg_replication_slots s
    cross join (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end) newest (lsn)
    where s.plugin = 'pgoutput' and s.database = current_database()
    union all
    select 13, 'table ' || format('%I.%I', t.schema, t.name),
        concat_ws(', ',
            'identity ' || case t.identity when 'f' then 'full' when 'd' then 'default' when 'i' then 'index' else 'nothing' end,
            case when t.public then 'public' end,
            'tenant ' || (select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid and a.attnum = t.tenant_attnum),
            case when t.row_security then 'row security' end),
        t.problems = '{}',
        (select string_agg(rowcast.problem_hint(p), ' ') from unnest(t.problems) p)
    from rowcast.tables t
    union all
    select 14, 'unwatched ' || format('%I.%I', n.nspname, c.relname), 'published', false,
        'The table is in publication rowcast but nobody watches it: call rowcast.watch, or alter publication rowcast drop table.'
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname = 'rowcast' and not exists (select from rowcast.tables t where t.oid = c.oid)
)
select line.name, line.value, line.ok, case when not line.ok or line.place in (8, 9, 10) then line.hint end
from line
order by line.place, line.name
$function$;
comment on function rowcast.status() is 'The health of rowcast in this database: name, value, whether it is ok, and what to do if not.';
revoke all on function rowcast.status() from public;

-- Gives a role what the engine needs and nothing else: read what is watched, report health, publish, and call watch for
-- tables that a migration has watched already. Called by an administrator, once; repeating it is harmless.
--
--     create role rowcast_engine login replication password '…';
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
    execute format('grant usage on schema rowcast to %s', engine);
    execute format('grant select on rowcast.migration, rowcast.watched, rowcast.tables, rowcast.outbox_state, rowcast.outbox_window, rowcast.outbox_reader, rowcast.outbox to %s', engine);
    foreach callable in array array[
        'status()', 'problem_hint(text)', 'publish(text, jsonb, text)', 'ensure_publication()',
        'watch(regclass, name, boolean, text)', 'refuse_unwatchable(regclass)', 'tenant_attnum(regclass, name)',
        'refuse_stranger(regclass)', 'start_outbox()', 'open_outbox(text)', 'close_window()', 'trim_outbox(text, pg_lsn)',
        'leave_outbox(text)'
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

-- Event trigger: tells every engine, at this place of the transaction, that a statement may have changed who sees what of a
-- watched table. See install_event_trigger, which says when it runs, and src/engine/policy_watch.rs for what
-- happens without it.
--
-- It reads catalogs and calls nothing of schema rowcast: it runs with its owner's rights, a superuser's, in everybody's
-- statements, and schema rowcast may belong to somebody else. For the same reason it writes to the outbox only if that belongs
-- to its own owner or to a superuser: others could have tables do things when they are written. What is watched is what
-- publication rowcast has.
-- Security definer, since pg_logical_emit_message may be revoked from public.
--
-- One message is enough for a transaction: the engine waits until the transaction is visible as a whole before it reads
-- the catalog. A setting of that transaction remembers it, and goes with a savepoint that is rolled back.
--
-- Nobody's statement fails for it: an error becomes a warning, and the engine's poll finds the change.
--
-- A superuser who has installed the event trigger owns it: then it is not ours to replace.
do $migration$
begin
    if not pg_has_role((select proowner from pg_proc where oid = 'rowcast.tell_of_ddl()'::regprocedure), 'usage') then
        raise warning 'rowcast.tell_of_ddl() belongs to somebody else and does not write to an outbox'
            using hint = 'Engines that capture from an outbox poll for changed policies. As its owner, replace it by what this migration has.';
        return;
    end if;
    execute $definition$
create or replace function rowcast.tell_of_ddl()
returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    concerned boolean;
    content text;
    outbox boolean;
begin
    select count(*) = 6 and bool_and(
        c.relkind in ('r', 'p') and (c.relowner = current_user::regrole or r.rolsuper)
        and (n.nspowner = current_user::regrole or o.rolsuper)
    ) into outbox
    from pg_namespace n
    join pg_roles o on o.oid = n.nspowner
    join pg_class c on c.relnamespace = n.oid
    join pg_roles r on r.oid = c.relowner
    where n.nspname = 'rowcast' and c.relname in ('outbox', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3', 'outbox_state');
    if outbox then
        select exists (select from rowcast.outbox_state) into outbox;
    end if;
    if (current_setting('wal_level') <> 'logical' and not outbox)
        or current_setting('rowcast.told', true) = pg_current_xact_id()::text
        or not exists (select from pg_publication where pubname = 'rowcast')
    then
        return;
    end if;
    if tg_event = 'sql_drop' then
        -- A policy goes alone, with what it reads (CASCADE) or with its table; a table leaves the publication with its schema or
        -- alone. What leaves it otherwise was unwatched, and rowcast.unwatch says so itself.
        select exists (
            select from pg_event_trigger_dropped_objects() d
            where case d.object_type
                when 'publication relation' then d.address_args = '{rowcast}' and tg_tag <> 'ALTER PUBLICATION'
                when 'policy' then exists (
                    select from pg_publication p
                    left join pg_publication_rel r on r.prpubid = p.oid
                    where p.pubname = 'rowcast'
                      and (p.puballtables or r.prrelid = to_regclass(format('%I.%I', d.address_names[1], d.address_names[2])))
                )
            end
        ) into concerned;
    elsif tg_tag in ('GRANT', 'REVOKE') then
        -- The server does not say on which.
        select exists (
            select from pg_event_trigger_ddl_commands() d where d.object_type in ('TABLE', 'SCHEMA')
        ) into concerned;
    elsif tg_tag in ('DROP OWNED', 'ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE', 'ALTER DOMAIN') then
        concerned := true;
    else
        -- A watched table, a policy of one, or what such a policy names.
        with watched (oid) as (
            select r.prrelid from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = 'rowcast'
            union
            select y.polrelid from pg_publication p cross join pg_policy y where p.pubname = 'rowcast' and p.puballtables
        )
        select exists (
            select from pg_event_trigger_ddl_commands() d
            where (d.classid = 'pg_class'::regclass and d.objid in (select watched.oid from watched))
               or exists (
                    select from watched join pg_policy y on y.polrelid = watched.oid
                    where (d.classid = 'pg_policy'::regclass and y.oid = d.objid) or exists (
                        select from pg_depend u
                        where u.classid = 'pg_policy'::regclass and u.objid = y.oid
                          and u.refclassid = d.classid and u.refobjid = d.objid
                    )
               )
               or (d.classid = 'pg_class'::regclass
                   and exists (select from pg_publication p where p.pubname = 'rowcast' and p.puballtables))
        ) into concerned;
    end if;
    if concerned then
        content := json_build_object('change', 'ddl', 'tag', tg_tag)::text;
        perform pg_logical_emit_message(true, 'rowcast.catalog', convert_to(content, 'UTF8'));
        -- Decoding gives a message the position of its end, which is where the next record begins. This block is a
        -- subtransaction, and between it and its parent equal positions come in any order (14 to 18: a row that was
        -- written next came first). So something that nobody reads is written in between.
        perform pg_logical_emit_message(true, 'rowcast.space', '');
        perform set_config('rowcast.told', pg_current_xact_id()::text, true);
        if outbox then
            insert into rowcast.outbox (segment, kind, shape, new)
            select s.segment, 'M', '{rowcast.catalog}', content from rowcast.outbox_state s;
            -- As rowcast.wake_outbox_readers, which is not ours to call.
            if not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
                perform pg_notify('rowcast', '');
            end if;
        end if;
    end if;
exception
    when others then
        raise warning 'rowcast was not told of %: %', tg_tag, sqlerrm
            using hint = 'Its engines find the change by polling, within seconds.';
end
$function$
$definition$;
end
$migration$;
