-- Closes the sockets of these principals in every engine of the database, behind what waits for them, when the caller's
-- transaction commits. Registered subscriptions go on. All that is given must match. The result is where the message is in the
-- WAL.
create or replace function rowcast.disconnect(
    user_id text default null,
    tenant_id text default null,
    role text default null,
    code int default 1012,
    reason text default 'Service restart'
)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    who jsonb := jsonb_build_object('user_id', user_id, 'tenant_id', tenant_id, 'role', role);
    how jsonb := jsonb_build_object('code', coalesce(code, 1012), 'reason', coalesce(reason, ''));
begin
    return rowcast.close_sessions(jsonb_build_object('who', who, 'disconnect', how, 'sender', null));
end
$function$;
comment on function rowcast.disconnect(text, text, text, int, text) is
    'Closes the sockets of these principals in every process when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.disconnect(text, text, text, int, text) from public;
