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
