-- Event trigger: reports to every engine, at this point of the transaction, that a statement may have changed the visibility
-- of a watched table. See install_event_trigger for when it runs, and src/engine/follow/policy_watch.rs for what happens without it.
--
-- It reads catalogs and calls nothing of schema rowcast: it runs as its owner, a superuser, in the statements of all
-- roles, and schema rowcast may belong to another role. For the same reason it writes to the outbox only if that belongs
-- to its own owner or to a superuser: another role's tables could run code when they are written. What is watched is what
-- publication rowcast has.
-- Security definer, since pg_logical_emit_message may be revoked from public.
--
-- One message is enough for a transaction: the engine waits until the transaction is visible as a whole before it reads
-- the catalog. A setting of that transaction remembers it, and goes with a savepoint that is rolled back.
--
-- It never makes a statement fail: an error becomes a warning, and the engine's poll finds the change.
create or replace function rowcast.tell_of_ddl()
returns event_trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    -- Not a cast to regrole, which reads a name as an identifier: another role could be meant.
    owner oid := (select r.oid from pg_roles r where r.rolname = current_user);
    concerned boolean;
    content text;
    outbox boolean;
begin
    select count(*) = 6 and bool_and(
        c.relkind in ('r', 'p') and (c.relowner = owner or r.rolsuper)
        and (n.nspowner = owner or o.rolsuper)
    ) into outbox
    from pg_namespace n
    join pg_roles o on o.oid = n.nspowner
    join pg_class c on c.relnamespace = n.oid
    join pg_roles r on r.oid = c.relowner
    where n.nspname = 'rowcast' and c.relname in ('outbox', 'outbox_0', 'outbox_1', 'outbox_2', 'outbox_3', 'outbox_state');
    if outbox then
        select exists (select from rowcast.outbox_state) into outbox;
    end if;
    if (current_setting('wal_level') <> 'logical' and not outbox)
        or current_setting('rowcast.told', true) = pg_current_xact_id()::text
        or (not exists (select from pg_publication where pubname = 'rowcast') and tg_tag not in ('ALTER PUBLICATION', 'DROP PUBLICATION'))
    then
        return;
    end if;
    if tg_event = 'sql_drop' then
        -- A policy goes alone, with what it reads (CASCADE) or with its table; a table leaves the publication with its schema,
        -- alone, or by ALTER PUBLICATION. Whose partition a dropped table was is not known any more: engines poll for that.
        select exists (
            select from pg_event_trigger_dropped_objects() d
            where case d.object_type
                when 'publication relation' then d.address_args = '{rowcast}'
                when 'publication' then d.object_name = 'rowcast'
                when 'policy' then exists (
                    select from pg_publication p
                    left join pg_publication_rel r on r.prpubid = p.oid
                    where p.pubname = 'rowcast'
                      and (p.puballtables or r.prrelid = to_regclass(format('%I.%I', d.address_names[1], d.address_names[2])))
                )
            end
        ) into concerned;
    elsif tg_tag in ('GRANT', 'REVOKE') then
        -- The server does not say on which.
        select exists (
            select from pg_event_trigger_ddl_commands() d where d.object_type in ('TABLE', 'SCHEMA')
        ) into concerned;
    elsif tg_tag = 'ALTER PUBLICATION' then
        -- A renamed one is found under its new name.
        select not exists (select from pg_publication where pubname = 'rowcast') or exists (
            select from pg_event_trigger_ddl_commands() d
            left join pg_publication_rel r on d.classid = 'pg_publication_rel'::regclass and r.oid = d.objid
            join pg_publication p on p.pubname = 'rowcast'
                and p.oid = case when d.classid = 'pg_publication'::regclass then d.objid else r.prpubid end
        ) into concerned;
    elsif tg_tag in ('DROP OWNED', 'ALTER SCHEMA', 'ALTER EXTENSION', 'ALTER TYPE', 'ALTER DOMAIN') then
        concerned := true;
    else
        -- A watched table, a policy of one, or what such a policy names.
        with recursive watched (oid) as (
            (
                select r.prrelid from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where p.pubname = 'rowcast'
                union
                select y.polrelid from pg_publication p cross join pg_policy y where p.pubname = 'rowcast' and p.puballtables
            )
            union
            select i.inhrelid from watched join pg_inherits i on i.inhparent = watched.oid
        )
        select exists (
            select from pg_event_trigger_ddl_commands() d
            where (d.classid = 'pg_class'::regclass and d.objid in (select watched.oid from watched))
               or exists (
                    select from watched join pg_policy y on y.polrelid = watched.oid
                    where (d.classid = 'pg_policy'::regclass and y.oid = d.objid) or exists (
                        select from pg_depend u
                        where u.classid = 'pg_policy'::regclass and u.objid = y.oid
                          and u.refclassid = d.classid and u.refobjid = d.objid
                    )
               )
               or (d.classid = 'pg_class'::regclass
                   and exists (select from pg_publication p where p.pubname = 'rowcast' and p.puballtables))
        ) into concerned;
    end if;
    if concerned then
        content := json_build_object('change', 'ddl', 'tag', tg_tag)::text;
        perform pg_logical_emit_message(true, 'rowcast.catalog', convert_to(content, 'UTF8'));
        -- Decoding gives a message the position of its end, which is where the next record begins. This block is a
        -- subtransaction, and between it and its parent equal positions come in any order (14 to 18: a row that was
        -- written next came first). So a message that no reader uses is written in between.
        perform pg_logical_emit_message(true, 'rowcast.space', '');
        perform set_config('rowcast.told', pg_current_xact_id()::text, true);
        if outbox then
            insert into rowcast.outbox (segment, kind, shape, new)
            select s.segment, 'M', '{rowcast.catalog}', content from rowcast.outbox_state s;
            -- As rowcast.wake_outbox_readers, which is not ours to call.
            if not pg_try_advisory_xact_lock_shared(1919907683, 3) and current_setting('max_prepared_transactions') = '0' then
                perform pg_notify('rowcast', '');
            end if;
        end if;
    end if;
exception
    when others then
        raise warning 'could not report % to rowcast: %', tg_tag, sqlerrm
            using hint = 'Engines find the change by polling, within seconds.';
end
$function$;
comment on function rowcast.tell_of_ddl() is
    'Event trigger: tells engines that a statement may have changed who sees what of a watched table.';
revoke all on function rowcast.tell_of_ddl() from public;
