-- Captures changes of all watched tables, also of those watched later, by triggers: for databases without
-- logical replication. Called by an administrator or a migration, and by src/store where the engine captures from the
-- outbox. Calling it again installs what is missing; when nothing is it takes no lock and needs no privilege but to read.
-- Whether anything changed. Runs as its caller, who must own rowcast's tables and those watched ones of which no change would
-- be captured; for others that lack triggers it only raises a notice. Locks as rowcast.install_outbox_triggers says.
--
-- A dump that was restored elsewhere, also in another database of the cluster, brings rows of another history: they are removed.
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
    here_in oid := (select d.oid from pg_database d where d.datname = current_database());
    is_here boolean := exists (select from rowcast.outbox_state s where s.system_id = here and s.database = here_in);
    uncaptured regclass;
    others text;
    timeout text := current_setting('lock_timeout');
begin
    if is_here and not exists (
        select from rowcast.missing_trigger g where g.installable or g.problem = 'not_captured'
    ) then
        select string_agg(distinct g.relation::regclass::text, ', ') into others from rowcast.missing_trigger g;
        if others is not null then
            raise notice '% lacks the privilege to create triggers on: %', quote_ident(current_user), others
                using hint = 'As the owner of the tables and of rowcast, run: select rowcast.start_outbox(). rowcast.status() says what is not captured.';
        end if;
        return false;
    elsif not pg_has_role(owner, 'usage') then
        raise exception 'the outbox belongs to %, not to %', owner, quote_ident(current_user)
            using errcode = 'insufficient_privilege', hint = format('As %s, run: select rowcast.start_outbox()', owner);
    end if;
    perform pg_advisory_xact_lock(1919907683, 1);
    if not exists (select from rowcast.outbox_state s where s.system_id = here and s.database = here_in) then
        -- Others have read the state and wait for the lock: TRUNCATE would wait for them.
        delete from rowcast.outbox_state;
        delete from rowcast.outbox_reader;
        if timeout = '0' then
            perform set_config('lock_timeout',
                greatest(1, 800 * extract(epoch from current_setting('deadlock_timeout')::interval))::int::text, true);
        end if;
        truncate rowcast.outbox_window, rowcast.outbox;
        perform set_config('lock_timeout', timeout, true);
        insert into rowcast.outbox_state (system_id, database) values (here, here_in);
        -- The first window: no reader needs earlier changes.
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
    'Captures changes of watched tables by triggers, for databases without logical replication; returns whether anything changed.';
revoke all on function rowcast.start_outbox() from public;
