-- Trigger on the partitions of watched tables, after each row of a statement that may be a MERGE, as rowcast.expect_merge has
-- found: appends what happened to the row to rowcast.outbox. A row that is moved from one partition to another is deleted and
-- inserted, as in the replication stream. rowcast.append_to_outbox leaves out what was appended here.
--
-- Rows are appended with the columns of their partition, which may be in another order than the root's. Where places are noted (see
-- rowcast.note_outbox_place) all have the first of the statement, in the order in which they come here: what a BEFORE trigger
-- changes in between comes after them, and cannot have changed a row that comes later, which the server forbids. An inserted
-- row has its own place, since a BEFORE trigger may have made room for it.
--
-- format prints the row: it calls no user-defined cast of the table's type and has no plan that an ALTER TABLE makes stale.
--
-- The role that creates a partition copies the trigger to it and needs EXECUTE for that, so every role has it. The function
-- runs only as a trigger of that name, once for each row, and captures only what happened to a partition of a watched table.
create or replace function rowcast.append_merged_row()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
set lc_monetary = 'C'
set plan_cache_mode = force_generic_plan
set jit = off
as $function$
#variable_conflict use_variable
declare
    setting text := 'rowcast.merges_' || tg_argv[0];
    stack text[] := nullif(current_setting(setting, true), '');
    -- What is before it are referential actions, which end after it has.
    nth int8 := (select min(s.nth) from unnest(stack) with ordinality s (entry, nth) where s.entry like 't:%');
    open text[] := string_to_array(stack[nth], ':');
    -- The parts of a statement, see rowcast.expect_merge.
    commands constant int := 2;
    inserted constant int := 4;
    at_place constant int := 5;
    -- The parts of a place, see rowcast.note_outbox_place.
    firsts constant int := 3;
    numbers constant int := 4;
    noted text[] := string_to_array(
        (nullif(current_setting('rowcast.places_' || tg_argv[0] || '_INSERT', true), '')::text[])[1], ' ');
    place int8 := nullif(nullif(open[at_place], ''), '-');
    shape text[];
begin
    select array[n.nspname::text, c.relname::text] || array(
            select case
                    when a.attgenerated = '' then a.atttypid::text
                    when a.attgenerated = 's' and (
                        select to_jsonb(p) ->> 'pubgencols' = 's' from pg_publication p where p.pubname = 'rowcast'
                    ) then a.atttypid::text
                    else '0'
                end || ' ' || a.attname
            from pg_attribute a
            where a.attrelid = tg_relid and a.attnum > 0 and not a.attisdropped
            order by a.attnum
        )
    into shape
    from pg_partition_ancestors(tg_relid) a
    join pg_class c on c.oid = a.relid
    join pg_namespace n on n.oid = c.relnamespace
    where a.relid = tg_argv[0]::oid and exists (select from rowcast.watched w where w.relation = a.relid);
    if not found or tg_when <> 'AFTER' or tg_name <> '~rowcast_merged_' || tg_argv[0] or nth is null then
        return null;
    end if;
    if open[at_place] = '' then
        select min(nullif(split_part(split_part((nullif(s.value, '')::text[])[1], ' ', 4), ',', 1), '')::int8) into place
        from unnest('{INSERT,UPDATE,DELETE}'::text[]) c (name)
        cross join lateral current_setting('rowcast.places_' || tg_argv[0] || '_' || c.name, true) s (value)
        where strpos(open[commands], left(c.name, 1)) > 0;
        open[at_place] := coalesce(place::text, '-');
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
    end if;
    if tg_op = 'INSERT' and open[commands] like '%I%' and noted[numbers] <> '' then
        open[inserted] := open[inserted]::int8 + 1;
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
        place := (string_to_array(noted[numbers], ',')::int8[])[
            width_bucket(open[inserted]::int8, string_to_array(noted[firsts], ',')::int8[])];
    end if;
    insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
    select s.segment, place, tg_argv[0]::oid, left(tg_op, 1)::"char", shape,
        case when tg_op <> 'INSERT' then format('%s', old) end, case when tg_op <> 'DELETE' then format('%s', new) end
    from rowcast.outbox_state s;
    return null;
end
$function$;
comment on function rowcast.append_merged_row() is
    'Trigger: appends what a MERGE has done to a row of a partition to rowcast.outbox.';
grant execute on function rowcast.append_merged_row() to public;
