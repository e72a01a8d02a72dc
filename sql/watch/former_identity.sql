-- What the replica identity of a table was before rowcast.watch set it to FULL: one row for each table and partition whose
-- identity rowcast changed. Written by rowcast.set_identity_full and rowcast.restore_identity, read through
-- rowcast.identity_changes.
--
-- `member` and `watched` are of type regclass: they follow a rename, and pg_dump writes them as names.
create table rowcast.former_identity (
    member regclass primary key,
    watched regclass not null,
    identity "char" not null,
    index name,
    constraint former_identity_has_its_index check ((identity = 'i') = (index is not null))
);
comment on table rowcast.former_identity is 'Replica identities that rowcast.watch set to FULL, as they were before.';
comment on column rowcast.former_identity.member is 'The table or partition; stale when it was dropped.';
comment on column rowcast.former_identity.watched is 'The watched table for which it was set: the table itself, or the root of its partitions.';
comment on column rowcast.former_identity.identity is 'As in pg_class.relreplident: d default, i index, n nothing.';
comment on column rowcast.former_identity.index is 'Name of the index, where the identity was one.';
revoke all on table rowcast.former_identity from public;
