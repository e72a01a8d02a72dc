-- The open transactions that have written to a table or to a partition of it, as rowcast.coverage lists them. Called by
-- rowcast.note_coverage when what is published has changed: what such a transaction wrote before may not be captured. One that
-- ends before its locks are looked at commits before the caller does. Without a slot there are none: one that is made later
-- waits for every open transaction and streams nothing of it.
create or replace function rowcast.open_writers(relation regclass, coverage jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(jsonb_agg(open.xid::text order by open.xid::text collate "C"), '[]')
    from pg_snapshot_xip(pg_current_snapshot()) open (xid)
    where exists (select from pg_replication_slots s where s.slot_type = 'logical' and s.database = current_database())
      and open.xid::xid in (
          select own.transactionid
          from pg_locks held
          join pg_locks own on own.virtualtransaction = held.virtualtransaction and own.locktype = 'transactionid' and own.granted
          where held.locktype = 'relation'
            and held.database = (select d.oid from pg_database d where d.datname = current_database())
            and (held.relation = $1 or $2 -> 'partitions' ? held.relation::text)
            and held.granted
            and held.mode not in ('AccessShareLock', 'RowShareLock')
      )
$function$;
comment on function rowcast.open_writers(regclass, jsonb) is 'The open transactions that have written to a table.';
revoke all on function rowcast.open_writers(regclass, jsonb) from public;
