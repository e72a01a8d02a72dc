-- Why: the first version of the schema. Generated from sql/ by `make migration`: edit the files there, not this one.
-- The schema itself and rowcast.migration exist already: the migrator needs them before it can record a migration.

-- The watched tables. Written by rowcast.watch and rowcast.unwatch, read through rowcast.tables.
--
-- `relation` is a regclass: it follows a rename, and pg_dump writes it as a name. `tenant_attnum` follows the rename
-- of a column while the database lives, but a restored dump numbers columns again: then `relation_oid` differs from
-- `relation`, and `tenant_column` decides instead. rowcast.tables holds that rule; when number and name
-- contradict each other it gives no tenant column at all, and the table is not served until it is watched again.
create table rowcast.watched (
    relation regclass primary key,
    relation_oid oid not null,
    relation_name text not null,
    tenant_column name,
    tenant_attnum int2,
    public boolean not null,
    coverage jsonb,
    whole_since pg_lsn,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint watched_tenant_is_whole check ((tenant_column is null) = (tenant_attnum is null)),
    constraint watched_public_has_no_tenant check (not public or tenant_column is null)
);
comment on table rowcast.watched is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
comment on column rowcast.watched.relation is 'The table; stale when the table was dropped.';
comment on column rowcast.watched.relation_oid is 'relation as it was when watched: differs after a dump was restored.';
comment on column rowcast.watched.relation_name is 'Qualified name as it was when watched, to unwatch a table that is gone.';
comment on column rowcast.watched.tenant_column is 'Name of the tenant column when watched.';
comment on column rowcast.watched.tenant_attnum is 'Number of the tenant column when watched.';
comment on column rowcast.watched.public is 'Readable by every principal.';
comment on column rowcast.watched.coverage is 'rowcast.coverage as an engine saw it last; see rowcast.note_coverage.';
comment on column rowcast.watched.whole_since is 'From here on every change of the table was captured: cursors from before have expired.';
comment on column rowcast.watched.created_at is 'When it was watched first.';
comment on column rowcast.watched.updated_at is 'When its settings changed last.';
revoke all on table rowcast.watched from public;

-- What the replica identity of a table was before rowcast.watch set it to FULL: one row for each table and partition whose
-- identity rowcast changed. Written by rowcast.set_identity_full and rowcast.restore_identity, read through
-- rowcast.identity_changes.
--
-- `member` and `watched` are of type regclass: they follow a rename, and pg_dump writes them as names.
create table rowcast.former_identity (
    member regclass primary key,
    watched regclass not null,
    identity "char" not null,
    index name,
    constraint former_identity_has_its_index check ((identity = 'i') = (index is not null))
);
comment on table rowcast.former_identity is 'Replica identities that rowcast.watch set to FULL, as they were before.';
comment on column rowcast.former_identity.member is 'The table or partition; stale when it was dropped.';
comment on column rowcast.former_identity.watched is 'The watched table for which it was set: the table itself, or the root of its partitions.';
comment on column rowcast.former_identity.identity is 'As in pg_class.relreplident: d default, i index, n nothing.';
comment on column rowcast.former_identity.index is 'Name of the index, where the identity was one.';
revoke all on table rowcast.former_identity from public;

-- What was changed in watched tables, where changes are captured by triggers. Written by rowcast.append_to_outbox and
-- rowcast.append_message, in the transactions that make the changes; read by src/capture/outbox.
--
-- `id` numbers changes in the order in which they were appended: a row's lock is held until commit, so of two transactions
-- that change one row the later has the greater numbers. Within a transaction `place` comes first, where there is one: what
-- other triggers do is appended before the statement that fired them (see rowcast.note_outbox_place). `xid` is the top-level
-- transaction. Images are rows as text, every value as its type prints it, in the order of the columns that `shape` names;
-- `shape` is there at the first row of each statement, and at each row of a MERGE.
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
    new text,
    place int8
) partition by list (segment);
comment on table rowcast.outbox is 'Captured changes that readers may still need. Only triggers write it.';
comment on column rowcast.outbox.segment is 'The partition; rowcast.outbox_state names the one that is written.';
comment on column rowcast.outbox.id is 'Numbers changes in the order in which they were appended.';
comment on column rowcast.outbox.xid is 'The top-level transaction that made the change.';
comment on column rowcast.outbox.relation is 'The watched table (for a partition, its root); null for a message.';
comment on column rowcast.outbox.kind is 'I insert, U update, D delete, T truncate, M message.';
comment on column rowcast.outbox.shape is 'Schema, name, and for each column its type''s oid (0: not captured) and name; for a message its prefix.';
comment on column rowcast.outbox.old is 'The row before.';
comment on column rowcast.outbox.new is 'The row after; for a message its content.';
comment on column rowcast.outbox.place is 'Order of the change within its transaction, if it differs from the order of id.';
revoke all on table rowcast.outbox from public;

-- Serves every reading: of a window of transactions, and of one transaction in its order.
create index outbox_by_transaction on rowcast.outbox (xid, coalesce(place, id), id);

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
    database oid not null,
    started_in xid8 not null default pg_current_xact_id(),
    constraint outbox_state_is_one_row check (is_here)
);
comment on table rowcast.outbox_state is 'The one row that is there while changes are captured by triggers.';
comment on column rowcast.outbox_state.is_here is 'There is one row at most.';
comment on column rowcast.outbox_state.segment is 'The segment that is written.';
comment on column rowcast.outbox_state.segment_since is 'Since when.';
comment on column rowcast.outbox_state.system_id is 'The cluster in which it was written: a restored dump is another history.';
comment on column rowcast.outbox_state.database is 'The database in which it was written: so is a copy of it in the same cluster.';
comment on column rowcast.outbox_state.started_in is 'The transaction that started it: which outbox it is.';
revoke all on table rowcast.outbox_state from public;

-- The order in which transactions are delivered, the same for every reader. A window holds the transactions that changed something
-- and had ended when it was closed, as one snapshot sees it, but not when the window before it was. So a
-- transaction follows every transaction that it has seen, even if some were open for long. Within a window transactions are in the order
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
comment on table rowcast.outbox_window is 'The order in which captured transactions are delivered.';
comment on column rowcast.outbox_window.first is 'The position of the first transaction.';
comment on column rowcast.outbox_window.last is 'The position of the last one.';
comment on column rowcast.outbox_window.previous is 'The last position of the window before it.';
comment on column rowcast.outbox_window.since is 'upto of the window before it.';
comment on column rowcast.outbox_window.still is 'running of the window before it: they, and what is not before since, may be in this one.';
comment on column rowcast.outbox_window.upto is 'The least transaction number that had not been given when it was closed.';
comment on column rowcast.outbox_window.running is 'The transactions that were open then.';
comment on column rowcast.outbox_window.xids is 'Its transactions, in the order of delivery.';
comment on column rowcast.outbox_window.timeline is 'The server''s timeline when it was closed.';
comment on column rowcast.outbox_window.closed_at is 'When it was closed: the commit time that its transactions are reported with.';
revoke all on table rowcast.outbox_window from public;

-- The engines that read the outbox, and the position after which changes are kept for each. Written by
-- rowcast.open_outbox, rowcast.trim_outbox and rowcast.leave_outbox.
create table rowcast.outbox_reader (
    name text primary key,
    confirmed pg_lsn not null,
    seen_at timestamptz not null
);
comment on table rowcast.outbox_reader is 'Engines that read the outbox.';
comment on column rowcast.outbox_reader.name is 'One for each engine.';
comment on column rowcast.outbox_reader.confirmed is 'The reader no longer needs changes before this position.';
comment on column rowcast.outbox_reader.seen_at is 'When the reader last called rowcast.';
revoke all on table rowcast.outbox_reader from public;

-- The triggers that watched tables and their partitions need and do not have, while changes are captured by triggers. Read by
-- rowcast.tables, which names the problem, and by rowcast.install_outbox_triggers, which creates them.
--
-- A statement that names a partition fires the partition's triggers alone, one that names the root the root's alone, so both
-- have them; a partition's know whose partition it is. TRUNCATE of a partition is not captured, as in the replication stream.
-- If other triggers run as well, or referential actions change rows in a statement on another table, further triggers
-- note the order of all changes: see rowcast.note_outbox_place. If there can be partitions, others capture what a MERGE
-- does to them through any name: see rowcast.expect_merge. Those for each row are the root's, of which every partition has a copy; their names have the
-- root's number, so that they meet no other when a table is attached.
--
-- It reads catalogs alone, as rowcast.tables, and once for all tables.
create view rowcast.missing_trigger as
with recursive member (relation, oid) as (
    -- Not of what has a parent: its rows change in statements that fire the parent's triggers alone.
    select w.relation::oid, w.relation::oid from rowcast.watched w
    where not exists (select from pg_catalog.pg_inherits i where i.inhrelid = w.relation)
    union all
    select m.relation, i.inhrelid
    from member m
    join pg_catalog.pg_class p on p.oid = m.oid and p.relkind = 'p'
    join pg_catalog.pg_inherits i on i.inhparent = m.oid and not i.inhdetachpending
),
active (oid) as (
    select g.tgrelid
    from pg_catalog.pg_trigger g
    join pg_catalog.pg_proc f on f.oid = g.tgfoid and f.pronamespace <> 'rowcast'::regnamespace
    where not g.tgisinternal and g.tgenabled <> 'D'
),
accompanied (relation) as (
    select m.relation from member m join active a on a.oid = m.oid
    union
    select m.relation
    from member m
    join pg_catalog.pg_constraint k on k.conrelid = m.oid and k.contype = 'f'
        and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
)
select
    m.relation,
    m.oid as member,
    t.name::name as name,
    format(t.definition, t.name, m.oid::regclass::text, quote_literal(argument.text), m.relation) as definition,
    t.problem,
    bool_and(pg_catalog.pg_has_role(c.relowner, 'usage') and pg_catalog.pg_has_role(o.relowner, 'usage'))
        over (partition by m.relation) as installable
from member m
join pg_catalog.pg_class c on c.oid = m.oid and c.relkind in ('r', 'p')
join pg_catalog.pg_class o on o.oid = 'rowcast.outbox'::regclass
left join accompanied on accompanied.relation = m.relation
cross join lateral (
    select
        m.oid = m.relation as root,
        c.relkind = 'p' as parted,
        accompanied.relation is not null as accompanied,
        case when m.oid = m.relation then 'not_captured' else 'partition_not_captured' end as problem
) its
cross join lateral (values
    ('rowcast_insert', true, its.problem, 'create or replace trigger %1$I after insert on %2$s referencing new table as new_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_update', true, its.problem, 'create or replace trigger %1$I after update on %2$s referencing old table as old_rows new table as new_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_delete', true, its.problem, 'create or replace trigger %1$I after delete on %2$s referencing old table as old_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_truncate', its.root, its.problem, 'create or replace trigger %1$I after truncate on %2$s for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('~rowcast_merge', its.parted or not its.root, 'merge_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each statement execute function rowcast.expect_merge(%3$s)'),
    ('~rowcast_merged_' || m.relation, its.root and its.parted, 'merge_not_captured', 'create or replace trigger %1$I after insert or update or delete on %2$s for each row when (current_setting(''rowcast.merges_%4$s'', true) ~ ''^."?t:'') execute function rowcast.append_merged_row(%3$s)'),
    ('~rowcast_merged_' || m.relation, not its.root, 'merge_not_captured', 'alter table %2$s enable always trigger %1$I'),
    ('~rowcast_statement', its.accompanied and its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete or truncate on %2$s for each statement execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_statement', its.accompanied and not its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each statement execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_row_' || m.relation, its.accompanied and its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each row execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_row_' || m.relation, its.accompanied and not its.root, 'order_not_captured', 'alter table %2$s enable always trigger %1$I')
) t (name, needed, problem, definition)
cross join lateral (
    select case when t.name like '~%' or not its.root then m.relation::text end as text
) argument
where exists (select from rowcast.outbox_state)
  and t.needed
  and not exists (
      select from pg_catalog.pg_trigger g
      where g.tgrelid = m.oid and g.tgname = t.name and g.tgenabled = 'A'
        and g.tgargs = coalesce(convert_to(argument.text, 'UTF8') || '\x00', '')
  );
comment on view rowcast.missing_trigger is 'Triggers that watched tables need and do not have, while changes are captured by triggers.';
revoke all on table rowcast.missing_trigger from public;

-- The watched tables as the catalog has them now; tables that were dropped are not in it.
-- Read by src/catalog/mod.rs at each load, by rowcast.watch for its verdict and by rowcast.status.
-- Served by pg_class_oid_index and the other catalogs' indexes for each row of rowcast.watched. It reads catalogs alone and
-- locks no table of the user, so it answers while one is altered: pg_publication_tables (16 and newer) and pg_partition_tree
-- would wait behind ACCESS EXCLUSIVE.
create view rowcast.tables as
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
        case when part.published and not part.is_whole then 'not_all_published' end,
        case when parent.found and exists (select from rowcast.outbox_state) then 'changed_through_parent' end,
        case when parent.is_published then 'delivered_through_parent' end,
        case when uncaptured.problems @> '{not_captured}' then 'not_captured' end,
        case when uncaptured.problems @> '{partition_not_captured}' then 'partition_not_captured' end,
        case when uncaptured.problems @> '{merge_not_captured}' then 'merge_not_captured' end,
        -- 5 is the command's number in the server's own form of a rule; no rule could have one before 17.
        case when c.relkind = 'p' and current_setting('server_version_num')::int >= 170000
                and exists (select from rowcast.outbox_state) and exists (
            select from pg_catalog.pg_rewrite w where w.rulename <> '_RETURN' and w.ev_action::text like '%:commandType 5%'
        ) then 'merge_in_rule' end,
        case when uncaptured.problems @> '{order_not_captured}' then 'order_not_captured' end,
        case when w.tenant_column is not null and tenant.attnum is null then 'tenant_column_lost' end,
        case when not member.identified then 'identity_missing' end,
        case when member.has_virtual or (member.has_stored and part.lacks_stored) then 'identity_generated' end,
        case when member.identified and member.identity <> 'f' then 'identity_not_full' end,
        case when not member.logged then 'partition_not_logged' end,
        case when c.relkind = 'r' and child.found then 'has_children' end,
        case when part.of_rows then 'row_filter' end,
        case when part.of_columns then 'column_list' end,
        case when key.attnums is null then 'no_primary_key' end,
        case when key.deferrable then 'key_deferrable' end,
        case when c.relrowsecurity and not policy.found then 'no_policy' end,
        case when w.tenant_column is null and not w.public and not c.relrowsecurity then 'nobody_may_subscribe' end
    ], null) as problems
from rowcast.watched w
join pg_catalog.pg_class c on c.oid = w.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join (
    select g.relation, array_agg(distinct g.problem) as problems from rowcast.missing_trigger g group by g.relation
) uncaptured on uncaptured.relation = c.oid
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
        bool_or(generated.kinds @> '{v}') as has_virtual,
        bool_or(generated.kinds @> '{s}') as has_stored
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
        select array(
            select a.attgenerated from pg_catalog.pg_attribute a
            where a.attrelid = m.oid and a.attgenerated <> '' and not a.attisdropped and (m.relreplident = 'f' or exists (
                select from pg_catalog.pg_index i
                where i.indrelid = m.oid and a.attnum = any (i.indkey)
                  and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
            ))
        ) as kinds
    ) generated
) member
left join lateral (
    select array_agg(k.attnum order by k.place) as attnums, bool_or(not i.indimmediate) as deferrable
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
) key on true
-- Number and name agree; or the name is gone since the column was renamed; or the number means nothing since the
-- dump was restored. In every other case the tenant column is unknown, and rows are hidden.
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
    select
        exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) as found,
        -- Published under the root's name, changes of a partition are the root's.
        c.relispartition and exists (
            with recursive above (oid) as (
                select i.inhparent from pg_catalog.pg_inherits i where i.inhrelid = c.oid
                union all
                select i.inhparent from above join pg_catalog.pg_inherits i on i.inhrelid = above.oid
            )
            select from above
            join pg_catalog.pg_publication b on b.pubname = 'rowcast' and b.pubviaroot
            left join pg_catalog.pg_publication_rel r on r.prpubid = b.oid and r.prrelid = above.oid
            where r.oid is not null or b.puballtables
        ) as is_published
) parent
cross join lateral (
    -- Row filters and column lists exist since PostgreSQL 15: reached by name so that one view serves 14 as well. In a
    -- publication for all tables a partition is not a separate member: its changes carry the root.
    select
        count(r.oid) > 0 or coalesce(bool_or(b.puballtables and not c.relispartition), false) as published,
        coalesce(bool_and(
            b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and (b.pubviaroot or c.relkind <> 'p')
        ), true) as is_whole,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prqual' is not null) as of_rows,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prattrs' is not null) as of_columns,
        -- There is no such column, and no such rule, before 18.
        coalesce(bool_or(pg_catalog.to_jsonb(b) ->> 'pubgencols' <> 's'), false) as lacks_stored
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

-- What decides which changes of a watched table are captured, as one value for each table: what publishes it, the triggers of
-- the outbox, its file and columns, and of each of its partitions when it joined, its file, columns and triggers. When it differs from what an engine
-- noted last, changes may have been lost: see rowcast.note_coverage.
--
-- A row version (xmin) is new after each ALTER, so a change that was taken back is seen as well. A partition's file is new
-- after a TRUNCATE that named the partition alone, which is not in the replication stream; also after VACUUM FULL and CLUSTER of
-- a partition, which look the same in the catalog. A table's file and columns are new together after an ALTER TABLE that
-- wrote every row again; VACUUM FULL, CLUSTER and TRUNCATE leave the columns alone.
--
-- "open" are the transactions that an engine noted because they may be captured in part, as far as they have not ended; see
-- rowcast.note_coverage.
--
-- Where nothing can be captured from the WAL, what is published does not count. It reads catalogs alone and locks no table of
-- the user.
create view rowcast.coverage as
with recursive member (relation, oid, joined) as (
    select w.relation::oid, w.relation::oid, null::xid from rowcast.watched w
    union all
    select m.relation, i.inhrelid, i.xmin
    from member m
    join pg_catalog.pg_class p on p.oid = m.oid and p.relkind = 'p'
    join pg_catalog.pg_inherits i on i.inhparent = m.oid and not i.inhdetachpending
),
captured as (
    select m.relation, m.oid, m.joined, c.relfilenode as file, (
        select pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.xmin), ', ' order by a.attnum)
        from pg_catalog.pg_attribute a
        where a.attrelid = m.oid and a.attnum > 0
    ) as columns, (
        select pg_catalog.string_agg(pg_catalog.concat_ws(' ', g.oid, g.xmin), ', ' order by g.oid)
        from pg_catalog.pg_trigger g
        where g.tgrelid = m.oid
          and g.tgname in ('rowcast_insert', 'rowcast_update', 'rowcast_delete', 'rowcast_truncate')
          and exists (select from rowcast.outbox_state)
    ) as triggers
    from member m
    join pg_catalog.pg_class c on c.oid = m.oid
)
select
    c.relation,
    pg_catalog.jsonb_build_object(
        'publication', (
            select pg_catalog.concat_ws(' ', p.oid, p.xmin, r.oid)
            from pg_catalog.pg_publication p
            left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.relation
            where p.pubname = 'rowcast' and pg_catalog.current_setting('wal_level') = 'logical'
        ),
        'open', (
            select coalesce(pg_catalog.jsonb_agg(t.xid order by t.xid collate "C"), '[]')
            from rowcast.watched w
            cross join pg_catalog.jsonb_array_elements_text(w.coverage -> 'open') t (xid)
            where w.relation = c.relation
              and not pg_catalog.pg_visible_in_snapshot(t.xid::xid8, pg_catalog.pg_current_snapshot())
        ),
        'outbox', (select s.started_in::text from rowcast.outbox_state s),
        'triggers', pg_catalog.min(c.triggers) filter (where c.oid = c.relation),
        'file', pg_catalog.min(c.file) filter (where c.oid = c.relation),
        'columns', pg_catalog.min(c.columns) filter (where c.oid = c.relation),
        'partitions', coalesce(
            pg_catalog.jsonb_object_agg(c.oid, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                'joined', c.joined, 'file', c.file, 'columns', c.columns, 'triggers', c.triggers
            ))) filter (where c.oid <> c.relation),
            '{}'
        )
    ) as coverage
from captured c
group by c.relation;
comment on view rowcast.coverage is 'What decides which changes of each watched table are captured; rowcast.note_coverage compares it.';
revoke all on table rowcast.coverage from public;

-- What a word in rowcast.tables.problems means and what to do. Called by rowcast.status and src/catalog/mod.rs.
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
        when 'not_all_published' then
            'Publication rowcast was altered and leaves out operations or partitions of the table: as its owner, run: select rowcast.ensure_publication()'
        when 'changed_through_parent' then
            'The table is a partition or inherits from another: statements that name the parent do not append its rows to the outbox. Watch the root of the partitions, or capture from the WAL.'
        when 'delivered_through_parent' then
            'The table is a partition of a published table, so its changes are delivered as changes of that one: watch the root, and call rowcast.unwatch for the partition.'
        when 'not_captured' then
            'The table lacks the triggers that append its changes to the outbox: call rowcast.watch again.'
        when 'partition_not_captured' then
            'A partition lacks the triggers that capture statements that name the partition itself: call rowcast.watch again.'
        when 'merge_not_captured' then
            'The table lacks the triggers that capture what a MERGE does to partitions: call rowcast.watch again.'
        when 'merge_in_rule' then
            'A rule of this database has a MERGE: what that does to the table is not captured whole by triggers. Write it as an INSTEAD OF trigger.'
        when 'order_not_captured' then
            'Other triggers or referential actions run when the table is written, and it lacks the triggers that note the order of all changes: call rowcast.watch again.'
        when 'tenant_column_lost' then
            'The tenant column was dropped, or a rename made it ambiguous: call rowcast.watch again with the right tenant_column.'
        when 'identity_missing' then
            'The table or a partition has no replica identity, so UPDATE and DELETE of it fail: call rowcast.watch again.'
        when 'identity_generated' then
            'The replica identity has a generated column that publication rowcast does not have, so PostgreSQL refuses UPDATE and DELETE: call rowcast.watch again. With a virtual column, set REPLICA IDENTITY DEFAULT first and watch it with replica_identity => ''keep''.'
        when 'identity_not_full' then
            'Old rows carry the replica identity alone, so subscribers whose view depends on other columns (tenant, row policy, filter) get no DELETE and no LEAVE: call rowcast.watch with replica_identity => ''full''.'
        when 'partition_not_logged' then
            'A partition is a foreign, temporary or unlogged table: its changes never reach the WAL and are not seen.'
        when 'has_children' then
            'Tables inherit from this one: rows of the children are not seen, watch them on their own.'
        when 'row_filter' then
            'Publication rowcast has a row filter on the table, so subscribers miss rows: call rowcast.watch again.'
        when 'column_list' then
            'Publication rowcast has a column list on the table: the other columns are not seen, and UPDATE fails if the replica identity has one of them: call rowcast.watch again.'
        when 'no_primary_key' then
            'Without a primary key, DELETE and LEAVE events cannot identify their row: add one.'
        when 'key_deferrable' then
            'The primary key is deferrable, so within one transaction two rows may have the same key: a client that keeps rows by key may lose one of them. Make the constraint NOT DEFERRABLE.'
        when 'no_policy' then
            'Row security is on and no policy allows SELECT, so no ordinary role may see a row: create a policy.'
        when 'nobody_may_subscribe' then
            'No tenant column, not public, no row security: every client is refused. Call rowcast.watch with tenant_column or public => true.'
        else problem
    end
$function$;
comment on function rowcast.problem_hint(text) is 'Explains a word of rowcast.tables.problems and how to fix the problem.';
revoke all on function rowcast.problem_hint(text) from public;

-- The timeline that the server writes. pg_control_checkpoint() gives that of the last checkpoint, which may precede a
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

-- Wakes the readers of the outbox if they sleep. Called by every function that appends to it.
--
-- A sleeping reader holds the advisory lock (1919907683, 3), which every writer tries to share until the end of its
-- transaction. So a reader cannot fall asleep while a writer is active, and a writer that fails to share the lock
-- notifies. A NOTIFY in every transaction would cost two thirds of the write rate: a lock that all commits take in
-- turn. If transactions may be prepared, writers do not notify and readers do not sleep: PREPARE TRANSACTION fails after a NOTIFY.
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

-- Trigger on watched tables that have other triggers: notes the order of each changed row among its transaction's
-- changes. Installed by rowcast.install_outbox_triggers, before each statement and before each row, by their names the last.
--
-- What other triggers change is appended before what their statement changed, since rowcast.append_to_outbox runs when the
-- statement has ended; delivered in that order, a client would end with the row as it was before a trigger changed it. So numbers
-- are taken here, when a row is about to change: what other BEFORE triggers did for it has lesser ones by then, what comes
-- after has greater ones. Rows between which nothing else was changed share one: a run. A statement that goes on after a
-- thousand runs has the rest of its rows in the last.
--
-- Statements run inside each other, in triggers, in functions and in referential actions. So for each watched table and
-- command (all partitions are one) a setting, rowcast.places_<oid>_<command>, is a stack of them, as the text of an array of
-- texts, from which rowcast.append_to_outbox takes as they end:
--
--   stack   = "{" place, ... "}"                                       the innermost statement first; of a TRUNCATE ""
--   place   = rows " " last " " firsts " " numbers " " depth         such as `3 12 1,3 11,12 1`
--   rows    = number                                                 of rows so far
--   last    = number | ""                                            of the last run
--   firsts  = number, ... | ""                                         the first row of each run
--   numbers = number, ... | ""                                         the number of each run
--   depth   = number                                                 of triggers around the statement
--
-- Setting rowcast.place is the last number that was taken, unless something was appended since; rowcast.truncate is that of
-- the last TRUNCATE, whose tables are all emptied at once. They end with the transaction, and go with a savepoint that is
-- rolled back. (As texts: as jsonb it takes 17 us a row, not 10.)
--
-- The role that creates a partition copies the trigger to it and needs EXECUTE for that, so every role has it. It runs only
-- as a trigger, and does nothing but set_config and nextval.
create or replace function rowcast.note_outbox_place()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    setting text := 'rowcast.places_' || tg_argv[0] || '_' || tg_op;
    stack text[] := nullif(current_setting(setting, true), '');
    depth text := pg_trigger_depth();
    place text := current_setting('rowcast.place', true);
    rows int8;
    runs text;
    -- The parts of a place; `runs` has all but the first.
    rows_at constant int := 1;
    last_at constant int := 2;
    firsts_at constant int := 3;
    numbers_at constant int := 4;
    depth_at constant int := 5;
begin
    if tg_op = 'TRUNCATE' then
        perform set_config('rowcast.truncate', nextval('rowcast.outbox_id_seq')::text, true),
            set_config('rowcast.place', '', true), set_config(setting, array_prepend('', coalesce(stack, '{}'))::text, true);
    elsif tg_level = 'STATEMENT' then
        perform set_config(setting, array_prepend('0    ' || depth, coalesce(stack, '{}'))::text, true);
    -- Else it is a row that moves to another partition: to the statement, an UPDATE, its place is known.
    elsif split_part(stack[1], ' ', depth_at) = depth then
        rows := split_part(stack[1], ' ', rows_at)::int8 + 1;
        runs := substr(stack[1], strpos(stack[1], ' '));
        if split_part(runs, ' ', last_at) = '' or (split_part(runs, ' ', last_at) <> place and length(runs) < 16384) then
            place := nextval('rowcast.outbox_id_seq');
            perform set_config('rowcast.place', place, true);
            runs := format(' %s %s %s %s', place, concat_ws(',', nullif(split_part(runs, ' ', firsts_at), ''), rows),
                concat_ws(',', nullif(split_part(runs, ' ', numbers_at), ''), place), depth);
        end if;
        stack[1] := rows || runs;
        perform set_config(setting, stack::text, true);
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end
$function$;
comment on function rowcast.note_outbox_place() is
    'Trigger: notes the order of each changed row among its transaction''s changes.';
grant execute on function rowcast.note_outbox_place() to public;

-- Trigger on watched tables that are partitioned, and on their partitions, before each statement: whether what it changes has to
-- be captured row by row. Installed by rowcast.install_outbox_triggers.
--
-- What a MERGE has done to partitions is not in its transition tables. Those of UPDATE lack what was moved from one partition to
-- another, which is in those of DELETE and INSERT, for which nothing fires unless the MERGE has such actions too; and behind an
-- inserted row they have that row in place of the updated one (seen on 15.18 and 18.6). So rowcast.append_merged_row captures
-- it. That takes 0.1 ms a row, so not where the text of the statement rules out a MERGE: what the client sent (of which a cursor
-- and a prepared statement show nothing), or, inside a function, what the server's own report of where it is begins with. For
-- statements in an SQL function it reports no text. A text of more than a megabyte is not looked through.
--
-- Setting rowcast.merges_<oid> of a watched table is a stack of the open statements, as the text of an array of texts:
--
--   stack     = "{" statement, ... "}"                                      the latest first
--   statement = may_merge ":" commands ":" origin ":" inserted ":" place  such as `t:I16390,U16390,:-5471305:12:`
--   may_merge = "t" | "f"                                                 whether it may be a MERGE
--   commands  = { letter oid "," }                                        INSERT, UPDATE or DELETE and its table
--   letter    = "I" | "U" | "D" | "i" | "u" | "d"                         small once the command has ended
--   origin    = a hash of where the statement runs                        one for all of its commands
--   inserted  = number                                                    of rows captured as inserted
--   place     = number | "-" | ""                                         of its rows: none, or not looked up yet
--
-- All referential actions of one kind that a statement leads to have one origin. They end after the statement.
-- The stack decides only how a statement is captured: a session that sets it damages only its own changes.
create or replace function rowcast.expect_merge()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    setting text := 'rowcast.merges_' || tg_argv[0];
    stack text[] := coalesce(nullif(current_setting(setting, true), ''), '{}');
    open text[] := string_to_array(stack[1], ':');
    commands constant int := 2;
    origin constant int := 3;
    command text := left(tg_op, 1) || tg_relid || ',';
    here text;
    may_merge boolean;
begin
    get diagnostics here = pg_context;
    here := substr(here, strpos(here || E'\n', E'\n'));
    if here = '' then
        may_merge := coalesce(
            octet_length(current_query()) > 1000000 or current_query() ~* '\m(merge|execute|fetch|move)\M', true);
    else
        may_merge := octet_length(here) > 1000000 or here ~* '\m(merge|execute)\M'
            or here !~* '^\n[^\n]*\W(insert|update|delete)\s+[\w"]';
    end if;
    if stack = '{}' and not may_merge then
        return null;
    end if;
    here := hashtextextended(here, 0);
    if open[origin] = here then
        open[commands] := open[commands] || command;
        stack[1] := array_to_string(open, ':');
    else
        stack := array_prepend(concat_ws(':', may_merge, command, here, 0, ''), stack);
    end if;
    perform set_config(setting, stack::text, true);
    return null;
end
$function$;
comment on function rowcast.expect_merge() is
    'Trigger: whether what a statement changes in a partitioned table has to be captured row by row.';
revoke all on function rowcast.expect_merge() from public;

-- Trigger on the partitions of watched tables, after each row of a statement that may be a MERGE, as rowcast.expect_merge has
-- found: appends what happened to the row to rowcast.outbox. A row that is moved from one partition to another is deleted and
-- inserted, as in the replication stream. rowcast.append_to_outbox leaves out what was appended here.
--
-- Rows are appended with the columns of their partition, which may be in another order than the root's. Where places are noted (see
-- rowcast.note_outbox_place) all have the first of the statement, in the order in which they come here: what a BEFORE trigger
-- changes in between comes after them, and cannot have changed a row that comes later, which the server forbids. An inserted
-- row has its own place, since a BEFORE trigger may have made room for it.
--
-- format prints the row: it calls no user-defined cast of the table's type and has no plan that an ALTER TABLE makes stale.
--
-- The role that creates a partition copies the trigger to it and needs EXECUTE for that, so every role has it. The function
-- runs only as a trigger of that name, once for each row, and captures only what happened to a partition of a watched table.
create or replace function rowcast.append_merged_row()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
set lc_monetary = 'C'
set plan_cache_mode = force_generic_plan
set jit = off
as $function$
#variable_conflict use_variable
declare
    setting text := 'rowcast.merges_' || tg_argv[0];
    stack text[] := nullif(current_setting(setting, true), '');
    -- What is before it are referential actions, which end after it has.
    nth int8 := (select min(s.nth) from unnest(stack) with ordinality s (entry, nth) where s.entry like 't:%');
    open text[] := string_to_array(stack[nth], ':');
    -- The parts of a statement, see rowcast.expect_merge.
    commands constant int := 2;
    inserted constant int := 4;
    at_place constant int := 5;
    -- The parts of a place, see rowcast.note_outbox_place.
    firsts constant int := 3;
    numbers constant int := 4;
    noted text[] := string_to_array(
        (nullif(current_setting('rowcast.places_' || tg_argv[0] || '_INSERT', true), '')::text[])[1], ' ');
    place int8 := nullif(nullif(open[at_place], ''), '-');
    shape text[];
begin
    select array[n.nspname::text, c.relname::text] || array(
            select case
                    when a.attgenerated = '' then a.atttypid::text
                    when a.attgenerated = 's' and (
                        select to_jsonb(p) ->> 'pubgencols' = 's' from pg_publication p where p.pubname = 'rowcast'
                    ) then a.atttypid::text
                    else '0'
                end || ' ' || a.attname
            from pg_attribute a
            where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
            order by a.attnum
        )
    into shape
    from pg_partition_ancestors(tg_relid) a
    join pg_class c on c.oid = a.relid
    join pg_namespace n on n.oid = c.relnamespace
    where a.relid = tg_argv[0]::oid and exists (select from rowcast.watched w where w.relation = a.relid);
    if not found or tg_when <> 'AFTER' or tg_name <> '~rowcast_merged_' || tg_argv[0] or nth is null then
        return null;
    end if;
    if open[at_place] = '' then
        select min(nullif(split_part(split_part((nullif(s.value, '')::text[])[1], ' ', 4), ',', 1), '')::int8) into place
        from unnest('{INSERT,UPDATE,DELETE}'::text[]) c (name)
        cross join lateral current_setting('rowcast.places_' || tg_argv[0] || '_' || c.name, true) s (value)
        where strpos(open[commands], left(c.name, 1)) > 0;
        open[at_place] := coalesce(place::text, '-');
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
    end if;
    if tg_op = 'INSERT' and open[commands] like '%I%' and noted[numbers] <> '' then
        open[inserted] := open[inserted]::int8 + 1;
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
        place := (string_to_array(noted[numbers], ',')::int8[])[
            width_bucket(open[inserted]::int8, string_to_array(noted[firsts], ',')::int8[])];
    end if;
    insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
    select s.segment, place, tg_argv[0]::oid, left(tg_op, 1)::"char", shape,
        case when tg_op <> 'INSERT' then format('%s', old) end, case when tg_op <> 'DELETE' then format('%s', new) end
    from rowcast.outbox_state s;
    return null;
end
$function$;
comment on function rowcast.append_merged_row() is
    'Trigger: appends what a MERGE has done to a row of a partition to rowcast.outbox.';
grant execute on function rowcast.append_merged_row() to public;

-- Trigger, once for each statement: appends what the statement changed to rowcast.outbox. Installed by
-- rowcast.install_outbox_triggers on each watched table and its partitions; a partition's has the root's oid as argument.
--
-- Security definer: a role that may write the table needs no privilege on the outbox. Values are printed with the
-- settings that a replication stream has, so both kinds of capture deliver the same text; most sessions have them, and to set them for
-- each call takes a third of its time (28 of 93 us for an INSERT of one row). Without generic plans the server plans
-- each statement again (0.1 ms more); with jit a session whose first statement was large compiles each of those that follow
-- (0.1 s more), since the plan stays.
--
-- Rows of an UPDATE are paired by their order in the two transition tables, which the server fills in step. Where a row
-- that moved to another partition was swallowed by a trigger there the two are not in step: those rows are appended as deleted
-- and inserted. A whole row is (r.*): r may be a column as well, and row(r.*) fails on 18 where a column is virtual. Generated
-- columns have no type unless the publication has them: so it is in the replication stream. Where other triggers change
-- something too, rowcast.note_outbox_place has noted the order. rowcast.append_merged_row, not this function,
-- appends what a MERGE has done to partitions.
create or replace function rowcast.append_to_outbox()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
as $function$
#variable_conflict use_variable
declare
    segment int2 := (select s.segment from rowcast.outbox_state s);
    watched oid := coalesce(tg_argv[0]::oid, tg_relid);
    setting text := 'rowcast.places_' || watched || '_' || tg_op;
    noted text[] := nullif(current_setting(setting, true), '');
    -- The parts of a place, see rowcast.note_outbox_place.
    rows_at constant int := 1;
    firsts_at constant int := 3;
    numbers_at constant int := 4;
    firsts int8[];
    numbers int8[];
    merges text[] := nullif(current_setting('rowcast.merges_' || watched, true), '');
    command text := left(tg_op, 1) || tg_relid || ',';
    open text[];
    -- The parts of a statement, see rowcast.expect_merge.
    may_merge constant int := 1;
    commands constant int := 2;
    merged boolean := false;
    olds int8;
    news int8;
    changed boolean;
    shape text[] := array(
        select case
                when a.attgenerated = '' then a.atttypid::text
                when a.attgenerated = 's' and (
                    select to_jsonb(p) ->> 'pubgencols' = 's' from pg_publication p where p.pubname = 'rowcast'
                ) then a.atttypid::text
                else '0'
            end || ' ' || a.attname
        from pg_attribute a
        where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
        order by a.attnum
    );
    zone text := current_setting('timezone');
    style text := current_setting('datestyle');
    intervals text := current_setting('intervalstyle');
    bytes text := current_setting('bytea_output');
    digits text := current_setting('extra_float_digits');
    money text := current_setting('lc_monetary');
    unusual boolean := zone not in ('UTC', 'Etc/UTC', 'GMT') or style not like 'ISO%' or intervals <> 'postgres'
        or bytes <> 'hex' or digits not in ('1', '2', '3')
        or (money not in ('C', 'POSIX') and exists (select from unnest(shape) s (c) where s.c ~ '^79[01] '));
begin
    if noted <> '{}' then
        perform set_config(setting, noted[2:]::text, true);
        firsts := string_to_array(nullif(split_part(noted[1], ' ', firsts_at), ''), ',');
        numbers := string_to_array(nullif(split_part(noted[1], ' ', numbers_at), ''), ',');
    end if;
    if merges <> '{}' and (tg_nargs > 0 or (select c.relkind = 'p' from pg_class c where c.oid = tg_relid)) then
        for nth in 1..cardinality(merges) loop
            open := string_to_array(merges[nth], ':');
            if strpos(open[commands], command) > 0 then
                merged := open[may_merge] = 't';
                open[commands] := regexp_replace(open[commands], command, lower(command));
                merges[nth] := array_to_string(open, ':');
                if open[commands] = lower(open[commands]) then
                    merges := merges[:nth - 1] || merges[nth + 1:];
                end if;
                perform set_config('rowcast.merges_' || watched, merges::text, true);
                exit;
            end if;
        end loop;
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
            return null;  -- It was detached and is no longer watched.
        end if;
    end if;
    if unusual then
        perform set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
            set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
            set_config('extra_float_digits', '1', true), set_config('lc_monetary', 'C', true);
    end if;
    if tg_op = 'UPDATE' then
        select (select count(*) from old_rows), (select count(*) from new_rows) into olds, news;
    elsif tg_op = 'INSERT' and firsts[2] is not null then
        news := (select count(*) from new_rows);
    elsif tg_op = 'DELETE' and firsts[2] is not null then
        olds := (select count(*) from old_rows);
    end if;
    if firsts[2] is not null and coalesce(news, olds) <> split_part(noted[1], ' ', rows_at)::int8 then
        firsts := '{1}';
    end if;
    if merged then
        null;
    elsif tg_op = 'INSERT' then
        insert into rowcast.outbox (segment, place, relation, kind, shape, new)
        select segment, numbers[width_bucket(row_number() over (), firsts)], watched, 'I',
            case when row_number() over () = 1 or row_number() over () = any (firsts) then shape end, (r.*)::text
        from new_rows r;
    elsif tg_op = 'DELETE' then
        insert into rowcast.outbox (segment, place, relation, kind, shape, old)
        select segment, numbers[width_bucket(row_number() over (), firsts)], watched, 'D',
            case when row_number() over () = 1 or row_number() over () = any (firsts) then shape end, (r.*)::text
        from old_rows r;
    elsif tg_op = 'TRUNCATE' then
        insert into rowcast.outbox (segment, place, relation, kind, shape)
        values (segment, case when noted <> '{}' then current_setting('rowcast.truncate')::int8 end, watched, 'T', shape);
    elsif olds = 1 and news = 1 then
        -- As below, in a third of the time.
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[1], watched, 'U', shape, (o.*)::text, (r.*)::text
        from old_rows o cross join new_rows r;
    elsif olds = news then
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[width_bucket(o.place, firsts)], watched, 'U',
            case when o.place = 1 or o.place = any (firsts) then shape end, o.image, n.image
        from (select row_number() over () as place, (r.*)::text as image from old_rows r) o
        join (select row_number() over () as place, (r.*)::text as image from new_rows r) n
            on n.place = o.place
        order by o.place;
    else
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[1], watched, r.kind, case when row_number() over () = 1 then shape end, r.old, r.new
        from (
            select 'D'::"char", (r.*)::text, null from old_rows r
            union all
            select 'I', null, (r.*)::text from new_rows r
        ) r (kind, old, new);
    end if;
    changed := found or merged;
    if changed and current_setting('rowcast.place', true) <> '' then
        perform set_config('rowcast.place', '', true);
    end if;
    -- As rowcast.wake_outbox_readers, whose call alone takes 12 us.
    if changed and not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('rowcast', '');
    end if;
    if unusual then
        perform set_config('timezone', zone, true), set_config('datestyle', style, true),
            set_config('intervalstyle', intervals, true), set_config('bytea_output', bytes, true),
            set_config('extra_float_digits', digits, true), set_config('lc_monetary', money, true);
    end if;
    return null;
end
$function$;
comment on function rowcast.append_to_outbox() is 'Trigger: appends what a statement changed to rowcast.outbox.';
revoke all on function rowcast.append_to_outbox() from public;

-- Appends a message to the outbox, if there is one, as pg_logical_emit_message appends it to the WAL. Called by
-- rowcast.publish, rowcast.close_sessions and rowcast.announce.
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
-- the functions that change what is captured. The stream carries it even when no row changes.
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
    -- In a subtransaction the next row could come first: see rowcast.tell_of_ddl.
    perform pg_logical_emit_message(true, 'rowcast.space', '');
    perform rowcast.append_message('rowcast.catalog', content);
end
$function$;
comment on function rowcast.announce(text, oid) is 'Sends a transactional message with prefix rowcast.catalog, in the WAL and in the outbox.';
revoke all on function rowcast.announce(text, oid) from public;

-- Whether rows may have come, gone or changed without events between two values of rowcast.coverage of a table. Called by
-- rowcast.note_coverage.
--
-- A partition that was made as one (CREATE TABLE ... PARTITION OF) was empty when it joined. ATTACH PARTITION rewrites the
-- catalog row of each column, so a column that is as old as the table itself, in transaction and command, says that it was made as
-- a partition. One that was attached, or is below one that was attached, may have brought rows unless it has no pages. In doubt
-- rows may have come.
--
-- A TRUNCATE of the root, which is delivered, gives all partitions new files in one transaction; one that names a partition
-- gives a new file to that one. Where there is only one partition rows may have gone. A TRUNCATE that names all of several
-- partitions looks like one of the root.
--
-- An ALTER TABLE that rewrites every row may change values (USING, a generation expression): then the file of the table or
-- partition is new, and so is the catalog row of an old column. One that only adds columns changes no value that was delivered.
--
-- Triggers count within one outbox: a reader notices by itself that an outbox was started again, and captures from the WAL
-- need no triggers.
create or replace function rowcast.loses_rows(before jsonb, after jsonb)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $function$
declare
    aside text[] := '{outbox,partitions,file,columns}' || case when before -> 'outbox' <> after -> 'outbox' then '{triggers}' end::text[];
begin
    if before is null
        or before - aside <> after - aside
        or exists (
            select from jsonb_each(before -> 'partitions') p (oid, state)
            where not coalesce(after -> 'partitions' -> p.oid @> (p.state - aside), false)
        )
        or exists (
            select from jsonb_each(before -> 'partitions') was (part, state)
            join jsonb_each(after -> 'partitions') now (part, state) using (part)
            join pg_class c on c.oid = part::oid
            where now.state ->> 'file' <> '0'
            having count(*) filter (where was.state -> 'file' <> now.state -> 'file') not in (0, count(*))
                or bool_and(was.state -> 'file' <> now.state -> 'file') and (count(*) = 1 or count(distinct c.xmin::text) > 1)
        )
        or exists (
            select from (
                select before, after
                union all
                select was.state, now.state
                from jsonb_each(before -> 'partitions') was (oid, state)
                join jsonb_each(after -> 'partitions') now (oid, state) using (oid)
            ) of (was, now)
            where of.was -> 'file' <> of.now -> 'file'
              and starts_with(of.now ->> 'columns' || ',', of.was ->> 'columns' || ',') is not true
        )
    then
        return true;
    end if;
    return exists (
        with recursive added (oid, parent, was_made) as materialized (
            select i.inhrelid, i.inhparent, exists (
                select from pg_attribute own
                join pg_attribute made on made.attrelid = own.attrelid and made.attname = 'tableoid' and made.attnum < 0
                where own.attrelid = i.inhrelid and own.attnum > 0 and not own.attisdropped
                  and own.xmin = made.xmin and own.cmin = made.cmin
            )
            from jsonb_object_keys(after -> 'partitions') p (oid)
            join pg_inherits i on i.inhrelid = p.oid::oid
            where not before -> 'partitions' ? p.oid
        ),
        attached (oid) as (
            select a.oid from added a where not a.was_made
            union
            select a.oid from attached join added a on a.parent = attached.oid
        )
        select from attached
        join pg_class c on c.oid = attached.oid
        where c.relkind <> 'p' and (c.relkind <> 'r' or coalesce(pg_relation_size(c.oid), 1) > 0)
    );
exception
    when lock_not_available then
        return true;
end
$function$;
comment on function rowcast.loses_rows(jsonb, jsonb) is
    'Whether rows may have come, gone or changed without events between two values of rowcast.coverage.';
revoke all on function rowcast.loses_rows(jsonb, jsonb) from public;

-- The open transactions that have written to a table or to a partition of it, as rowcast.coverage lists them. Called by
-- rowcast.note_coverage when what is published has changed: what such a transaction wrote before may not be captured. One that
-- ends before its locks are looked at commits before the caller does. Without a slot there are none: one that is made later
-- waits for every open transaction and streams nothing of it.
create or replace function rowcast.open_writers(relation regclass, coverage jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(jsonb_agg(open.xid::text order by open.xid::text collate "C"), '[]')
    from pg_snapshot_xip(pg_current_snapshot()) open (xid)
    where exists (select from pg_replication_slots s where s.slot_type = 'logical' and s.database = current_database())
      and open.xid::xid in (
          select own.transactionid
          from pg_locks held
          join pg_locks own on own.virtualtransaction = held.virtualtransaction and own.locktype = 'transactionid' and own.granted
          where held.locktype = 'relation'
            and held.database = (select d.oid from pg_database d where d.datname = current_database())
            and (held.relation = $1 or $2 -> 'partitions' ? held.relation::text)
            and held.granted
            and held.mode not in ('AccessShareLock', 'RowShareLock')
      )
$function$;
comment on function rowcast.open_writers(regclass, jsonb) is 'The open transactions that have written to a table.';
revoke all on function rowcast.open_writers(regclass, jsonb) from public;

-- Notes for each watched table what its captured changes depend on, and since when they are whole. Called by engines before
-- they read the catalog: at every start, so a change while no engine ran is found, and whenever the catalog has changed.
-- Returns whether changes of a table may have been lost.
--
-- Every engine learns it from rowcast.watched: subscribers of the table get GAP, and cursors from before whole_since have
-- expired. That is before this transaction commits, which is where the announcement is in the stream: engines read the catalog
-- there, and cursors from before it have expired as well (src/engine/deliver/losses.rs).
--
-- ALTER PUBLICATION does not wait for transactions that write. What one of them wrote while the table was not published is not
-- in the stream, although it commits when all is published again. So those that are open are noted (rowcast.open_writers), and
-- when one has ended, changes were lost once more. Engines poll for that (src/catalog/fingerprint.rs). What alters
-- triggers waits for transactions that write: none is captured in part by an outbox.
--
-- Security definer: an engine's role writes rowcast.watched through this alone. The lock is on the rows that differ.
create or replace function rowcast.note_coverage()
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
set jit = off
as $function$
declare
    w record;
    lost boolean := false;
begin
    for w in
        select n.relation, n.coverage as before, c.coverage as after
        from rowcast.watched n
        join rowcast.coverage c on c.relation = n.relation
        where n.coverage is distinct from c.coverage
        order by n.relation
        for update of n
    loop
        if w.before ->> 'publication' is distinct from w.after ->> 'publication' then
            w.after := w.after || jsonb_build_object('open', rowcast.open_writers(w.relation, w.after));
        end if;
        if rowcast.loses_rows(w.before, w.after) then
            lost := true;
            update rowcast.watched n set coverage = w.after, whole_since = pg_current_wal_insert_lsn()
            where n.relation = w.relation;
            perform rowcast.announce('coverage', w.relation);
        else
            update rowcast.watched n set coverage = w.after where n.relation = w.relation;
        end if;
    end loop;
    return lost;
end
$function$;
comment on function rowcast.note_coverage() is
    'Notes since when the captured changes of each watched table are whole; whether some may have been lost.';
revoke all on function rowcast.note_coverage() from public;

-- Creates publication rowcast, with all tables that are watched, unless it exists; the caller needs CREATE on the database
-- and must own the tables. Repairs its settings, as far as the caller's privileges allow. Called by the migrations, by rowcast.watch, and by src/store at every start and whenever an engine
-- finds it altered. Returns whether it had to change anything.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever.
--
-- If the caller owns it, its options are repaired: with every operation, partitions under their root's name, and from 18 on
-- stored generated columns, without which the server refuses UPDATE and DELETE of a table that has one and REPLICA IDENTITY
-- FULL. Watched tables are added again without row filters, if the caller owns them as well. rowcast.status reports
-- the rest. Changes that were not captured until then are lost: see rowcast.note_coverage.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    with_generated text := case when current_setting('server_version_num')::int >= 180000 then ', publish_generated_columns = stored' end;
    options text := 'publish = ''insert, update, delete, truncate'', publish_via_partition_root = true' || coalesce(with_generated, '');
    left_out constant text[] := '{not_published,row_filter}';
    p record;
    t record;
    is_whole boolean;
    tables text;
    changed boolean := false;
begin
    select b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and b.pubviaroot
            and coalesce(to_jsonb(b) ->> 'pubgencols' = 's', true) as is_whole,
        pg_has_role(b.pubowner, 'usage') and not b.puballtables as is_ours
    into p from pg_publication b where b.pubname = 'rowcast';
    if not found then
        perform pg_advisory_xact_lock(1919907683, 1);
        if exists (select from pg_publication b where b.pubname = 'rowcast') then
            return false;
        end if;
        select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
        into tables
        from rowcast.watched w join pg_class c on c.oid = w.relation;
        execute format('create publication rowcast%s with (%s)', tables, options);
        comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
        return true;
    elsif not p.is_ours then
        return false;
    end if;
    if p.is_whole and not exists (select from rowcast.tables v where v.problems && left_out) then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    -- Another engine may have repaired it while this one waited.
    select b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and b.pubviaroot
        and coalesce(to_jsonb(b) ->> 'pubgencols' = 's', true)
    into is_whole from pg_publication b where b.pubname = 'rowcast';
    if not is_whole then
        execute format('alter publication rowcast set (%s)', options);
        changed := true;
    end if;
    for t in
        select v.oid::regclass as relation, v.published
        from rowcast.tables v join pg_class c on c.oid = v.oid
        where v.problems && left_out and not v.problems && '{identity_missing,identity_generated}'
          and pg_has_role(c.relowner, 'usage')
    loop
        if t.published then
            execute format('alter publication rowcast drop table only %s', t.relation);
        end if;
        execute format('alter publication rowcast add table only %s', t.relation);
        changed := true;
    end loop;
    if changed then
        perform rowcast.announce('publication', 0);
    end if;
    return changed;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast, or mends it, unless it is as it has to be; whether it was not.';
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

-- The statements that set replica identities back to what they were before rowcast.watch: of one watched table with its
-- partitions, or of all. Called by rowcast.restore_identity and by `rowcast uninstall`.
--
-- An identity that is no longer FULL is not in it: another session has changed it. If another publication has the
-- table, `needed_by` names it and FULL stays: without it UPDATE and DELETE could fail, or a reader of that publication
-- would miss the old rows. If the index was dropped, or PostgreSQL refuses its replacement, the default is set.
create or replace function rowcast.identity_changes(relation regclass default null)
returns table (member regclass, statement text, needed_by text)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select c.oid::regclass,
        format('alter table %I.%I replica identity %s', n.nspname, c.relname, case
            when f.identity = 'n' then 'nothing'
            when i.indexrelid is not null then format('using index %I', f.index)
            else 'default'
        end),
        (
            select string_agg(distinct quote_ident(p.pubname), ', ')
            from pg_publication_tables p
            join pg_namespace s on s.nspname = p.schemaname
            join pg_class t on t.relnamespace = s.oid and t.relname = p.tablename
            where p.pubname <> 'rowcast' and (t.oid = c.oid or t.oid in (select a.relid from pg_partition_ancestors(c.oid) a))
        )
    from rowcast.former_identity f
    join pg_class c on c.oid = f.member
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_index i on i.indrelid = c.oid and i.indexrelid = (
        select x.oid from pg_class x where x.relnamespace = c.relnamespace and x.relname = f.index
    )
    and i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null and i.indexprs is null and not exists (
        select from unnest((i.indkey::int2[])[:i.indnkeyatts - 1]) k (attnum)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
        where not a.attnotnull
    )
    where c.relreplident = 'f' and (relation is null or f.watched = relation)
    -- The root first, as statements lock them.
    order by f.watched, c.oid <> f.watched, c.oid
$function$;
comment on function rowcast.identity_changes(regclass) is
    'The statements that set replica identities back to what they were before rowcast.watch.';
revoke all on function rowcast.identity_changes(regclass) from public;

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

-- Creates the triggers that append changes of watched tables and their partitions to the outbox: those that
-- rowcast.missing_trigger lists, for one table or for all that the caller may alter. Called by rowcast.watch and rowcast.start_outbox.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and later writers wait for it. So unless the caller has set lock_timeout it fails
-- with SQLSTATE 55P03 after four fifths of deadlock_timeout for all tables together: a writer that waits for it then never
-- runs the deadlock check, which could cancel the writer. (Nor does the server cancel an
-- autovacuum that stands in the way, which it does after deadlock_timeout.)
-- Always enabled: also if session_replication_role is replica.
create or replace function rowcast.install_outbox_triggers(relation regclass default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    missing rowcast.missing_trigger;
    timeout text := current_setting('lock_timeout');
    deadline timestamptz := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
begin
    for missing in
        select g.* from rowcast.missing_trigger g
        where case when install_outbox_triggers.relation is null then g.installable
            else g.relation = install_outbox_triggers.relation end
        order by g.relation, g.member <> g.relation, g.member
    loop
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
        end if;
        execute missing.definition;
        execute format('alter table %s enable always trigger %I', missing.member::regclass, missing.name);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to capture its changes', missing.member::regclass
            using errcode = 'lock_not_available',
                hint = 'A transaction that writes to the table is still open, or it is being vacuumed. Call again later, or set lock_timeout to wait longer: beyond deadlock_timeout an autovacuum gives way.';
end
$function$;
comment on function rowcast.install_outbox_triggers(regclass) is
    'Creates the triggers that append changes of a watched table, or of all, to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;

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

-- Stops following a table; whether it was followed. Called from the user's migrations.
-- A replica identity that rowcast.watch set is set back to what it was (see restore_identity).
-- Runs as its caller, who must own the table and publication rowcast. Locks: SHARE UPDATE EXCLUSIVE on the table, and
-- ACCESS EXCLUSIVE where the replica identity is set back or the table has triggers for the outbox.
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
    if removed is not null then
        -- The message below is enough: rowcast.tell_of_ddl is silent about what follows.
        perform set_config('rowcast.told', pg_current_xact_id()::text, true);
    end if;
    if exists (
        select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where p.pubname = 'rowcast' and r.prrelid = unwatch.relation
    ) then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if removed is not null then
        perform rowcast.restore_identity(relation);
        perform rowcast.remove_outbox_triggers(relation);
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

-- Sends a request to close sessions to every engine of the database, at the position of this transaction's commit. Called by
-- rowcast.revoke, rowcast.disconnect and the engine (src/store/calls.rs), which adds its name as the sender: it has closed
-- its own sessions before. The result is where the message is in the WAL.
--
-- Security definer, as rowcast.publish. RC005: no principal is named, or the code is not one that a socket may close with.
create or replace function rowcast.close_sessions(request jsonb)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := request::text;
    code int := (request -> 'disconnect' ->> 'code')::int;
    lsn pg_lsn;
begin
    if coalesce(request -> 'who' ->> 'user_id', request -> 'who' ->> 'tenant_id', request -> 'who' ->> 'role') is null then
        raise exception 'no principal was given'
            using errcode = 'RC005', hint = 'Give at least one of user_id, tenant_id and role.';
    elsif not (code in (1000, 1001, 1012, 1013) or code between 3000 and 4999) then
        raise exception 'a socket cannot be closed with code %', code
            using errcode = 'RC005', hint = 'Use 1000, 1001, 1012, 1013 or one from 3000 to 4999.';
    elsif octet_length(content) > 8192 then
        raise exception 'the request has % bytes, the limit is 8192', octet_length(content)
            using errcode = 'RC005', hint = 'Shorten the names or the reason.';
    end if;
    perform rowcast.append_message('rowcast.close', content);
    lsn := pg_logical_emit_message(true, 'rowcast.close', convert_to(content, 'UTF8'));
    -- In a subtransaction the next row could come first: see rowcast.tell_of_ddl.
    perform pg_logical_emit_message(true, 'rowcast.space', '');
    return lsn;
end
$function$;
comment on function rowcast.close_sessions(jsonb) is 'Sends a request to close sessions to every engine when the transaction commits.';
revoke all on function rowcast.close_sessions(jsonb) from public;

-- Withdraws access when, and only when, the caller's transaction commits: every engine of the database closes the sockets of
-- these principals with 4403 and ends their registered subscriptions with REVOKED. Call it in the transaction that deletes the
-- membership, before other changes that they must not see: what the transaction changes after the call, and what later
-- transactions change, is not delivered to them. All that is given must match. The result is where the message is in the WAL.
create or replace function rowcast.revoke(user_id text default null, tenant_id text default null, role text default null)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    who jsonb := jsonb_build_object('user_id', user_id, 'tenant_id', tenant_id, 'role', role);
begin
    return rowcast.close_sessions(jsonb_build_object('who', who, 'disconnect', null, 'sender', null));
end
$function$;
comment on function rowcast.revoke(text, text, text) is
    'Closes the sockets of these principals with 4403 in every process when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.revoke(text, text, text) from public;

-- Closes the sockets of these principals in every engine of the database, behind what waits for them, when the caller's
-- transaction commits. Registered subscriptions go on. All that is given must match. The result is where the message is in the
-- WAL.
create or replace function rowcast.disconnect(
    user_id text default null,
    tenant_id text default null,
    role text default null,
    code int default 1012,
    reason text default 'Service restart'
)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    who jsonb := jsonb_build_object('user_id', user_id, 'tenant_id', tenant_id, 'role', role);
    how jsonb := jsonb_build_object('code', coalesce(code, 1012), 'reason', coalesce(reason, ''));
begin
    return rowcast.close_sessions(jsonb_build_object('who', who, 'disconnect', how, 'sender', null));
end
$function$;
comment on function rowcast.disconnect(text, text, text, int, text) is
    'Closes the sockets of these principals in every process when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.disconnect(text, text, text, int, text) from public;

-- Captures changes of all watched tables, also of those watched later, by triggers: for databases without
-- logical replication. Called by an administrator or a migration, and by src/store where the engine captures from the
-- outbox. Calling it again installs what is missing; when nothing is it takes no lock and needs no privilege but to read.
-- Whether anything changed. Runs as its caller, who must own rowcast's tables and those watched ones of which no change would
-- be captured; for others that lack triggers it only raises a notice. Locks as rowcast.install_outbox_triggers says.
--
-- A dump that was restored elsewhere, also in another database of the cluster, brings rows of another history: they are removed.
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
    here_in oid := (select d.oid from pg_database d where d.datname = current_database());
    is_here boolean := exists (select from rowcast.outbox_state s where s.system_id = here and s.database = here_in);
    uncaptured regclass;
    others text;
    timeout text := current_setting('lock_timeout');
begin
    if is_here and not exists (
        select from rowcast.missing_trigger g where g.installable or g.problem = 'not_captured'
    ) then
        select string_agg(distinct g.relation::regclass::text, ', ') into others from rowcast.missing_trigger g;
        if others is not null then
            raise notice '% lacks the privilege to create triggers on: %', quote_ident(current_user), others
                using hint = 'As the owner of the tables and of rowcast, run: select rowcast.start_outbox(). rowcast.status() says what is not captured.';
        end if;
        return false;
    elsif not pg_has_role(owner, 'usage') then
        raise exception 'the outbox belongs to %, not to %', owner, quote_ident(current_user)
            using errcode = 'insufficient_privilege', hint = format('As %s, run: select rowcast.start_outbox()', owner);
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state s where s.system_id = here and s.database = here_in) then
        -- Others have read the state and wait for the lock: TRUNCATE would wait for them.
        delete from rowcast.outbox_state;
        delete from rowcast.outbox_reader;
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, 800 * extract(epoch from current_setting('deadlock_timeout')::interval))::int::text, true);
        end if;
        truncate rowcast.outbox_window, rowcast.outbox;
        perform set_config('lock_timeout', timeout, true);
        insert into rowcast.outbox_state (system_id, database) values (here, here_in);
        -- The first window: no reader needs earlier changes.
        insert into rowcast.outbox_window (first, last, previous, since, still, upto, running, xids, timeline, closed_at)
        select p.lsn, p.lsn, p.lsn - 1, s.upto, s.running, s.upto, s.running, '{}', rowcast.timeline(), clock_timestamp()
        from (select pg_current_wal_insert_lsn() as lsn) p
        cross join (
            select pg_snapshot_xmax(c.snapshot) as upto, array(select pg_snapshot_xip(c.snapshot)) as running
            from (select pg_current_snapshot() as snapshot) c
        ) s;
    end if;
    for uncaptured in select distinct g.relation from rowcast.missing_trigger g where g.problem = 'not_captured' loop
        perform rowcast.refuse_stranger(uncaptured);
    end loop;
    select string_agg(distinct g.relation::regclass::text, ', ') into others
    from rowcast.missing_trigger g where g.problem = 'not_captured' and not g.installable;
    if others is not null then
        raise exception '% does not own all partitions of %', quote_ident(current_user), others
            using errcode = 'insufficient_privilege',
                hint = 'As a member of the roles that own them and rowcast, run: select rowcast.start_outbox()';
    end if;
    perform rowcast.install_outbox_triggers();
    perform rowcast.announce('outbox', 0);
    return true;
end
$function$;
comment on function rowcast.start_outbox() is
    'Captures changes of watched tables by triggers, for databases without logical replication; returns whether anything changed.';
revoke all on function rowcast.start_outbox() from public;

-- Takes back what rowcast.start_outbox did: drops the triggers and empties the outbox; whether there was one. Called by an
-- administrator, once no engine captures from the outbox any more: one that still does ends with OUTBOX_MISSING. Takes ACCESS
-- EXCLUSIVE on the watched tables and the outbox; unless the caller has set lock_timeout it fails with SQLSTATE 55P03 before
-- another session would look for deadlocks.
create or replace function rowcast.stop_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    timeout text := current_setting('lock_timeout');
    deadline timestamptz;
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state) then
        return false;
    end if;
    deadline := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
    perform rowcast.remove_outbox_triggers();
    -- Readers of the watched tables wait by now, and one of them may be in the way: one deadline for both.
    if timeout = '0' then
        perform set_config('lock_timeout', greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
    end if;
    -- See rowcast.start_outbox. In the order in which readers lock them.
    delete from rowcast.outbox_state;
    delete from rowcast.outbox_reader;
    truncate rowcast.outbox_window, rowcast.outbox;
    perform set_config('lock_timeout', timeout, true);
    return true;
exception
    when lock_not_available then
        raise exception 'could not lock the outbox and the tables that are captured by it'
            using errcode = 'lock_not_available',
                hint = 'A transaction that uses them is still open. Call again later, or set lock_timeout to wait longer.';
end
$function$;
comment on function rowcast.stop_outbox() is 'Takes back what rowcast.start_outbox did; whether there was an outbox.';
revoke all on function rowcast.stop_outbox() from public;

-- Registers a reader, and keeps all present changes for it. Called by src/capture/outbox at each connection. Returns no row
-- if the outbox is missing or was written in another database: rowcast.start_outbox creates it.
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
    out notifies boolean,
    out database oid
)
returns setof record
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    here int8 := (select c.system_identifier from pg_control_system() c);
    here_in oid := (select d.oid from pg_database d where d.datname = current_database());
begin
    if not exists (select from rowcast.outbox_state s where s.system_id = here and s.database = here_in) then
        return;
    end if;
    insert into rowcast.outbox_reader as r (name, confirmed, seen_at)
    select reader, min(w.previous) + 1, clock_timestamp() from rowcast.outbox_window w
    on conflict on constraint outbox_reader_pkey do update set seen_at = excluded.seen_at;
    return query
    select here, rowcast.timeline(), min(t.previous) + 1, max(t.last), array_agg(t.timeline), array_agg(t.last),
        current_setting('max_prepared_transactions') = '0', here_in
    from (
        select w.timeline, min(w.previous) as previous, max(w.last) as last from rowcast.outbox_window w group by w.timeline
    ) t;
end
$function$;
comment on function rowcast.open_outbox(text) is 'Registers a reader of the outbox, and keeps all present changes for it.';
revoke all on function rowcast.open_outbox(text) from public;

-- Gives positions to the captured transactions that have ended since the last window. Called by src/capture/outbox every few
-- milliseconds while changes come, as a statement of its own; everything is decided by one snapshot, taken behind the lock.
--
-- `seen`: every transaction that this snapshot sees is in a window up to `newest`, which is null without an outbox.
-- Other readers are woken when a window was closed: only one polls while changes come.
--
-- Between the transactions that are open, outbox_by_transaction is read in ranges, and not across them: one that has a
-- million changes and is still open would else be passed over, change by change, each time.
--
-- Without a reader millions of transactions may accumulate: then one snapshot gives several windows.
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
        raise exception 'rowcast.close_window must run in a read committed transaction'
            using errcode = 'RC005', hint = 'At other isolation levels it cannot see what was committed since the transaction began.';
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
    numbered as (
        select e.xid, row_number() over (order by e.last_change) - 1 as n from ended e
    ),
    part as (
        select min(n.n) as before, count(*) as many, array_agg(n.xid order by n.n) as xids from numbered n group by n.n / 65536
    ),
    made as (
        insert into rowcast.outbox_window (first, last, previous, since, still, upto, running, xids, timeline, closed_at)
        select p.first + t.before::numeric, p.first + (t.before + t.many - 1)::numeric,
            case when t.before = 0 then w.last else p.first + (t.before - 1)::numeric end,
            w.upto, w.running, s.upto, s.running, t.xids, rowcast.timeline(), clock_timestamp()
        from w, s, part t, (select greatest(pg_current_wal_insert_lsn(), w.last + 1) as first from w) p
        returning outbox_window.last
    ),
    latest as (
        select max(m.last) as last from made m
    )
    select s.snapshot, coalesce(m.last, w.last), m.last is not null
    into seen, newest, closed
    from s cross join latest m left join w on true;
    if closed and (select count(*) > 1 from rowcast.outbox_reader) then
        perform pg_notify('rowcast', '');
    end if;
end
$function$;
comment on function rowcast.close_window() is 'Gives positions to the captured transactions that have ended since the last window.';
revoke all on function rowcast.close_window() from public;

-- Keeps for a reader the changes after `confirmed`, and empties segments that no reader needs. Called by src/engine/follow/outbox_watch.rs every
-- few seconds. Security definer, so that engines need not write rowcast's tables.
--
-- The segment that is written changes when it has 64 MiB or is a minute old, if another is empty. One that is not written
-- is emptied when every transaction in it precedes all that readers need. A reader that has not called for a minute does
-- not count, unless the server was down too; it notices that windows are missing. The newest window stays: a reader that
-- has read all of it misses nothing.
--
-- TRUNCATE conflicts with every transaction that uses the segment: a reader, or one that was open when the segment changed.
-- So it waits for 50 ms at most and is retried at the next call; no other statement waits longer for it.
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
        raise exception 'rowcast.trim_outbox must run in a read committed transaction'
            using errcode = 'RC005', hint = 'At other isolation levels it cannot see what was committed since the transaction began.';
    end if;
    insert into rowcast.outbox_reader as r (name, confirmed, seen_at) values (reader, trim_outbox.confirmed, clock_timestamp())
    on conflict on constraint outbox_reader_pkey do update set confirmed = excluded.confirmed, seen_at = excluded.seen_at;
    delete from rowcast.outbox_reader r
    where greatest(r.seen_at, pg_postmaster_start_time()) < clock_timestamp() - interval '1 minute';
    begin
        lock table rowcast.outbox_reader in share update exclusive mode nowait;
    exception
        when lock_not_available then
            return;  -- Another session is trimming.
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

-- Nothing needs to be kept for this reader any more. Called by src/engine when an engine stops.
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

-- The health of rowcast in this database, one line for each thing that can be wrong. Called by operators, by
-- `rowcast status` and by src/store. `ok` is false if an operator must act; then `hint` says how.
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
            and coalesce(to_jsonb(p) ->> 'pubgencols' = 's', true)
        ), false),
        case
            when count(*) = 0 then 'Run: select rowcast.ensure_publication(). Drop and recreate an existing slot.'
            when bool_and(p.puballtables) then 'UPDATEs of tables without a primary key fail. Drop it and run: select rowcast.ensure_publication()'
            else format(
                'Run: alter publication rowcast set (publish_via_partition_root = true, publish = ''insert, update, delete, truncate''%s)',
                case when bool_or(to_jsonb(p) ? 'pubgencols') then ', publish_generated_columns = stored' end)
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
            'Every role can send messages with pg_logical_emit_message. To allow messages only through rowcast.publish, revoke it from public and grant it to the owner of rowcast.'
        end
    from pg_proc f where f.proname = 'pg_logical_emit_message' and f.pronamespace = 'pg_catalog'::regnamespace
    union all
    select 10, 'event_trigger',
        case
            when e.installed = 0 then 'missing'
            when e.installed < 2 then 'incomplete'
            when o.untold then 'does not write to the outbox'
            else 'installed'
        end, true,
        'Engines poll for changed policies and grants: they are in force up to 2 seconds after their commit, and not at their place in the stream. '
            || case when e.installed < 2 then 'As a superuser, run: select rowcast.install_event_trigger()'
            when o.untold then 'It runs with a superuser''s rights: give schema rowcast and the outbox''s tables to a superuser.' end
    from (
        select count(*) as installed from pg_event_trigger e
        where e.evtname in ('rowcast_ddl', 'rowcast_drop') and e.evtenabled in ('O', 'A')
    ) e
    -- As in rowcast.tell_of_ddl.
    cross join (
        select exists (select from rowcast.outbox_state)
            and not bool_and((c.relowner = f.proowner or r.rolsuper) and (n.nspowner = f.proowner or s.rolsuper)) as untold
        from pg_class c
        join pg_roles r on r.oid = c.relowner
        join pg_namespace n on n.oid = c.relnamespace
        join pg_roles s on s.oid = n.nspowner
        join pg_proc f on f.pronamespace = n.oid and f.proname = 'tell_of_ddl'
        where n.nspname = 'rowcast' and c.relname in ('outbox', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3', 'outbox_state')
    ) o
    union all
    select 11, 'outbox',
        case when s.is_ours then format('%s bytes kept for %s readers', k.bytes, r.live) else 'of another database' end,
        s.is_ours and r.live > 0,
        case when s.is_ours
            then 'No engine captures from the outbox, so nothing empties it: start one, or run: select rowcast.stop_outbox()'
            else 'It came with a dump or a copy of another database: run: select rowcast.start_outbox()' end
    from (
        select s.system_id = c.system_identifier and s.database = d.oid as is_ours
        from rowcast.outbox_state s, pg_control_system() c, pg_database d
        where d.datname = current_database()
    ) s
    cross join (select sum(pg_relation_size(i.inhrelid)) as bytes from pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass) k
    cross join (select count(*) as live from rowcast.outbox_reader r where r.seen_at >= clock_timestamp() - interval '1 minute') r
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
        met.problems = '{}',
        (select string_agg(rowcast.problem_hint(p), ' ') from unnest(met.problems) p)
    from rowcast.tables t
    -- Triggers see whole rows whatever the identity is.
    cross join lateral (
        select array_remove(t.problems, case when exists (select from rowcast.outbox_state) then 'identity_not_full' end) as problems
    ) met
    union all
    select 14, 'unwatched ' || format('%I.%I', n.nspname, c.relname), 'published', false,
        'The table is in publication rowcast but nobody watches it: call rowcast.watch, or alter publication rowcast drop table.'
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname = 'rowcast' and not exists (select from rowcast.tables t where t.oid = c.oid)
    union all
    -- What runs in rowcast's objects as whoever uses them. PostgreSQL's own is in pg_catalog.
    select 15, 'object ' || (pg_identify_object(o.classid, o.objid, 0)).identity,
        'depends on ' || string_agg(distinct concat_ws(' ', r.type, r.identity), ', '), false,
        'rowcast uses only PostgreSQL''s own objects: another role has put its object in the place of one, or added one to schema rowcast. Find out which role that is, run: rowcast uninstall, then: rowcast migrate, and watch the tables again'
    from (
        select 'pg_proc'::regclass, p.oid from pg_proc p where p.pronamespace = 'rowcast'::regnamespace
        union all
        select 'pg_type'::regclass, t.oid from pg_type t where t.typnamespace = 'rowcast'::regnamespace
        union all
        select 'pg_constraint'::regclass, k.oid from pg_constraint k where k.connamespace = 'rowcast'::regnamespace
        union all
        select part.classid, part.oid
        from pg_class c
        cross join lateral (
            select 'pg_class'::regclass, c.oid
            union all
            select 'pg_rewrite'::regclass, w.oid from pg_rewrite w where w.ev_class = c.oid
            union all
            select 'pg_attrdef'::regclass, d.oid from pg_attrdef d where d.adrelid = c.oid
            union all
            select 'pg_trigger'::regclass, g.oid from pg_trigger g where g.tgrelid = c.oid
            union all
            select 'pg_policy'::regclass, y.oid from pg_policy y where y.polrelid = c.oid
        ) part (classid, oid)
        where c.relnamespace = 'rowcast'::regnamespace
    ) o (classid, objid)
    join pg_depend d on d.classid = o.classid and d.objid = o.objid and d.deptype <> 'e'
    cross join lateral pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
    where r.schema not in ('pg_catalog', 'pg_toast', 'rowcast')
    group by o.classid, o.objid
)
select line.name, line.value, line.ok, case when not line.ok or line.place in (8, 9, 10) then line.hint end
from line
order by line.place, line.name
$function$;
comment on function rowcast.status() is 'The health of rowcast in this database: name, value, whether it is ok, and what to do if not.';
revoke all on function rowcast.status() from public;

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

-- Lets a role of the application call rowcast.publish, and nothing else. Called by an administrator, once for each role.
create or replace function rowcast.grant_publisher(publisher regrole)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    execute format('grant usage on schema rowcast to %s', publisher);
    execute format('grant execute on function rowcast.publish(text, jsonb, text) to %s', publisher);
end
$function$;
comment on function rowcast.grant_publisher(regrole) is 'Lets a role call rowcast.publish, and nothing else.';
revoke all on function rowcast.grant_publisher(regrole) from public;

-- Lets a role of the application call rowcast.revoke and rowcast.disconnect, and nothing else. Called by an administrator, once
-- for each role.
create or replace function rowcast.grant_revoker(revoker regrole)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    execute format('grant usage on schema rowcast to %s', revoker);
    execute format('grant execute on function rowcast.revoke(text, text, text) to %s', revoker);
    execute format('grant execute on function rowcast.disconnect(text, text, text, int, text) to %s', revoker);
end
$function$;
comment on function rowcast.grant_revoker(regrole) is 'Lets a role call rowcast.revoke and rowcast.disconnect, and nothing else.';
revoke all on function rowcast.grant_revoker(regrole) from public;

-- The publication that the slot streams; rowcast.watch adds tables to it.
select rowcast.ensure_publication();

-- Event trigger: reports to every engine, at this point of the transaction, that a statement may have changed the visibility
-- of a watched table. See install_event_trigger for when it runs, and src/engine/follow/policy_watch.rs for what happens without it.
--
-- It reads catalogs and calls nothing of schema rowcast: it runs as its owner, a superuser, in the statements of all
-- roles, and schema rowcast may belong to another role. For the same reason it writes to the outbox only if that belongs
-- to its own owner or to a superuser: another role's tables could run code when they are written. What is watched is what
-- publication rowcast has.
-- Security definer, since pg_logical_emit_message may be revoked from public.
--
-- One message is enough for a transaction: the engine waits until the transaction is visible as a whole before it reads
-- the catalog. A setting of that transaction remembers it, and goes with a savepoint that is rolled back.
--
-- It never makes a statement fail: an error becomes a warning, and the engine's poll finds the change.
create or replace function rowcast.tell_of_ddl()
returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    -- Not a cast to regrole, which reads a name as an identifier: another role could be meant.
    owner oid := (select r.oid from pg_roles r where r.rolname = current_user);
    concerned boolean;
    content text;
    outbox boolean;
begin
    select count(*) = 6 and bool_and(
        c.relkind in ('r', 'p') and (c.relowner = owner or r.rolsuper)
        and (n.nspowner = owner or o.rolsuper)
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
        or (not exists (select from pg_publication where pubname = 'rowcast') and tg_tag not in ('ALTER PUBLICATION', 'DROP PUBLICATION'))
    then
        return;
    end if;
    if tg_event = 'sql_drop' then
        -- A policy goes alone, with what it reads (CASCADE) or with its table; a table leaves the publication with its schema,
        -- alone, or by ALTER PUBLICATION. Whose partition a dropped table was is not known any more: engines poll for that.
        select exists (
            select from pg_event_trigger_dropped_objects() d
            where case d.object_type
                when 'publication relation' then d.address_args = '{rowcast}'
                when 'publication' then d.object_name = 'rowcast'
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
    elsif tg_tag = 'ALTER PUBLICATION' then
        -- A renamed one is found under its new name.
        select not exists (select from pg_publication where pubname = 'rowcast') or exists (
            select from pg_event_trigger_ddl_commands() d
            left join pg_publication_rel r on d.classid = 'pg_publication_rel'::regclass and r.oid = d.objid
            join pg_publication p on p.pubname = 'rowcast'
                and p.oid = case when d.classid = 'pg_publication'::regclass then d.objid else r.prpubid end
        ) into concerned;
    elsif tg_tag in ('DROP OWNED', 'ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE', 'ALTER DOMAIN') then
        concerned := true;
    else
        -- A watched table, a policy of one, or what such a policy names.
        with recursive watched (oid) as (
            (
                select r.prrelid from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = 'rowcast'
                union
                select y.polrelid from pg_publication p cross join pg_policy y where p.pubname = 'rowcast' and p.puballtables
            )
            union
            select i.inhrelid from watched join pg_inherits i on i.inhparent = watched.oid
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
        -- written next came first). So a message that no reader uses is written in between.
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
        raise warning 'could not report % to rowcast: %', tg_tag, sqlerrm
            using hint = 'Engines find the change by polling, within seconds.';
end
$function$;
comment on function rowcast.tell_of_ddl() is
    'Event trigger: tells engines that a statement may have changed who sees what of a watched table.';
revoke all on function rowcast.tell_of_ddl() from public;

-- Installs the event trigger that reports changes of policies, grants and owners in the stream. Called by the migration that
-- adds it, and by a superuser if the migration lacked the privilege; repeating it is harmless. Without it engines poll, and
-- a change takes effect up to 2 seconds after its commit; rowcast.status reports whether it is installed.
--
-- The caller becomes the owner of a function that runs in the statements of all roles: a role that can replace it gains the
-- privileges of every role that runs DDL. So read schema rowcast before calling this in a database where another role
-- owns it.
--
-- Enabled always, that is also where session_replication_role is replica, which restoring tools set. No event trigger
-- fires for roles, their memberships and REASSIGN OWNED (14 to 18): those are polled for in any case.
create or replace function rowcast.install_event_trigger()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    perform pg_advisory_xact_lock(1919907683, 1);
    execute format('alter function rowcast.tell_of_ddl() owner to %I', current_user);
    if not exists (select from pg_event_trigger where evtname = 'rowcast_ddl') then
        create event trigger rowcast_ddl on ddl_command_end when tag in (
            'CREATE POLICY', 'ALTER POLICY', 'ALTER TABLE', 'GRANT', 'REVOKE', 'DROP OWNED', 'ALTER SCHEMA',
            'ALTER TYPE', 'ALTER DOMAIN', 'ALTER EXTENSION', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
            'ALTER AGGREGATE', 'ALTER OPERATOR', 'ALTER COLLATION', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW',
            'ALTER FOREIGN TABLE', 'ALTER SEQUENCE', 'ALTER PUBLICATION'
        ) execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_ddl is 'rowcast: reports changed policies, grants and owners to engines.';
    end if;
    alter event trigger rowcast_ddl enable always;
    if not exists (select from pg_event_trigger where evtname = 'rowcast_drop') then
        create event trigger rowcast_drop on sql_drop execute function rowcast.tell_of_ddl();
        comment on event trigger rowcast_drop is 'rowcast: reports dropped policies and tables to engines.';
    end if;
    alter event trigger rowcast_drop enable always;
exception
    when insufficient_privilege then
        raise exception '% may not install an event trigger: %', quote_ident(current_user), sqlerrm
            using errcode = 'insufficient_privilege', hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$function$;
comment on function rowcast.install_event_trigger() is
    'Installs the event trigger that reports changed policies, grants and owners in the stream. For superusers.';
revoke all on function rowcast.install_event_trigger() from public;

-- Takes back what install_event_trigger did, but for the owner of the function: from now on engines poll. For whoever
-- owns the event triggers. The slots and subscriptions do not notice.
create or replace function rowcast.remove_event_trigger()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    drop event trigger if exists rowcast_ddl;
    drop event trigger if exists rowcast_drop;
end
$function$;
comment on function rowcast.remove_event_trigger() is 'Takes back what rowcast.install_event_trigger did. For superusers.';
revoke all on function rowcast.remove_event_trigger() from public;

-- Where the migrating role may: a superuser, or what a managed service lets do the same. Others poll.
do $do$
begin
    perform rowcast.install_event_trigger();
exception
    when insufficient_privilege then
        raise notice 'rowcast polls for changed policies and grants, as % may not install event triggers', quote_ident(current_user)
            using hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$do$;
