-- The triggers that watched tables and their partitions need and do not have, while changes are captured by triggers. Read by
-- rowcast.tables, which names the problem, and by rowcast.install_outbox_triggers, which creates them.
--
-- A statement that names a partition fires the partition's triggers alone, one that names the root the root's alone, so both
-- have them; a partition's know whose partition it is. TRUNCATE of a partition is not told, as in the replication stream.
-- Where other triggers run after a statement as well, two more note the order of what they all change: see
-- rowcast.note_outbox_place. The one for each row is the root's, of which every partition has a copy.
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
accompanied (relation) as (
    -- After INSERT, UPDATE or DELETE, and somebody else's: bits as in pg_trigger.h.
    select distinct m.relation
    from member m
    join pg_catalog.pg_trigger g on g.tgrelid = m.oid and not g.tgisinternal and g.tgenabled <> 'D'
    join pg_catalog.pg_proc f on f.oid = g.tgfoid and f.pronamespace <> 'rowcast'::regnamespace
    where g.tgtype & 2 = 0 and g.tgtype & 28 <> 0
)
select
    m.relation,
    m.oid as member,
    t.name::name as name,
    format(
        'create or replace trigger %I %s execute function rowcast.%s(%s)',
        t.name, replace(t.runs, '%', m.oid::regclass::text), t.function, quote_literal(argument.text)
    ) as definition,
    case when t.function <> 'append_to_outbox' then 'order_not_captured'
        when m.oid = m.relation then 'not_captured' else 'partition_not_captured' end as problem
from member m
join pg_catalog.pg_class c on c.oid = m.oid and c.relkind in ('r', 'p')
left join accompanied on accompanied.relation = m.relation
cross join (values
    ('rowcast_insert', 'append_to_outbox', 'after insert on % referencing new table as new_rows for each statement'),
    ('rowcast_update', 'append_to_outbox', 'after update on % referencing old table as old_rows new table as new_rows for each statement'),
    ('rowcast_delete', 'append_to_outbox', 'after delete on % referencing old table as old_rows for each statement'),
    ('rowcast_truncate', 'append_to_outbox', 'after truncate on % for each statement'),
    ('rowcast_before', 'note_outbox_place', 'before insert or update or delete on % for each statement'),
    ('!rowcast_first', 'note_outbox_place', 'after insert or update or delete on % for each row')
) t (name, function, runs)
cross join lateral (
    select case when t.function <> 'append_to_outbox' or m.oid <> m.relation then m.relation::text end as text
) argument
where exists (select from rowcast.outbox_state)
  and (t.function = 'append_to_outbox' or accompanied.relation is not null)
  and (m.oid = m.relation or t.name not in ('rowcast_truncate', '!rowcast_first'))
  and not exists (
      select from pg_catalog.pg_trigger g
      where g.tgrelid = m.oid and g.tgname = t.name and g.tgenabled = 'A'
        and g.tgargs = coalesce(convert_to(argument.text, 'UTF8') || '\x00', '')
  );
comment on view rowcast.missing_trigger is 'Triggers that watched tables need and do not have, while changes are captured by triggers.';
revoke all on table rowcast.missing_trigger from public;
