-- What decides which changes of a watched table are captured, as one value for each table: what publishes it, which partitions
-- belong to it, which file each of them has, and the triggers of the outbox. When it differs from what an engine noted last,
-- changes may have been lost: see rowcast.note_coverage.
--
-- A row version (xmin) is new after each ALTER, so a change that was taken back is seen as well. A partition's file is new
-- after a TRUNCATE that named the partition alone, which is not in the replication stream; also after a rewrite.
--
-- It reads catalogs alone and locks no table of the user.
create view rowcast.coverage as
with recursive member (relation, oid) as (
    select w.relation::oid, w.relation::oid from rowcast.watched w
    union all
    select m.relation, i.inhrelid
    from member m
    join pg_catalog.pg_class p on p.oid = m.oid and p.relkind = 'p'
    join pg_catalog.pg_inherits i on i.inhparent = m.oid and not i.inhdetachpending
)
select
    m.relation,
    pg_catalog.jsonb_build_object(
        'publication', (
            select pg_catalog.concat_ws(' ', p.oid, p.xmin, r.oid)
            from pg_catalog.pg_publication p
            left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = m.relation
            where p.pubname = 'rowcast'
        ),
        'triggers', (
            select pg_catalog.string_agg(pg_catalog.concat_ws(' ', g.oid, g.xmin), ', ' order by g.oid)
            from pg_catalog.pg_trigger g
            where g.tgrelid = m.relation
              and g.tgname in ('rowcast_insert', 'rowcast_update', 'rowcast_delete', 'rowcast_truncate')
              and exists (select from rowcast.outbox_state)
        ),
        'partitions', coalesce(
            pg_catalog.jsonb_object_agg(m.oid, c.relfilenode) filter (where m.oid <> m.relation), '{}'
        )
    ) as coverage
from member m
join pg_catalog.pg_class c on c.oid = m.oid
group by m.relation;
comment on view rowcast.coverage is 'What decides which changes of each watched table are captured; rowcast.note_coverage compares it.';
revoke all on table rowcast.coverage from public;
