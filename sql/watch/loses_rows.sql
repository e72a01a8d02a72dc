-- Whether rows may have come, gone or changed without events between two values of rowcast.coverage of a table. Called by
-- rowcast.note_coverage.
--
-- A partition that was made as one (CREATE TABLE ... PARTITION OF) was empty when it joined. ATTACH PARTITION rewrites the
-- catalog row of each column, so a column that is as old as the table itself, in transaction and command, says that it was made as
-- a partition. One that was attached, or is below one that was attached, may have brought rows unless it has no pages. In doubt
-- rows may have come.
--
-- A TRUNCATE of the root, which is delivered, gives all partitions new files in one transaction; one that names a partition
-- gives a new file to that one. Where there is only one partition rows may have gone. A TRUNCATE that names all of several
-- partitions looks like one of the root.
--
-- An ALTER TABLE that rewrites every row may change values (USING, a generation expression): then the file of the table or
-- partition is new, and so is the catalog row of an old column. One that only adds columns changes no value that was delivered.
--
-- Triggers count within one outbox: a reader notices by itself that an outbox was started again, and captures from the WAL
-- need no triggers.
create or replace function rowcast.loses_rows(before jsonb, after jsonb)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '200ms'
as $function$
declare
    aside text[] := '{outbox,partitions,file,columns}' || case when before -> 'outbox' <> after -> 'outbox' then '{triggers}' end::text[];
begin
    if before is null
        or before - aside <> after - aside
        or exists (
            select from jsonb_each(before -> 'partitions') p (oid, state)
            where not coalesce(after -> 'partitions' -> p.oid @> (p.state - aside), false)
        )
        or exists (
            select from jsonb_each(before -> 'partitions') was (part, state)
            join jsonb_each(after -> 'partitions') now (part, state) using (part)
            join pg_class c on c.oid = part::oid
            where now.state ->> 'file' <> '0'
            having count(*) filter (where was.state -> 'file' <> now.state -> 'file') not in (0, count(*))
                or bool_and(was.state -> 'file' <> now.state -> 'file') and (count(*) = 1 or count(distinct c.xmin::text) > 1)
        )
        or exists (
            select from (
                select before, after
                union all
                select was.state, now.state
                from jsonb_each(before -> 'partitions') was (oid, state)
                join jsonb_each(after -> 'partitions') now (oid, state) using (oid)
            ) of (was, now)
            where of.was -> 'file' <> of.now -> 'file'
              and starts_with(of.now ->> 'columns' || ',', of.was ->> 'columns' || ',') is not true
        )
    then
        return true;
    end if;
    return exists (
        with recursive added (oid, parent, was_made) as materialized (
            select i.inhrelid, i.inhparent, exists (
                select from pg_attribute own
                join pg_attribute made on made.attrelid = own.attrelid and made.attname = 'tableoid' and made.attnum < 0
                where own.attrelid = i.inhrelid and own.attnum > 0 and not own.attisdropped
                  and own.xmin = made.xmin and own.cmin = made.cmin
            )
            from jsonb_object_keys(after -> 'partitions') p (oid)
            join pg_inherits i on i.inhrelid = p.oid::oid
            where not before -> 'partitions' ? p.oid
        ),
        attached (oid) as (
            select a.oid from added a where not a.was_made
            union
            select a.oid from attached join added a on a.parent = attached.oid
        )
        select from attached
        join pg_class c on c.oid = attached.oid
        where c.relkind <> 'p' and (c.relkind <> 'r' or coalesce(pg_relation_size(c.oid), 1) > 0)
    );
exception
    when lock_not_available then
        return true;
end
$function$;
comment on function rowcast.loses_rows(jsonb, jsonb) is
    'Whether rows may have come, gone or changed without events between two values of rowcast.coverage.';
revoke all on function rowcast.loses_rows(jsonb, jsonb) from public;
