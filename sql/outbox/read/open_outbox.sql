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
