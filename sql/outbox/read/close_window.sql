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
