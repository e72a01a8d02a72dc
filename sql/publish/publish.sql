-- Sends a message to the subscribers of a topic when, and only when, the caller's transaction commits; its place is that
-- of the commit. Called by applications and by src/store. The result is where the message is in the WAL.
--
-- Security definer, so that an application role needs EXECUTE on this function alone and an administrator may revoke
-- pg_logical_emit_message from public: while that is granted, every role can send what this function would send.
-- The content is UTF-8 whatever the database's encoding. RC006: topic, tenant or payload is missing or too long; the limits keep
-- one message well under the engine's frame limit (1 MiB of payload, 255 bytes of name).
create or replace function rowcast.publish(topic text, payload jsonb, tenant text default null)
returns pg_lsn
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    content text := jsonb_build_object('topic', topic, 'tenant', tenant, 'payload', payload)::text;
begin
    if topic is null or topic = '' or octet_length(topic) > 255 then
        raise exception 'a topic has 1 to 255 bytes, this one has %', coalesce(octet_length(topic)::text, 'none: it is null')
            using errcode = 'RC006', hint = 'Name a topic that the application declares.';
    elsif tenant = '' or octet_length(tenant) > 255 then
        raise exception 'a tenant has 1 to 255 bytes, this one has %', octet_length(tenant)
            using errcode = 'RC006', hint = 'Leave tenant out, or null, for a topic that is declared public.';
    elsif payload is null then
        raise exception 'the payload is null'
            using errcode = 'RC006', hint = 'Send the JSON value ''null'' if that is what you mean.';
    elsif octet_length(payload::text) > 1048576 then
        raise exception 'a payload has at most 1048576 bytes, this one has %', octet_length(payload::text)
            using errcode = 'RC006', hint = 'Store it in a table and publish its key.';
    end if;
    perform rowcast.append_message('rowcast.publish', content);
    return pg_logical_emit_message(true, 'rowcast.publish', convert_to(content, 'UTF8'));
end
$function$;
comment on function rowcast.publish(text, jsonb, text) is
    'Sends a payload to the subscribers of a topic when the transaction commits; where it is in the WAL.';
revoke all on function rowcast.publish(text, jsonb, text) from public;
