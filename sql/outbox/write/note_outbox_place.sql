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
