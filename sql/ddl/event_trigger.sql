-- Where the migrating role may: a superuser, or what a managed service lets do the same. Others poll.
do $do$
begin
    perform rowcast.install_event_trigger();
exception
    when insufficient_privilege then
        raise notice 'rowcast polls for changed policies and grants, as % may not install event triggers', quote_ident(current_user)
            using hint = 'As a superuser, run: select rowcast.install_event_trigger()';
end
$do$;
