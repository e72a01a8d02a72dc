-- Stops following a table by its name, also when the table is gone; whether it was followed. A plain literal,
-- `rowcast.unwatch('public.orders')`, comes here, as does src/store. The name is looked up among the watched tables and
-- not on a search_path: a dropped table is on none. RC005: the name fits more than one of them.
create or replace function rowcast.unwatch(relation text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $function$
declare
    wanted text[] := parse_ident(relation);
    candidates oid[];
begin
    select array_agg(w.relation::oid) into candidates
    from rowcast.watched w
    left join pg_class c on c.oid = w.relation
    left join pg_namespace n on n.oid = c.relnamespace
    cross join lateral (
        select case when c.oid is null then parse_ident(w.relation_name) else array[n.nspname, c.relname]::text[] end
    ) as known (parts)
    where known.parts = wanted or (cardinality(wanted) = 1 and known.parts[2] = wanted[1]);
    if cardinality(candidates) > 1 then
        raise exception '% names more than one watched table', relation
            using errcode = 'RC005', hint = 'Write the schema in front, such as ''public.orders''.';
    end if;
    return candidates is not null and rowcast.unwatch(candidates[1]::regclass);
end
$function$;
comment on function rowcast.unwatch(text) is 'Stops following a table by its name, also when it is gone; whether it was followed.';
revoke all on function rowcast.unwatch(text) from public;
