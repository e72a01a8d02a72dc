-- Lets a role of the application call rowcast.revoke and rowcast.disconnect, and nothing else. Called by an administrator, once
-- for each role.
create or replace function rowcast.grant_revoker(revoker regrole)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    execute format('grant usage on schema rowcast to %s', revoker);
    execute format('grant execute on function rowcast.revoke(text, text, text) to %s', revoker);
    execute format('grant execute on function rowcast.disconnect(text, text, text, int, text) to %s', revoker);
end
$function$;
comment on function rowcast.grant_revoker(regrole) is 'Lets a role call rowcast.revoke and rowcast.disconnect, and nothing else.';
revoke all on function rowcast.grant_revoker(regrole) from public;
