-- The number of the column that is to be the tenant column; null for null. Called by rowcast.watch.
-- RC002: there is no such column, or the stream does not carry it.
create or replace function rowcast.tenant_attnum(relation regclass, tenant_column name)
returns int2
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    a pg_attribute;
begin
    if tenant_column is null then
        return null;
    end if;
    select * into a from pg_attribute
    where attrelid = relation and attname = tenant_attnum.tenant_column and attnum > 0 and not attisdropped;
    if not found then
        raise exception 'column % of % does not exist', quote_ident(tenant_column), relation
            using errcode = 'RC002',
                hint = format('Its columns are: %s. Names are case-sensitive here and need no quotes.', (
                    select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute
                    where attrelid = relation and attnum > 0 and not attisdropped));
    elsif a.attgenerated <> '' then
        raise exception 'column % of % is generated', quote_ident(tenant_column), relation
            using errcode = 'RC002', hint = 'The stream does not carry generated columns: use an ordinary column.';
    end if;
    return a.attnum;
end
$function$;
comment on function rowcast.tenant_attnum(regclass, name) is 'The number of the tenant column, or an error that lists the columns.';
revoke all on function rowcast.tenant_attnum(regclass, name) from public;
