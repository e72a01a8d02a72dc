-- Why: What a MERGE does to partitions is told; tables with generated columns can be updated on PostgreSQL 18; an
-- outbox starts although some of its tables belong to others.

-- The triggers that watched tables and their partitions need and do not have, while changes are captured by triggers. Read by
-- rowcast.tables, which names the problem, and by rowcast.install_outbox_triggers, which creates them.
--
-- A statement that names a partition fires the partition's triggers alone, one that names the root the root's alone, so both
-- have them; a partition's know whose partition it is. TRUNCATE of a partition is not told, as in the replication stream.
-- Where other triggers run as well, or referential actions change rows in a statement on another table, more note
-- the order of what they all change: see rowcast.note_outbox_place. Where there can be partitions, more see to what a MERGE does
-- to them, by whichever name it was reached: see rowcast.expect_merge. Those for each row are the root's, of which every partition has a copy; their names have the
-- root's number, so that they meet no other when a table is attached.
--
-- It reads catalogs alone, as rowcast.tables, and once for all tables.
create or replace view rowcast.missing_trigger as
with recursive member (relation, oid) as (
    -- Not of what has a parent: its rows change in statements that fire the parent's triggers alone.
    select w.relation::oid, w.relation::oid from rowcast.watched w
    where not exists (select from pg_catalog.pg_inherits i where i.inhrelid = w.relation)
    union all
    select m.relation, i.inhrelid
    from member m
    join pg_catalog.pg_class p on p.oid = m.oid and p.relkind = 'p'
    join pg_catalog.pg_inherits i on i.inhparent = m.oid and not i.inhdetachpending
),
active (oid) as (
    select g.tgrelid
    from pg_catalog.pg_trigger g
    join pg_catalog.pg_proc f on f.oid = g.tgfoid and f.pronamespace <> 'rowcast'::regnamespace
    where not g.tgisinternal and g.tgenabled <> 'D'
),
accompanied (relation) as (
    select m.relation from member m join active a on a.oid = m.oid
    union
    select m.relation
    from member m
    join pg_catalog.pg_constraint k on k.conrelid = m.oid and k.contype = 'f'
        and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd'))
)
select
    m.relation,
    m.oid as member,
    t.name::name as name,
    format(t.definition, t.name, m.oid::regclass::text, quote_literal(argument.text), m.relation) as definition,
    t.problem,
    bool_and(pg_catalog.pg_has_role(c.relowner, 'usage') and pg_catalog.pg_has_role(o.relowner, 'usage'))
        over (partition by m.relation) as installable
from member m
join pg_catalog.pg_class c on c.oid = m.oid and c.relkind in ('r', 'p')
join pg_catalog.pg_class o on o.oid = 'rowcast.outbox'::regclass
left join accompanied on accompanied.relation = m.relation
cross join lateral (
    select
        m.oid = m.relation as root,
        c.relkind = 'p' as parted,
        accompanied.relation is not null as accompanied,
        case when m.oid = m.relation then 'not_captured' else 'partition_not_captured' end as problem
) its
cross join lateral (values
    ('rowcast_insert', true, its.problem, 'create or replace trigger %1$I after insert on %2$s referencing new table as new_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_update', true, its.problem, 'create or replace trigger %1$I after update on %2$s referencing old table as old_rows new table as new_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_delete', true, its.problem, 'create or replace trigger %1$I after delete on %2$s referencing old table as old_rows for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('rowcast_truncate', its.root, its.problem, 'create or replace trigger %1$I after truncate on %2$s for each statement execute function rowcast.append_to_outbox(%3$s)'),
    ('~rowcast_merge', its.parted or not its.root, 'merge_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each statement execute function rowcast.expect_merge(%3$s)'),
    ('~rowcast_merged_' || m.relation, its.root and its.parted, 'merge_not_captured', 'create or replace trigger %1$I after insert or update or delete on %2$s for each row when (current_setting(''rowcast.merges_%4$s'', true) ~ ''^."?t:'') execute function rowcast.append_merged_row(%3$s)'),
    ('~rowcast_merged_' || m.relation, not its.root, 'merge_not_captured', 'alter table %2$s enable always trigger %1$I'),
    ('~rowcast_statement', its.accompanied and its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete or truncate on %2$s for each statement execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_statement', its.accompanied and not its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each statement execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_row_' || m.relation, its.accompanied and its.root, 'order_not_captured', 'create or replace trigger %1$I before insert or update or delete on %2$s for each row execute function rowcast.note_outbox_place(%3$s)'),
    ('~rowcast_row_' || m.relation, its.accompanied and not its.root, 'order_not_captured', 'alter table %2$s enable always trigger %1$I')
) t (name, needed, problem, definition)
cross join lateral (
    select case when t.name like '~%' or not its.root then m.relation::text end as text
) argument
where exists (select from rowcast.outbox_state)
  and t.needed
  and not exists (
      select from pg_catalog.pg_trigger g
      where g.tgrelid = m.oid and g.tgname = t.name and g.tgenabled = 'A'
        and g.tgargs = coalesce(convert_to(argument.text, 'UTF8') || '\x00', '')
  );
comment on view rowcast.missing_trigger is 'Triggers that watched tables need and do not have, while changes are captured by triggers.';
revoke all on table rowcast.missing_trigger from public;

-- The watched tables as the catalog has them now; tables that were dropped are not in it.
-- Read by src/capture/catalog.rs at each load, by rowcast.watch for its verdict and by rowcast.status.
-- Served by pg_class_oid_index and the other catalogs' indexes for each row of rowcast.watched. It reads catalogs alone and
-- locks no table of the user, so it answers while one is altered: pg_publication_tables (16 and newer) and pg_partition_tree
-- would wait behind ACCESS EXCLUSIVE.
create or replace view rowcast.tables as
select
    c.oid,
    n.nspname as schema,
    c.relname as name,
    member.identity,
    coalesce(key.attnums, '{}') as key_attnums,
    tenant.attnum as tenant_attnum,
    w.public,
    c.relrowsecurity as row_security,
    part.published,
    pg_catalog.obj_description(c.oid, 'pg_class') as comment,
    array_remove(array[
        case when not part.published then 'not_published' end,
        case when parent.found and exists (select from rowcast.outbox_state) then 'changed_through_parent' end,
        case when uncaptured.problems @> '{not_captured}' then 'not_captured' end,
        case when uncaptured.problems @> '{partition_not_captured}' then 'partition_not_captured' end,
        case when uncaptured.problems @> '{merge_not_captured}' then 'merge_not_captured' end,
        -- 5 is the command's number in the server's own form of a rule; no rule could have one before 17.
        case when c.relkind = 'p' and current_setting('server_version_num')::int >= 170000
                and exists (select from rowcast.outbox_state) and exists (
            select from pg_catalog.pg_rewrite w where w.rulename <> '_RETURN' and w.ev_action::text like '%:commandType 5%'
        ) then 'merge_in_rule' end,
        case when uncaptured.problems @> '{order_not_captured}' then 'order_not_captured' end,
        case when w.tenant_column is not null and tenant.attnum is null then 'tenant_column_lost' end,
        case when not member.identified then 'identity_missing' end,
        case when member.has_virtual or (member.has_stored and part.lacks_stored) then 'identity_generated' end,
        case when member.identified and member.identity <> 'f' then 'identity_not_full' end,
        case when not member.logged then 'partition_not_logged' end,
        case when c.relkind = 'r' and child.found then 'has_children' end,
        case when part.of_rows then 'row_filter' end,
        case when part.of_columns then 'column_list' end,
        case when key.attnums is null then 'no_primary_key' end,
        case when c.relrowsecurity and not policy.found then 'no_policy' end,
        case when w.tenant_column is null and not w.public and not c.relrowsecurity then 'nobody_may_subscribe' end
    ], null) as problems
from rowcast.watched w
join pg_catalog.pg_class c on c.oid = w.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join (
    select g.relation, array_agg(distinct g.problem) as problems from rowcast.missing_trigger g group by g.relation
) uncaptured on uncaptured.relation = c.oid
-- The table itself and, when it is partitioned, everything below it. Identity is the weakest of all, since an old
-- image comes from a leaf; a leaf without one makes its owner's UPDATE and DELETE fail.
cross join lateral (
    select
        coalesce(min(m.relreplident) filter (where m.relreplident <> 'f'), 'f')::text as identity,
        bool_and(m.relkind = 'p' or m.relreplident = 'f' or exists (
            select from pg_catalog.pg_index i
            where i.indrelid = m.oid and i.indisvalid and i.indimmediate
              and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
        )) as identified,
        bool_and(m.relkind in ('r', 'p') and m.relpersistence = 'p') as logged,
        bool_or(generated.kinds @> '{v}') as has_virtual,
        bool_or(generated.kinds @> '{s}') as has_stored
    from (
        with recursive tree (oid) as (
            select c.oid
            union all
            select i.inhrelid
            from tree
            join pg_catalog.pg_inherits i on i.inhparent = tree.oid
            where c.relkind = 'p' and not i.inhdetachpending
        )
        select tree.oid from tree
    ) tree
    join pg_catalog.pg_class m on m.oid = tree.oid
    cross join lateral (
        select array(
            select a.attgenerated from pg_catalog.pg_attribute a
            where a.attrelid = m.oid and a.attgenerated <> '' and not a.attisdropped and (m.relreplident = 'f' or exists (
                select from pg_catalog.pg_index i
                where i.indrelid = m.oid and a.attnum = any (i.indkey)
                  and case m.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
            ))
        ) as kinds
    ) generated
) member
left join lateral (
    select array_agg(k.attnum order by k.place) as attnums
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality k (attnum, place)
    where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts
) key on true
-- Number and name agree; or the name is gone since the column was renamed; or the number means nothing since the
-- dump was restored. Everything else is no tenant column: in doubt nobody sees a row.
left join lateral (
    select a.attnum
    from pg_catalog.pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      and case
          when a.attnum = w.tenant_attnum and a.attname = w.tenant_column then true
          when w.relation_oid = c.oid then a.attnum = w.tenant_attnum and not exists (
              select from pg_catalog.pg_attribute named
              where named.attrelid = c.oid and named.attname = w.tenant_column and not named.attisdropped
          )
          else a.attname = w.tenant_column
      end
) tenant on true
cross join lateral (
    select exists (select from pg_catalog.pg_inherits i where i.inhparent = c.oid) as found
) child
cross join lateral (
    select exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) as found
) parent
cross join lateral (
    -- Row filters and column lists exist since PostgreSQL 15: reached by name so that one view serves 14 as well. Of a
    -- publication for all tables a partition is not a member of its own: its changes carry the root.
    select
        count(r.oid) > 0 or coalesce(bool_or(b.puballtables and not c.relispartition), false) as published,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prqual' is not null) as of_rows,
        bool_or(pg_catalog.to_jsonb(r) ->> 'prattrs' is not null) as of_columns,
        -- There is no such column, and no such rule, before 18.
        coalesce(bool_or(pg_catalog.to_jsonb(b) ->> 'pubgencols' <> 's'), false) as lacks_stored
    from pg_catalog.pg_publication b
    left join pg_catalog.pg_publication_rel r on r.prpubid = b.oid and r.prrelid = c.oid
    where b.pubname = 'rowcast'
) part
cross join lateral (
    select exists (
        select from pg_catalog.pg_policy y where y.polrelid = c.oid and y.polcmd in ('r', '*')
    ) as found
) policy;
comment on view rowcast.tables is
    'Watched tables as the catalog has them now, with their problems; rowcast.problem_hint explains each.';
revoke all on table rowcast.tables from public;

-- What a word in rowcast.tables.problems means and what to do. Called by rowcast.status and src/capture/catalog.rs.
create or replace function rowcast.problem_hint(problem text)
returns text
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
    select case problem
        when 'not_published' then
            'The table is watched but not in publication rowcast: call rowcast.watch again.'
        when 'changed_through_parent' then
            'The table is a partition or inherits from another: statements that name the parent do not tell the outbox of its rows. Watch the root of the partitions, or capture from the WAL.'
        when 'not_captured' then
            'The table lacks the triggers that tell the outbox of its changes: call rowcast.watch again.'
        when 'partition_not_captured' then
            'A partition lacks the triggers that tell the outbox of statements that name the partition itself: call rowcast.watch again.'
        when 'merge_not_captured' then
            'The table lacks the triggers that tell the outbox what a MERGE does to partitions: call rowcast.watch again.'
        when 'merge_in_rule' then
            'A rule of this database has a MERGE: what that does to the table is not captured whole by triggers. Write it as an INSTEAD OF trigger.'
        when 'order_not_captured' then
            'Other triggers or referential actions run when the table is written, and it lacks those that tell the outbox in which order they all change rows: call rowcast.watch again.'
        when 'tenant_column_lost' then
            'The tenant column was dropped, or a rename made it ambiguous: call rowcast.watch again with the right tenant_column.'
        when 'identity_missing' then
            'The table or a partition has no replica identity, so UPDATE and DELETE of it fail: call rowcast.watch again.'
        when 'identity_generated' then
            'The replica identity has a generated column that publication rowcast does not have, so PostgreSQL refuses UPDATE and DELETE: call rowcast.watch again. With a virtual column, set REPLICA IDENTITY DEFAULT first and watch it with replica_identity => ''keep''.'
        when 'identity_not_full' then
            'Old rows carry the replica identity alone, so rows that leave a filter or a tenant cannot be recognized: call rowcast.watch with replica_identity => ''full''.'
        when 'partition_not_logged' then
            'A partition is a foreign, temporary or unlogged table: its changes never reach the WAL and are not seen.'
        when 'has_children' then
            'Tables inherit from this one: rows of the children are not seen, watch them on their own.'
        when 'row_filter' then
            'Publication rowcast has a row filter on the table, so subscribers miss rows: call rowcast.watch again.'
        when 'column_list' then
            'Publication rowcast has a column list on the table: the other columns are not seen, and UPDATE fails if the replica identity has one of them: call rowcast.watch again.'
        when 'no_primary_key' then
            'Without a primary key, DELETE and LEAVE events cannot say which row they are about: add one.'
        when 'no_policy' then
            'Row security is on and no policy allows SELECT, so no ordinary role may see a row: create a policy.'
        when 'nobody_may_subscribe' then
            'No tenant column, not public, no row security: nobody may subscribe. Call rowcast.watch with tenant_column or public => true.'
        else problem
    end
$function$;
comment on function rowcast.problem_hint(text) is 'What a word in rowcast.tables.problems means and what to do about it.';
revoke all on function rowcast.problem_hint(text) from public;

-- Trigger on watched tables that are partitioned, and on their partitions, before each statement: whether what it changes has to
-- be captured row by row. Installed by rowcast.install_outbox_triggers.
--
-- What a MERGE has done to partitions is not in its transition tables. Those of UPDATE lack what was moved from one partition to
-- another, which is in those of DELETE and INSERT, for which nothing fires unless the MERGE has such actions too; and behind an
-- inserted row they have that row in place of the updated one (seen on 15.18 and 18.6). So rowcast.append_merged_row captures
-- it. That takes 0.1 ms a row, so not where the text of the statement rules out a MERGE: what the client sent (of which a cursor
-- and a prepared statement show nothing), or, inside a function, what the server's own report of where it is begins with. Of what
-- runs in a function in SQL it reports no text. A text of more than a megabyte is not looked through.
--
-- Setting rowcast.merges_<oid> is a stack of the statements that are open, the latest first. Each is whether it may be a MERGE;
-- its commands, by first letter, small when they have ended, and table; where it runs; how many rows were captured as inserted;
-- and the place that its rows have (see rowcast.append_merged_row): `t:I16390,U16390,:-5471305:12:`. The commands of one statement
-- run in one place, as do all referential actions of one kind that it leads to. Those end after it has.
-- It decides how a statement is captured and nothing else: who sets it in the middle of one garbles what his own rows tell.
create or replace function rowcast.expect_merge()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    setting text := 'rowcast.merges_' || tg_argv[0];
    stack text[] := coalesce(nullif(current_setting(setting, true), ''), '{}');
    open text[] := string_to_array(stack[1], ':');
    command text := left(tg_op, 1) || tg_relid || ',';
    here text;
    may_merge boolean;
begin
    get diagnostics here = pg_context;
    here := substr(here, strpos(here || E'\n', E'\n'));
    if here = '' then
        may_merge := coalesce(
            octet_length(current_query()) > 1000000 or current_query() ~* '\m(merge|execute|fetch|move)\M', true);
    else
        may_merge := octet_length(here) > 1000000 or here ~* '\m(merge|execute)\M'
            or here !~* '^\n[^\n]*\W(insert|update|delete)\s+[\w"]';
    end if;
    if stack = '{}' and not may_merge then
        return null;
    end if;
    here := hashtextextended(here, 0);
    if open[3] = here then
        open[2] := open[2] || command;
        stack[1] := array_to_string(open, ':');
    else
        stack := array_prepend(concat_ws(':', may_merge, command, here, 0, ''), stack);
    end if;
    perform set_config(setting, stack::text, true);
    return null;
end
$function$;
comment on function rowcast.expect_merge() is
    'Trigger: whether what a statement changes in a partitioned table has to be captured row by row.';
revoke all on function rowcast.expect_merge() from public;

-- Trigger on the partitions of watched tables, after each row of a statement that may be a MERGE, as rowcast.expect_merge has
-- found: appends what happened to the row to rowcast.outbox. A row that is moved from one partition to another is deleted and
-- inserted, as in the replication stream. rowcast.append_to_outbox leaves out what was appended here.
--
-- Rows are told with the columns of their partition, which may be in another order than the root's. Where places are noted (see
-- rowcast.note_outbox_place) all have the first of the statement, in the order in which they come here: what a BEFORE trigger
-- changes in between is told afterwards, and cannot have changed a row that comes later, which the server forbids. An inserted
-- row has its own place, since a BEFORE trigger may have made room for it.
--
-- A row is printed by format, which calls nobody's cast of the table's own type and needs no plan that an ALTER TABLE makes stale.
--
-- A partition gets its copy of the trigger from whoever creates it, who needs EXECUTE for that and owns none of rowcast: so
-- everybody has it. It can be called as a trigger alone, of that name and so once for each row, and tells of a partition of a
-- watched table what has happened to it.
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
    noted text[] := string_to_array(
        (nullif(current_setting('rowcast.places_' || tg_argv[0] || '_INSERT', true), '')::text[])[1], ' ');
    place int8 := nullif(nullif(open[5], ''), '-');
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
    if open[5] = '' then
        select min(nullif(split_part(split_part((nullif(s.value, '')::text[])[1], ' ', 4), ',', 1), '')::int8) into place
        from unnest('{INSERT,UPDATE,DELETE}'::text[]) c (name)
        cross join lateral current_setting('rowcast.places_' || tg_argv[0] || '_' || c.name, true) s (value)
        where strpos(open[2], left(c.name, 1)) > 0;
        open[5] := coalesce(place::text, '-');
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
    end if;
    if tg_op = 'INSERT' and open[2] like '%I%' and noted[4] <> '' then
        open[4] := open[4]::int8 + 1;
        stack[nth] := array_to_string(open, ':');
        perform set_config(setting, stack::text, true);
        place := (string_to_array(noted[4], ',')::int8[])[width_bucket(open[4]::int8, string_to_array(noted[3], ',')::int8[])];
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

-- Trigger, once for each statement: appends what the statement changed to rowcast.outbox. Installed by
-- rowcast.install_outbox_triggers on each watched table and its partitions; a partition's has the root's oid as argument.
--
-- Security definer: who may write the table need not be allowed to write, or read, the outbox. Values are printed with the
-- settings that a replication stream has, so both kinds of capture tell the same; most sessions have them, and to set them for
-- each call takes a third of its time (28 of 93 us for an INSERT of one row). Without generic plans the planner thinks for
-- each statement anew (0.1 ms more); with jit a session whose first statement was large compiles each of those that follow
-- (0.1 s more), since the plan stays.
--
-- Rows of an UPDATE are paired by their order in the two transition tables, which the server fills in step. Where a row
-- that moved to another partition was swallowed by a trigger there the two are not in step: those rows are told as deleted
-- and inserted. A whole row is (r.*): r may be a column as well, and row(r.*) fails on 18 where a column is virtual. Generated
-- columns have no type unless the publication has them: so it is in the replication stream. Where other triggers change
-- something too, rowcast.note_outbox_place has noted which is told first. What a MERGE has done to partitions is not told here:
-- rowcast.append_merged_row has appended it.
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
    firsts int8[];
    numbers int8[];
    merges text[] := nullif(current_setting('rowcast.merges_' || watched, true), '');
    command text := left(tg_op, 1) || tg_relid || ',';
    open text[];
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
    unusual boolean := zone not in ('UTC', 'Etc/UTC', 'GMT') or style not like 'ISO%' or intervals <> 'postgres'
        or bytes <> 'hex' or digits not in ('1', '2', '3');
begin
    if noted <> '{}' then
        perform set_config(setting, noted[2:]::text, true);
        firsts := string_to_array(nullif(split_part(noted[1], ' ', 3), ''), ',');
        numbers := string_to_array(nullif(split_part(noted[1], ' ', 4), ''), ',');
    end if;
    if merges <> '{}' and (tg_nargs > 0 or (select c.relkind = 'p' from pg_class c where c.oid = tg_relid)) then
        for nth in 1..cardinality(merges) loop
            open := string_to_array(merges[nth], ':');
            if strpos(open[2], command) > 0 then
                merged := open[1] = 't';
                open[2] := regexp_replace(open[2], command, lower(command));
                merges[nth] := array_to_string(open, ':');
                if open[2] = lower(open[2]) then
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
            return null;  -- It was detached, and nobody watches it any more.
        end if;
    end if;
    if unusual then
        perform set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO', true),
            set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
            set_config('extra_float_digits', '1', true);
    end if;
    if tg_op = 'UPDATE' then
        select (select count(*) from old_rows), (select count(*) from new_rows) into olds, news;
    elsif tg_op = 'INSERT' and firsts[2] is not null then
        news := (select count(*) from new_rows);
    elsif tg_op = 'DELETE' and firsts[2] is not null then
        olds := (select count(*) from old_rows);
    end if;
    if firsts[2] is not null and coalesce(news, olds) <> split_part(noted[1], ' ', 1)::int8 then
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
            set_config('extra_float_digits', digits, true);
    end if;
    return null;
end
$function$;
comment on function rowcast.append_to_outbox() is 'Trigger: appends what a statement changed to rowcast.outbox.';
revoke all on function rowcast.append_to_outbox() from public;

-- Creates publication rowcast, with all tables that are watched, unless it exists. Called by the migrations, by rowcast.watch,
-- and by src/store at every start. Returns whether it had to change anything.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever. Needs CREATE on the database.
--
-- From 18 on it has stored generated columns too: else the server refuses UPDATE and DELETE of a table that has one and
-- REPLICA IDENTITY FULL. One that was created without them gets them here, if the caller owns it.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    has_option boolean := current_setting('server_version_num')::int >= 180000;
    p record;
    tables text;
begin
    select b.pubowner, to_jsonb(b) ->> 'pubgencols' = 's' as has_generated into p from pg_publication b where b.pubname = 'rowcast';
    if found and (not has_option or p.has_generated or not pg_has_role(p.pubowner, 'usage')) then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if exists (select from pg_publication b where b.pubname = 'rowcast') then
        if not has_option or exists (
            select from pg_publication b where b.pubname = 'rowcast' and to_jsonb(b) ->> 'pubgencols' = 's'
        ) then
            return false;
        end if;
        alter publication rowcast set (publish_generated_columns = stored);
        perform rowcast.announce('publication', 0);
        return true;
    end if;
    select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
    into tables
    from rowcast.watched w join pg_class c on c.oid = w.relation;
    execute format('create publication rowcast%s with (publish_via_partition_root = true%s)', tables,
        case when has_option then ', publish_generated_columns = stored' end);
    comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
    return true;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast unless it is as it has to be; whether it was not.';
revoke all on function rowcast.ensure_publication() from public;

-- Has the changes of watched tables and of everything below them appended to the outbox: creates what rowcast.missing_trigger
-- lists, of one table or of all where the caller may. Called by rowcast.watch and rowcast.start_outbox.
--
-- CREATE TRIGGER takes SHARE ROW EXCLUSIVE until commit: it waits for every transaction that has written to the table, so
-- none is captured in part, and whoever writes later waits behind it. So unless the caller has set lock_timeout it gives up
-- with SQLSTATE 55P03 when it has lasted for four fifths of deadlock_timeout, however many tables there are: whoever waits
-- for a table that it has does not come to look for deadlocks, in which he might be chosen. (Nor does the server cancel an
-- autovacuum that stands in the way, which it does after deadlock_timeout.)
-- Always enabled: that is also where session_replication_role is replica.
create or replace function rowcast.install_outbox_triggers(relation regclass default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    missing rowcast.missing_trigger;
    timeout text := current_setting('lock_timeout');
    deadline timestamptz := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
begin
    for missing in
        select g.* from rowcast.missing_trigger g
        where case when install_outbox_triggers.relation is null then g.installable
            else g.relation = install_outbox_triggers.relation end
        order by g.relation, g.member <> g.relation, g.member
    loop
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
        end if;
        execute missing.definition;
        execute format('alter table %s enable always trigger %I', missing.member::regclass, missing.name);
    end loop;
    perform set_config('lock_timeout', timeout, true);
exception
    when lock_not_available then
        raise exception 'could not lock % to capture its changes', missing.member::regclass
            using errcode = 'lock_not_available',
                hint = 'A transaction that writes to the table is still open, or it is being vacuumed. Call again later, or set lock_timeout to wait longer: beyond deadlock_timeout an autovacuum gives way.';
end
$function$;
comment on function rowcast.install_outbox_triggers(regclass) is
    'Has the changes of a watched table, or of all, appended to the outbox.';
revoke all on function rowcast.install_outbox_triggers(regclass) from public;

-- Takes back what rowcast.install_outbox_triggers did, of one table or of all. Called by rowcast.unwatch and
-- rowcast.stop_outbox. Locks as there, ACCESS EXCLUSIVE. A partition that was detached has its triggers still.
create or replace function rowcast.remove_outbox_triggers(relation regclass default null)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    installed pg_trigger;
    timeout text := current_setting('lock_timeout');
    deadline timestamptz := clock_timestamp() + 0.8 * current_setting('deadlock_timeout')::interval;
begin
    for installed in
        select t.* from pg_trigger t
        join pg_proc f on f.oid = t.tgfoid and f.pronamespace = 'rowcast'::regnamespace
        where t.tgparentid = 0
          and (relation is null or t.tgrelid = relation or t.tgrelid in (select p.relid from pg_partition_tree(relation) p)
               or t.tgargs = convert_to(relation::oid::text, 'UTF8') || '\x00')
    loop
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, extract(epoch from deadline - clock_timestamp()) * 1000)::int::text, true);
        end if;
        execute format('drop trigger %I on %s', installed.tgname, installed.tgrelid::regclass);
    end loop;
    perform set_config('lock_timeout', timeout, true);
end
$function$;
comment on function rowcast.remove_outbox_triggers(regclass) is 'Takes back what rowcast.install_outbox_triggers did.';
revoke all on function rowcast.remove_outbox_triggers(regclass) from public;

-- Follows a table: called from the user's migrations, and by src/store for each table that the application declares.
-- Calling it again changes the settings to those given; when nothing would change it does nothing, takes no lock
-- (but ACCESS SHARE on a partitioned table) and needs no privilege but to read, so an engine without rights may declare
-- what a migration has watched before. Of what an owner has to mend it is told: a partition that came later must not keep
-- it from serving the others.
--
-- Runs as its caller, who must own the table and publication rowcast. It may be called while others write. Locks, until
-- commit: advisory (1919907683, 1) against a second watch; ACCESS EXCLUSIVE on the table and its partitions where the
-- replica identity must change (see set_identity_full); SHARE UPDATE EXCLUSIVE on the table to publish it, which
-- writers do not notice. The publication cuts inside transactions that are open meanwhile: rows that they wrote
-- before are not in the stream, rows that they write after are. Where changes are captured by triggers it waits for them
-- (see install_outbox_triggers).
--
-- Partitions that are attached later follow their root, but have a replica identity of their own ('default'), and no triggers
-- for the outbox (engines add those where they may): call watch again after attaching one. Until then rowcast.status says so,
-- and without a primary key UPDATEs of it fail.
--
-- Without jit: rowcast.tables takes 70 ms for 200 watched tables of 2000 (PostgreSQL 15). The planner's estimate grows with
-- the catalog, and once it passed the threshold, an earlier form of the view took 1.1 s to compile for 35 ms of work.
--
-- RC001 not watchable, RC002 tenant column, RC003 no replica identity, RC004 partition tree, RC005 argument.
create or replace function rowcast.watch(
    relation regclass,
    tenant_column name default null,
    public boolean default false,
    replica_identity text default 'full'
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    wanted_attnum int2;
    problems text[];
begin
    if public is null or replica_identity is null or replica_identity not in ('full', 'keep') then
        raise exception 'replica_identity must be ''full'' or ''keep'', and public true or false'
            using errcode = 'RC005', hint = '''full'' sets REPLICA IDENTITY FULL, ''keep'' leaves the table as it is.';
    elsif public and tenant_column is not null then
        raise exception '% cannot be public and have a tenant column', relation
            using errcode = 'RC005', hint = 'Leave out public, or leave out tenant_column.';
    end if;
    perform rowcast.refuse_unwatchable(relation);
    wanted_attnum := rowcast.tenant_attnum(relation, tenant_column);

    -- What it would mend, if it is watched in this way already.
    select array(
        select unnest(t.problems)
        intersect
        select unnest('{not_published,not_captured,partition_not_captured,merge_not_captured,order_not_captured,identity_missing,identity_generated,row_filter,column_list}'
            || case when replica_identity = 'full' then '{identity_not_full}' end::text[])
    ) into problems
    from rowcast.watched w
    join rowcast.tables t on t.oid = w.relation
    where w.relation = watch.relation and w.relation_oid = watch.relation
      and w.tenant_column is not distinct from watch.tenant_column
      and w.tenant_attnum is not distinct from wanted_attnum
      and w.public = watch.public;
    if problems = '{}' then
        return false;
    elsif not problems && '{not_published,not_captured}' and (
        not pg_has_role((select c.relowner from pg_class c where c.oid = relation), 'usage')
        or (not problems && '{row_filter,column_list}' and exists (
            select from pg_partition_tree(relation) p join pg_class c on c.oid = p.relid where not pg_has_role(c.relowner, 'usage')
        ))
        or (problems <@ '{partition_not_captured,merge_not_captured,order_not_captured}'
            and not exists (select from rowcast.missing_trigger g where g.relation = watch.relation and g.installable))
    ) then
        raise notice '%: %', relation, (select string_agg(rowcast.problem_hint(p), ' ') from unnest(problems) p);
        return false;
    end if;

    perform rowcast.refuse_stranger(relation);
    perform pg_advisory_xact_lock(1919907683, 1);
    perform rowcast.ensure_publication();
    if replica_identity = 'full' then
        perform rowcast.set_identity_full(relation);
    end if;
    delete from rowcast.watched w where not exists (select from pg_class c where c.oid = w.relation);
    insert into rowcast.watched as w (relation, relation_oid, relation_name, tenant_column, tenant_attnum, public)
    values (watch.relation, watch.relation, watch.relation::text, watch.tenant_column, wanted_attnum, watch.public)
    on conflict on constraint watched_pkey do update
    set relation_oid = excluded.relation_oid, relation_name = excluded.relation_name,
        tenant_column = excluded.tenant_column, tenant_attnum = excluded.tenant_attnum,
        public = excluded.public, updated_at = now();
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems @> '{identity_missing}') then
        raise exception '% has no replica identity', relation
            using errcode = 'RC003',
                hint = 'Once published, UPDATE and DELETE of it would fail. Add a primary key, or leave out replica_identity => ''keep''.';
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems @> '{identity_generated}') then
        raise exception '% has a virtual generated column, and its replica identity would be full', relation
            using errcode = 'RC003',
                hint = format('PostgreSQL would refuse UPDATE and DELETE of it. Run: alter table %s replica identity default, and leave it so with replica_identity => ''keep'', or make the column a stored one.', relation);
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and t.problems && '{row_filter,column_list}') then
        execute format('alter publication rowcast drop table only %s', relation);
    end if;
    if exists (select from rowcast.tables t where t.oid = watch.relation and not t.published) then
        execute format('alter publication rowcast add table only %s', relation);
    end if;
    perform rowcast.install_outbox_triggers(relation);
    perform rowcast.announce('watch', relation);
    return true;
end
$function$;
comment on function rowcast.watch(regclass, name, boolean, text) is
    'Follows a table, or changes how it is followed; whether anything changed. replica_identity: full or keep.';
revoke all on function rowcast.watch(regclass, name, boolean, text) from public;

-- Has the changes of all watched tables, and of those that are watched later, captured by triggers: for databases without
-- logical replication. Called by an administrator or a migration, and by src/store where the engine captures from the
-- outbox. Calling it again installs what is missing; when nothing is it takes no lock and needs no privilege but to read.
-- Whether anything changed. Runs as its caller, who must own rowcast's tables and those watched ones of which no change would
-- be captured; of others that lack triggers it says so and no more. Locks as rowcast.install_outbox_triggers says.
--
-- A dump that was restored elsewhere brings rows whose transaction numbers mean nothing there: those are emptied.
create or replace function rowcast.start_outbox()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    here int8 := (select system_identifier from pg_control_system());
    owner regrole := (select c.relowner from pg_class c where c.oid = 'rowcast.outbox'::regclass);
    is_here boolean := exists (select from rowcast.outbox_state s where s.system_id = here);
    uncaptured regclass;
    others text;
begin
    if is_here and not exists (
        select from rowcast.missing_trigger g where g.installable or g.problem = 'not_captured'
    ) then
        select string_agg(distinct g.relation::regclass::text, ', ') into others from rowcast.missing_trigger g;
        if others is not null then
            raise notice 'triggers are missing that % may not create: %', quote_ident(current_user), others
                using hint = 'As the owner of the tables and of rowcast, run: select rowcast.start_outbox(). rowcast.status() says what is not captured.';
        end if;
        return false;
    elsif not pg_has_role(owner, 'usage') then
        raise exception 'the outbox belongs to %, not to %', owner, quote_ident(current_user)
            using errcode = 'insufficient_privilege', hint = format('As %s, run: select rowcast.start_outbox()', owner);
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state s where s.system_id = here) then
        -- Others have read the state and wait for the lock: TRUNCATE would wait for them.
        delete from rowcast.outbox_state;
        delete from rowcast.outbox_reader;
        truncate rowcast.outbox_window, rowcast.outbox;
        insert into rowcast.outbox_state (system_id) values (here);
        -- Where everything begins: nobody needs what was before.
        insert into rowcast.outbox_window (first, last, previous, since, still, upto, running, xids, timeline, closed_at)
        select p.lsn, p.lsn, p.lsn - 1, s.upto, s.running, s.upto, s.running, '{}', rowcast.timeline(), clock_timestamp()
        from (select pg_current_wal_insert_lsn() as lsn) p
        cross join (
            select pg_snapshot_xmax(c.snapshot) as upto, array(select pg_snapshot_xip(c.snapshot)) as running
            from (select pg_current_snapshot() as snapshot) c
        ) s;
    end if;
    for uncaptured in select distinct g.relation from rowcast.missing_trigger g where g.problem = 'not_captured' loop
        perform rowcast.refuse_stranger(uncaptured);
    end loop;
    select string_agg(distinct g.relation::regclass::text, ', ') into others
    from rowcast.missing_trigger g where g.problem = 'not_captured' and not g.installable;
    if others is not null then
        raise exception '% does not own all partitions of %', quote_ident(current_user), others
            using errcode = 'insufficient_privilege',
                hint = 'As a member of the roles that own them and rowcast, run: select rowcast.start_outbox()';
    end if;
    perform rowcast.install_outbox_triggers();
    perform rowcast.announce('outbox', 0);
    return true;
end
$function$;
comment on function rowcast.start_outbox() is
    'Has changes of watched tables captured by triggers, for databases without logical replication; whether anything changed.';
revoke all on function rowcast.start_outbox() from public;

-- The health of rowcast in this database, one line for each thing that can be wrong. Called by people, by
-- `rowcast doctor` and by src/store. `ok` is false where somebody must act; then `hint` says how.
-- Reads catalogs, statistics and rowcast's own tables. Without jit, as rowcast.watch.
create or replace function rowcast.status()
returns table (name text, value text, ok boolean, hint text)
language sql
stable
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
with line (place, name, value, ok, hint) as (
    select 1, 'schema_version', coalesce(max(version)::text, 'none'), max(version) is not null, 'Run: rowcast migrate'
    from rowcast.migration
    union all
    select 2, 'server_version', current_setting('server_version'), current_setting('server_version_num')::int >= 140000,
        'rowcast needs PostgreSQL 14 or newer.'
    union all
    select 3, 'primary', case when pg_is_in_recovery() then 'no' else 'yes' end, not pg_is_in_recovery(),
        'This is a standby: watch, unwatch and publish need the primary.'
    union all
    select 4, 'wal_level', current_setting('wal_level'),
        current_setting('wal_level') = 'logical' or exists (select from rowcast.outbox_state),
        'Run: alter system set wal_level = logical, and restart the server; or have changes captured by triggers: select rowcast.start_outbox()'
    union all
    select 5, 'publication', case
            when count(*) = 0 then 'missing'
            when bool_and(p.puballtables) then 'for all tables'
            else 'exists'
        end,
        coalesce(bool_and(
            p.pubviaroot and p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate and not p.puballtables
            and coalesce(to_jsonb(p) ->> 'pubgencols' = 's', true)
        ), false),
        case
            when count(*) = 0 then 'Run: select rowcast.ensure_publication(). A slot that exists must be made anew.'
            when bool_and(p.puballtables) then 'UPDATEs of tables without a primary key fail. Drop it and run: select rowcast.ensure_publication()'
            else format(
                'Run: alter publication rowcast set (publish_via_partition_root = true, publish = ''insert, update, delete, truncate''%s)',
                case when bool_or(to_jsonb(p) ? 'pubgencols') then ', publish_generated_columns = stored' end)
        end
    from pg_publication p where p.pubname = 'rowcast'
    union all
    select 6, 'replication_slots', format('%s of %s used', count(*), current_setting('max_replication_slots')),
        count(*) < current_setting('max_replication_slots')::int
            or coalesce(bool_or(s.plugin = 'pgoutput' and s.database = current_database()), false),
        'Raise max_replication_slots, or drop a slot that nobody uses.'
    from pg_replication_slots s
    union all
    select 7, 'wal_senders', format('%s of %s used', count(*), current_setting('max_wal_senders')),
        count(*) < current_setting('max_wal_senders')::int, 'Raise max_wal_senders.'
    from pg_stat_replication
    union all
    select 8, 'synchronous_commit', current_setting('synchronous_commit'), true,
        case when current_setting('synchronous_commit') = 'off' then
            'Changes are seen when the WAL is flushed, 0.1 to 0.5 seconds later: lower wal_writer_delay, such as 10ms.'
        end
    union all
    select 9, 'publish_privilege', case when bool_or(has_function_privilege('public', f.oid, 'execute')) then 'open' else 'restricted' end, true,
        case when bool_or(has_function_privilege('public', f.oid, 'execute')) then
            'Every role can send messages with pg_logical_emit_message. To make rowcast.publish the only door, revoke it from public and grant it to the owner of rowcast.'
        end
    from pg_proc f where f.proname = 'pg_logical_emit_message' and f.pronamespace = 'pg_catalog'::regnamespace
    union all
    select 10, 'event_trigger',
        case
            when e.installed = 0 then 'missing'
            when e.installed < 2 then 'incomplete'
            when o.untold then 'does not write to the outbox'
            else 'installed'
        end, true,
        'Engines poll for changed policies and grants: they are in force up to 2 seconds after their commit, and not at their place in the stream. '
            || case when e.installed < 2 then 'As a superuser, run: select rowcast.install_event_trigger()'
            when o.untold then 'It runs with a superuser''s rights: give schema rowcast and the outbox''s tables to a superuser.' end
    from (
        select count(*) as installed from pg_event_trigger e
        where e.evtname in ('rowcast_ddl', 'rowcast_drop') and e.evtenabled in ('O', 'A')
    ) e
    -- As in rowcast.tell_of_ddl.
    cross join (
        select exists (select from rowcast.outbox_state)
            and not bool_and((c.relowner = f.proowner or r.rolsuper) and (n.nspowner = f.proowner or s.rolsuper)) as untold
        from pg_class c
        join pg_roles r on r.oid = c.relowner
        join pg_namespace n on n.oid = c.relnamespace
        join pg_roles s on s.oid = n.nspowner
        join pg_proc f on f.pronamespace = n.oid and f.proname = 'tell_of_ddl'
        where n.nspname = 'rowcast' and c.relname in ('outbox', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3', 'outbox_state')
    ) o
    union all
    select 11, 'outbox',
        case when s.is_ours then format('%s bytes kept for %s readers', k.bytes, r.live) else 'of another server' end,
        s.is_ours and r.live > 0,
        case when s.is_ours
            then 'No engine captures from the outbox, so nothing empties it: start one, or run: select rowcast.stop_outbox()'
            else 'It came with a dump or a copy of another server: run: select rowcast.start_outbox()' end
    from (select s.system_id = (select c.system_identifier from pg_control_system() c) as is_ours from rowcast.outbox_state s) s
    cross join (select sum(pg_relation_size(i.inhrelid)) as bytes from pg_inherits i where i.inhparent = 'rowcast.outbox'::regclass) k
    cross join (select count(*) as live from rowcast.outbox_reader r where r.seen_at >= clock_timestamp() - interval '1 minute') r
    union all
    select 12, 'slot ' || s.slot_name,
        format('%s, %s bytes of WAL retained, %s',
            case when s.active then 'active' else 'inactive' end,
            coalesce(pg_wal_lsn_diff(newest.lsn, s.restart_lsn)::text, 'no'),
            coalesce(to_jsonb(s) ->> 'invalidation_reason', s.wal_status, 'unknown')),
        coalesce(s.wal_status in ('reserved', 'extended'), false) and to_jsonb(s) ->> 'invalidation_reason' is null,
        case when s.wal_status = 'unreserved' then 'The server is about to drop WAL that the slot needs: let the engine catch up, or raise max_slot_wal_keep_size.'
            else 'The slot is lost, cursors have expired: drop it and restart the engine.' end
    from pg_replication_slots s
    cross join (select case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end) newest (lsn)
    where s.plugin = 'pgoutput' and s.database = current_database()
    union all
    select 13, 'table ' || format('%I.%I', t.schema, t.name),
        concat_ws(', ',
            'identity ' || case t.identity when 'f' then 'full' when 'd' then 'default' when 'i' then 'index' else 'nothing' end,
            case when t.public then 'public' end,
            'tenant ' || (select quote_ident(a.attname) from pg_attribute a where a.attrelid = t.oid and a.attnum = t.tenant_attnum),
            case when t.row_security then 'row security' end),
        t.problems = '{}',
        (select string_agg(rowcast.problem_hint(p), ' ') from unnest(t.problems) p)
    from rowcast.tables t
    union all
    select 14, 'unwatched ' || format('%I.%I', n.nspname, c.relname), 'published', false,
        'The table is in publication rowcast but nobody watches it: call rowcast.watch, or alter publication rowcast drop table.'
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname = 'rowcast' and not exists (select from rowcast.tables t where t.oid = c.oid)
)
select line.name, line.value, line.ok, case when not line.ok or line.place in (8, 9, 10) then line.hint end
from line
order by line.place, line.name
$function$;
comment on function rowcast.status() is 'The health of rowcast in this database: name, value, whether it is ok, and what to do if not.';
revoke all on function rowcast.status() from public;

-- The publication that the slot streams; rowcast.watch adds tables to it.
select rowcast.ensure_publication();
