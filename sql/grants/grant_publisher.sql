-- Lets a role of the application call rowcast.publish, and nothing else. Called by an administrator, once for each role.
create or replace function rowcast.grant_publisher(publisher regrole)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
begin
    execute format('grant usage on schema rowcast to %s', publisher);
    execute format('grant execute on function rowcast.publish(text, jsonb, text) to %s', publisher);
end
$function$;
comment on function rowcast.grant_publisher(regrole) is 'Lets a role call rowcast.publish, and nothing else.';
revoke all on function rowcast.grant_publisher(regrole) from public;
