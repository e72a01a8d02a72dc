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
