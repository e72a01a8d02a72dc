-- Tells every engine, at the position of this transaction's commit, that the watched tables changed. Called by
-- the functions that change what is captured. The stream carries it even when no row changes.
create or replace function rowcast.announce(change text, relation oid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := json_build_object('change', change, 'oid', relation::int8)::text;
begin
    perform pg_logical_emit_message(true, 'rowcast.catalog', convert_to(content, 'UTF8'));
    -- In a subtransaction the next row could come first: see rowcast.tell_of_ddl.
    perform pg_logical_emit_message(true, 'rowcast.space', '');
    perform rowcast.append_message('rowcast.catalog', content);
end
$function$;
comment on function rowcast.announce(text, oid) is 'Sends a transactional message with prefix rowcast.catalog, in the WAL and in the outbox.';
revoke all on function rowcast.announce(text, oid) from public;
