-- Withdraws access when, and only when, the caller's transaction commits: every engine of the database closes the sockets of
-- these principals with 4403 and ends their registered subscriptions with REVOKED. Call it in the transaction that deletes the
-- membership, before other changes that they must not see: what the transaction changes after the call, and what later
-- transactions change, is not delivered to them. All that is given must match. The result is where the message is in the WAL.
create or replace function rowcast.revoke(user_id text default null, tenant_id text default null, role text default null)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    who jsonb := jsonb_build_object('user_id', user_id, 'tenant_id', tenant_id, 'role', role);
begin
    return rowcast.close_sessions(jsonb_build_object('who', who, 'disconnect', null, 'sender', null));
end
$function$;
comment on function rowcast.revoke(text, text, text) is
    'Closes the sockets of these principals with 4403 in every process when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.revoke(text, text, text) from public;
