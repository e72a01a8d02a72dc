-- Creates publication rowcast, with all tables that are watched, unless it exists; the caller needs CREATE on the database
-- and must own the tables. Repairs its settings, as far as the caller's privileges allow. Called by the migrations, by rowcast.watch, and by src/store at every start and whenever an engine
-- finds it altered. Returns whether it had to change anything.
--
-- It must exist before a slot is made: PostgreSQL 14 to 17 decode with the catalog as it was at each change, and a slot
-- that meets a change from before its publication fails for ever.
--
-- If the caller owns it, its options are repaired: with every operation, partitions under their root's name, and from 18 on
-- stored generated columns, without which the server refuses UPDATE and DELETE of a table that has one and REPLICA IDENTITY
-- FULL. Watched tables are added again without row filters, if the caller owns them as well. rowcast.status reports
-- the rest. Changes that were not captured until then are lost: see rowcast.note_coverage.
create or replace function rowcast.ensure_publication()
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $function$
declare
    with_generated text := case when current_setting('server_version_num')::int >= 180000 then ', publish_generated_columns = stored' end;
    options text := 'publish = ''insert, update, delete, truncate'', publish_via_partition_root = true' || coalesce(with_generated, '');
    left_out constant text[] := '{not_published,row_filter}';
    p record;
    t record;
    is_whole boolean;
    tables text;
    changed boolean := false;
begin
    select b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and b.pubviaroot
            and coalesce(to_jsonb(b) ->> 'pubgencols' = 's', true) as is_whole,
        pg_has_role(b.pubowner, 'usage') and not b.puballtables as is_ours
    into p from pg_publication b where b.pubname = 'rowcast';
    if not found then
        perform pg_advisory_xact_lock(1919907683, 1);
        if exists (select from pg_publication b where b.pubname = 'rowcast') then
            return false;
        end if;
        select ' for table ' || string_agg('only ' || c.oid::regclass::text, ', ')
        into tables
        from rowcast.watched w join pg_class c on c.oid = w.relation;
        execute format('create publication rowcast%s with (%s)', tables, options);
        comment on publication rowcast is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
        return true;
    elsif not p.is_ours then
        return false;
    end if;
    if p.is_whole and not exists (select from rowcast.tables v where v.problems && left_out) then
        return false;
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    -- Another engine may have repaired it while this one waited.
    select b.pubinsert and b.pubupdate and b.pubdelete and b.pubtruncate and b.pubviaroot
        and coalesce(to_jsonb(b) ->> 'pubgencols' = 's', true)
    into is_whole from pg_publication b where b.pubname = 'rowcast';
    if not is_whole then
        execute format('alter publication rowcast set (%s)', options);
        changed := true;
    end if;
    for t in
        select v.oid::regclass as relation, v.published
        from rowcast.tables v join pg_class c on c.oid = v.oid
        where v.problems && left_out and not v.problems && '{identity_missing,identity_generated}'
          and pg_has_role(c.relowner, 'usage')
    loop
        if t.published then
            execute format('alter publication rowcast drop table only %s', t.relation);
        end if;
        execute format('alter publication rowcast add table only %s', t.relation);
        changed := true;
    end loop;
    if changed then
        perform rowcast.announce('publication', 0);
    end if;
    return changed;
end
$function$;
comment on function rowcast.ensure_publication() is 'Creates publication rowcast, or mends it, unless it is as it has to be; whether it was not.';
revoke all on function rowcast.ensure_publication() from public;
