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
