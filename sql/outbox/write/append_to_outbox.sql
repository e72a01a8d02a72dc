-- Trigger, once for each statement: appends what the statement changed to rowcast.outbox. Installed by
-- rowcast.install_outbox_triggers on each watched table and its partitions; a partition's has the root's oid as argument.
--
-- Security definer: a role that may write the table needs no privilege on the outbox. Values are printed with the
-- settings that a replication stream has, so both kinds of capture deliver the same text; most sessions have them, and to set them for
-- each call takes a third of its time (28 of 93 us for an INSERT of one row). Without generic plans the server plans
-- each statement again (0.1 ms more); with jit a session whose first statement was large compiles each of those that follow
-- (0.1 s more), since the plan stays.
--
-- Rows of an UPDATE are paired by their order in the two transition tables, which the server fills in step. Where a row
-- that moved to another partition was swallowed by a trigger there the two are not in step: those rows are appended as deleted
-- and inserted. A whole row is (r.*): r may be a column as well, and row(r.*) fails on 18 where a column is virtual. Generated
-- columns have no type unless the publication has them: so it is in the replication stream. Where other triggers change
-- something too, rowcast.note_outbox_place has noted the order. rowcast.append_merged_row, not this function,
-- appends what a MERGE has done to partitions.
create or replace function rowcast.append_to_outbox()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set jit = off
as $function$
#variable_conflict use_variable
declare
    segment int2 := (select s.segment from rowcast.outbox_state s);
    watched oid := coalesce(tg_argv[0]::oid, tg_relid);
    setting text := 'rowcast.places_' || watched || '_' || tg_op;
    noted text[] := nullif(current_setting(setting, true), '');
    -- The parts of a place, see rowcast.note_outbox_place.
    rows_at constant int := 1;
    firsts_at constant int := 3;
    numbers_at constant int := 4;
    firsts int8[];
    numbers int8[];
    merges text[] := nullif(current_setting('rowcast.merges_' || watched, true), '');
    command text := left(tg_op, 1) || tg_relid || ',';
    open text[];
    -- The parts of a statement, see rowcast.expect_merge.
    may_merge constant int := 1;
    commands constant int := 2;
    merged boolean := false;
    olds int8;
    news int8;
    changed boolean;
    shape text[] := array(
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
    );
    zone text := current_setting('timezone');
    style text := current_setting('datestyle');
    intervals text := current_setting('intervalstyle');
    bytes text := current_setting('bytea_output');
    digits text := current_setting('extra_float_digits');
    money text := current_setting('lc_monetary');
    unusual boolean := zone not in ('UTC', 'Etc/UTC', 'GMT') or style not like 'ISO%' or intervals <> 'postgres'
        or bytes <> 'hex' or digits not in ('1', '2', '3')
        or (money not in ('C', 'POSIX') and exists (select from unnest(shape) s (c) where s.c ~ '^79[01] '));
begin
    if noted <> '{}' then
        perform set_config(setting, noted[2:]::text, true);
        firsts := string_to_array(nullif(split_part(noted[1], ' ', firsts_at), ''), ',');
        numbers := string_to_array(nullif(split_part(noted[1], ' ', numbers_at), ''), ',');
    end if;
    if merges <> '{}' and (tg_nargs > 0 or (select c.relkind = 'p' from pg_class c where c.oid = tg_relid)) then
        for nth in 1..cardinality(merges) loop
            open := string_to_array(merges[nth], ':');
            if strpos(open[commands], command) > 0 then
                merged := open[may_merge] = 't';
                open[commands] := regexp_replace(open[commands], command, lower(command));
                merges[nth] := array_to_string(open, ':');
                if open[commands] = lower(open[commands]) then
                    merges := merges[:nth - 1] || merges[nth + 1:];
                end if;
                perform set_config('rowcast.merges_' || watched, merges::text, true);
                exit;
            end if;
        end loop;
    end if;
    if watched = tg_relid then
        shape := array[tg_table_schema::text, tg_table_name::text] || shape;
    else
        select array[n.nspname::text, c.relname::text] || shape into shape
        from pg_partition_ancestors(tg_relid) a
        join pg_class c on c.oid = a.relid
        join pg_namespace n on n.oid = c.relnamespace
        where a.relid = watched;
        if not found then
            return null;  -- It was detached and is no longer watched.
        end if;
    end if;
    if unusual then
        perform set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
            set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
            set_config('extra_float_digits', '1', true), set_config('lc_monetary', 'C', true);
    end if;
    if tg_op = 'UPDATE' then
        select (select count(*) from old_rows), (select count(*) from new_rows) into olds, news;
    elsif tg_op = 'INSERT' and firsts[2] is not null then
        news := (select count(*) from new_rows);
    elsif tg_op = 'DELETE' and firsts[2] is not null then
        olds := (select count(*) from old_rows);
    end if;
    if firsts[2] is not null and coalesce(news, olds) <> split_part(noted[1], ' ', rows_at)::int8 then
        firsts := '{1}';
    end if;
    if merged then
        null;
    elsif tg_op = 'INSERT' then
        insert into rowcast.outbox (segment, place, relation, kind, shape, new)
        select segment, numbers[width_bucket(row_number() over (), firsts)], watched, 'I',
            case when row_number() over () = 1 or row_number() over () = any (firsts) then shape end, (r.*)::text
        from new_rows r;
    elsif tg_op = 'DELETE' then
        insert into rowcast.outbox (segment, place, relation, kind, shape, old)
        select segment, numbers[width_bucket(row_number() over (), firsts)], watched, 'D',
            case when row_number() over () = 1 or row_number() over () = any (firsts) then shape end, (r.*)::text
        from old_rows r;
    elsif tg_op = 'TRUNCATE' then
        insert into rowcast.outbox (segment, place, relation, kind, shape)
        values (segment, case when noted <> '{}' then current_setting('rowcast.truncate')::int8 end, watched, 'T', shape);
    elsif olds = 1 and news = 1 then
        -- As below, in a third of the time.
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[1], watched, 'U', shape, (o.*)::text, (r.*)::text
        from old_rows o cross join new_rows r;
    elsif olds = news then
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[width_bucket(o.place, firsts)], watched, 'U',
            case when o.place = 1 or o.place = any (firsts) then shape end, o.image, n.image
        from (select row_number() over () as place, (r.*)::text as image from old_rows r) o
        join (select row_number() over () as place, (r.*)::text as image from new_rows r) n
            on n.place = o.place
        order by o.place;
    else
        insert into rowcast.outbox (segment, place, relation, kind, shape, old, new)
        select segment, numbers[1], watched, r.kind, case when row_number() over () = 1 then shape end, r.old, r.new
        from (
            select 'D'::"char", (r.*)::text, null from old_rows r
            union all
            select 'I', null, (r.*)::text from new_rows r
        ) r (kind, old, new);
    end if;
    changed := found or merged;
    if changed and current_setting('rowcast.place', true) <> '' then
        perform set_config('rowcast.place', '', true);
    end if;
    -- As rowcast.wake_outbox_readers, whose call alone takes 12 us.
    if changed and not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
        perform pg_notify('rowcast', '');
    end if;
    if unusual then
        perform set_config('timezone', zone, true), set_config('datestyle', style, true),
            set_config('intervalstyle', intervals, true), set_config('bytea_output', bytes, true),
            set_config('extra_float_digits', digits, true), set_config('lc_monetary', money, true);
    end if;
    return null;
end
$function$;
comment on function rowcast.append_to_outbox() is 'Trigger: appends what a statement changed to rowcast.outbox.';
revoke all on function rowcast.append_to_outbox() from public;
