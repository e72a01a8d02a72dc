-- Sends a request to close sessions to every engine of the database, at the position of this transaction's commit. Called by
-- rowcast.revoke, rowcast.disconnect and the engine (src/store/calls.rs), which adds its name as the sender: it has closed
-- its own sessions before. The result is where the message is in the WAL.
--
-- Security definer, as rowcast.publish. RC005: no principal is named, or the code is not one that a socket may close with.
create or replace function rowcast.close_sessions(request jsonb)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := request::text;
    code int := (request -> 'disconnect' ->> 'code')::int;
    lsn pg_lsn;
begin
    if coalesce(request -> 'who' ->> 'user_id', request -> 'who' ->> 'tenant_id', request -> 'who' ->> 'role') is null then
        raise exception 'no principal was given'
            using errcode = 'RC005', hint = 'Give at least one of user_id, tenant_id and role.';
    elsif not (code in (1000, 1001, 1012, 1013) or code between 3000 and 4999) then
        raise exception 'a socket cannot be closed with code %', code
            using errcode = 'RC005', hint = 'Use 1000, 1001, 1012, 1013 or one from 3000 to 4999.';
    elsif octet_length(content) > 8192 then
        raise exception 'the request has % bytes, the limit is 8192', octet_length(content)
            using errcode = 'RC005', hint = 'Shorten the names or the reason.';
    end if;
    perform rowcast.append_message('rowcast.close', content);
    lsn := pg_logical_emit_message(true, 'rowcast.close', convert_to(content, 'UTF8'));
    -- In a subtransaction the next row could come first: see rowcast.tell_of_ddl.
    perform pg_logical_emit_message(true, 'rowcast.space', '');
    return lsn;
end
$function$;
comment on function rowcast.close_sessions(jsonb) is 'Sends a request to close sessions to every engine when the transaction commits.';
revoke all on function rowcast.close_sessions(jsonb) from public;
