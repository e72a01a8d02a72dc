-- Raises which membership the caller lacks to watch a relation, before anything is locked. Called by rowcast.watch.
-- The server's own error names the object but neither its owner nor the remedy.
create or replace function rowcast.refuse_stranger(relation regclass)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    owner oid;
begin
    select relowner into owner from pg_class where oid = relation;
    if not pg_has_role(current_user, owner, 'usage') then
        raise exception 'table % belongs to %, not to %', relation, owner::regrole, quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Call rowcast.watch as %s, or run: grant %s to %I', owner::regrole, owner::regrole, current_user);
    end if;
    select pubowner into owner from pg_publication where pubname = 'rowcast';
    if found and not pg_has_role(current_user, owner, 'usage') then
        raise exception 'publication rowcast belongs to %, not to %', owner::regrole, quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Call rowcast.watch as %s, or run: grant %s to %I', owner::regrole, owner::regrole, current_user);
    elsif not found and not has_database_privilege(current_database(), 'create') then
        raise exception 'publication rowcast does not exist, and % may not create it', quote_ident(current_user)
            using errcode = 'insufficient_privilege',
                hint = format('Run: grant create on database %I to %I', current_database(), current_user);
    end if;
end
$function$;
comment on function rowcast.refuse_stranger(regclass) is 'Raises which membership the caller lacks to watch a relation.';
revoke all on function rowcast.refuse_stranger(regclass) from public;
