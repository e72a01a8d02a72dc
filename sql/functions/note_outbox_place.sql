-- Trigger on watched tables that have other triggers: notes where each row that changes is told among its transaction's
-- changes. Installed by rowcast.install_outbox_triggers, before each statement and before each row, by their names the last.
--
-- What other triggers change is appended before what their statement changed, since rowcast.append_to_outbox runs when the
-- statement has ended; told in that order, a client would be left with what a row was before a trigger changed it. So numbers
-- are taken here, when a row is about to change: what other BEFORE triggers did for it has lesser ones by then, what comes
-- after has greater ones. Rows between which nothing else was changed share one: a run. A statement that goes on after a
-- thousand runs has the rest of its rows in the last.
--
-- Statements run inside each other, in triggers, in functions and in referential actions. In setting rowcast.places each
-- watched table and command (all partitions are one) has a stack of them, the innermost first, which
-- rowcast.append_to_outbox takes from as they end: how many rows, its runs, and the last run's number. rowcast.place is the last
-- number that was taken, unless something was appended since. Both end with the transaction, and go with a savepoint that is
-- rolled back.
create or replace function rowcast.note_outbox_place()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    places jsonb := coalesce(nullif(current_setting('rowcast.places', true), ''), '{}');
    statement text := tg_argv[0] || ' ' || tg_op;
    stack jsonb := coalesce(places -> statement, '[]');
    top jsonb := stack -> 0;
    place text;
begin
    if tg_level = 'STATEMENT' then
        top := '[0, [], null]';
        stack := jsonb_build_array(top) || stack;
    end if;
    -- Without a stack it is a row that moves to another partition, of a statement that is an UPDATE.
    if top is not null and (tg_level = 'ROW' or tg_op = 'TRUNCATE') then
        top := jsonb_set(top, '{0}', to_jsonb((top ->> 0)::int8 + 1));
        if top ->> 2 is null
            or (current_setting('rowcast.place', true) <> top ->> 2 and jsonb_array_length(top -> 1) < 1000)
        then
            place := nextval('rowcast.outbox_id_seq');
            perform set_config('rowcast.place', place, true);
            top := jsonb_build_array(top -> 0, (top -> 1) || jsonb_build_array(jsonb_build_array(top -> 0, place::int8)), place);
        end if;
        stack := jsonb_set(stack, '{0}', top);
    end if;
    perform set_config('rowcast.places', (places || jsonb_build_object(statement, stack))::text, true);
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end
$function$;
comment on function rowcast.note_outbox_place() is
    'Trigger: notes where each row that changes is told among its transaction''s changes.';
revoke all on function rowcast.note_outbox_place() from public;
