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
