-- Trigger on watched tables that have other triggers: notes where what a statement changes is told among its transaction's
-- changes. Installed by rowcast.install_outbox_triggers, before each statement and, by its name the first, after each row.
--
-- What triggers after each row change is appended before what their statement changed, since rowcast.append_to_outbox runs
-- after all of them; told in that order, a client would be left with what a row was before a trigger changed it. So the
-- first row of a statement takes a number before any other trigger runs, and rowcast.append_to_outbox gives it to all of
-- the statement's rows. What BEFORE triggers did has lesser numbers by then, and is told first.
--
-- Statements run inside each other: they are told apart by the depth of triggers and by the watched table, of which all
-- partitions and all commands of one statement are one. The numbers are in a setting that ends with the transaction, and go
-- with a savepoint that is rolled back.
create or replace function rowcast.note_outbox_place()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    places jsonb := nullif(current_setting('rowcast.places', true), '');
    statement text := pg_trigger_depth() || ' ' || tg_argv[0];
begin
    if tg_level = 'STATEMENT' then
        if places ? statement then
            perform set_config('rowcast.places', (places - statement)::text, true);
        end if;
    elsif places ? statement is not true then
        places := coalesce(places, '{}') || jsonb_build_object(statement, nextval('rowcast.outbox_id_seq'));
        perform set_config('rowcast.places', places::text, true);
    end if;
    return null;
end
$function$;
comment on function rowcast.note_outbox_place() is
    'Trigger: notes where what a statement changes is told among its transaction''s changes.';
revoke all on function rowcast.note_outbox_place() from public;
