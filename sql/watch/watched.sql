-- The watched tables. Written by rowcast.watch and rowcast.unwatch, read through rowcast.tables.
--
-- `relation` is a regclass: it follows a rename, and pg_dump writes it as a name. `tenant_attnum` follows the rename
-- of a column while the database lives, but a restored dump numbers columns again: then `relation_oid` differs from
-- `relation`, and `tenant_column` decides instead. rowcast.tables holds that rule; when number and name
-- contradict each other it gives no tenant column at all, and the table is not served until it is watched again.
create table rowcast.watched (
    relation regclass primary key,
    relation_oid oid not null,
    relation_name text not null,
    tenant_column name,
    tenant_attnum int2,
    public boolean not null,
    coverage jsonb,
    whole_since pg_lsn,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint watched_tenant_is_whole check ((tenant_column is null) = (tenant_attnum is null)),
    constraint watched_public_has_no_tenant check (not public or tenant_column is null)
);
comment on table rowcast.watched is 'Tables that rowcast follows. Change it with rowcast.watch and rowcast.unwatch.';
comment on column rowcast.watched.relation is 'The table; stale when the table was dropped.';
comment on column rowcast.watched.relation_oid is 'relation as it was when watched: differs after a dump was restored.';
comment on column rowcast.watched.relation_name is 'Qualified name as it was when watched, to unwatch a table that is gone.';
comment on column rowcast.watched.tenant_column is 'Name of the tenant column when watched.';
comment on column rowcast.watched.tenant_attnum is 'Number of the tenant column when watched.';
comment on column rowcast.watched.public is 'Readable by every principal.';
comment on column rowcast.watched.coverage is 'rowcast.coverage as an engine saw it last; see rowcast.note_coverage.';
comment on column rowcast.watched.whole_since is 'From here on every change of the table was captured: cursors from before have expired.';
comment on column rowcast.watched.created_at is 'When it was watched first.';
comment on column rowcast.watched.updated_at is 'When its settings changed last.';
revoke all on table rowcast.watched from public;
