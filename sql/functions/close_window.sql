-- Gives positions to the captured transactions that have ended since the last window, unless an older one is still open
-- somewhere in the cluster: nothing behind that can be told yet. Called by src/capture/outbox every few milliseconds while
-- changes come, as a statement of its own: each statement in here has a snapshot of its own, and the one that closes the window
-- takes its limit and its transactions from the same. By outbox_by_transaction and the key of rowcast.outbox_window.
--
-- `horizon`: every transaction before this one is in a window up to `newest`. `newest` is null when there is no outbox.
-- Other readers are woken when a window was closed: only one polls while changes come.
create or replace function rowcast.close_window(out horizon xid8, out newest pg_lsn)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $function$
declare
    pending boolean;
begin
    select s.horizon, w.last, exists (select from rowcast.outbox o where o.xid >= w.upto and o.xid < s.horizon)
    into horizon, newest, pending
    from (select x.last, x.upto from rowcast.outbox_window x order by x.first desc limit 1) w
    cross join (select pg_snapshot_xmin(pg_current_snapshot()) as horizon) s;
    if not coalesce(pending, false) then
        return;
    end if;
    perform pg_advisory_xact_lock(1919907683, 2);
    with w as materialized (
        select x.last, x.upto from rowcast.outbox_window x order by x.first desc limit 1
    ),
    s as materialized (
        select pg_snapshot_xmin(pg_current_snapshot()) as horizon
    ),
    ended as (
        select o.xid, max(o.id) as last_change
        from w, s, rowcast.outbox o
        where o.xid >= w.upto and o.xid < s.horizon
        group by o.xid
    ),
    ordered as (
        select array_agg(e.xid order by e.last_change) as xids, count(*) as many from ended e
    )
    insert into rowcast.outbox_window as made (first, last, since, upto, xids, timeline, closed_at)
    select p.first, p.first + (t.many - 1)::numeric, w.upto, s.horizon, t.xids, rowcast.timeline(), clock_timestamp()
    from w, s, ordered t, lateral (select greatest(pg_current_wal_insert_lsn(), w.last + 1) as first) p
    where t.many > 0
    returning made.upto, made.last into horizon, newest;
    if not found then
        -- Somebody else was quicker, and left nothing.
        select x.upto, x.last into horizon, newest from rowcast.outbox_window x order by x.first desc limit 1;
    elsif (select count(*) > 1 from rowcast.outbox_reader) then
        perform pg_notify('rowcast', '');
    end if;
end
$function$;
comment on function rowcast.close_window() is 'Gives positions to the captured transactions that have ended since the last window.';
revoke all on function rowcast.close_window() from public;
