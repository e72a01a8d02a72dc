-- Tells every streaming engine, at the position of this transaction's commit, that the watched tables changed.
-- Called by rowcast.watch and rowcast.unwatch. The stream carries it even when no row changes.
create or replace function rowcast.announce(change text, relation oid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $function$
    select pg_logical_emit_message(
        true,
        'rowcast.catalog',
        convert_to(json_build_object('change', change, 'oid', relation::int8)::text, 'UTF8')
    )
$function$;
comment on function rowcast.announce(text, oid) is 'Sends a transactional logical message with prefix rowcast.catalog.';
revoke all on function rowcast.announce(text, oid) from public;
