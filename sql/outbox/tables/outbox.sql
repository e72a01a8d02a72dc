-- What was changed in watched tables, where changes are captured by triggers. Written by rowcast.append_to_outbox and
-- rowcast.append_message, in the transactions that make the changes; read by src/capture/outbox.
--
-- `id` numbers changes in the order in which they were appended: a row's lock is held until commit, so of two transactions
-- that change one row the later has the greater numbers. Within a transaction `place` comes first, where there is one: what
-- other triggers do is appended before the statement that fired them (see rowcast.note_outbox_place). `xid` is the top-level
-- transaction. Images are rows as text, every value as its type prints it, in the order of the columns that `shape` names;
-- `shape` is there at the first row of each statement, and at each row of a MERGE.
--
-- Segments are written one after the other and emptied as a whole when they have been read (rowcast.trim_outbox): nothing
-- is ever deleted row by row, and no catalog grows.
create table rowcast.outbox (
    segment int2 not null,
    id int8 not null generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    relation oid,
    kind "char" not null,
    shape text[],
    old text,
    new text,
    place int8
) partition by list (segment);
comment on table rowcast.outbox is 'Captured changes that readers may still need. Only triggers write it.';
comment on column rowcast.outbox.segment is 'The partition; rowcast.outbox_state names the one that is written.';
comment on column rowcast.outbox.id is 'Numbers changes in the order in which they were appended.';
comment on column rowcast.outbox.xid is 'The top-level transaction that made the change.';
comment on column rowcast.outbox.relation is 'The watched table (for a partition, its root); null for a message.';
comment on column rowcast.outbox.kind is 'I insert, U update, D delete, T truncate, M message.';
comment on column rowcast.outbox.shape is 'Schema, name, and for each column its type''s oid (0: not captured) and name; for a message its prefix.';
comment on column rowcast.outbox.old is 'The row before.';
comment on column rowcast.outbox.new is 'The row after; for a message its content.';
comment on column rowcast.outbox.place is 'Order of the change within its transaction, if it differs from the order of id.';
revoke all on table rowcast.outbox from public;

-- Serves every reading: of a window of transactions, and of one transaction in its order.
create index outbox_by_transaction on rowcast.outbox (xid, coalesce(place, id), id);

create table rowcast.outbox_0 partition of rowcast.outbox for values in (0) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_0 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_0 from public;
create table rowcast.outbox_1 partition of rowcast.outbox for values in (1) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_1 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_1 from public;
create table rowcast.outbox_2 partition of rowcast.outbox for values in (2) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_2 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_2 from public;
create table rowcast.outbox_3 partition of rowcast.outbox for values in (3) with (autovacuum_vacuum_insert_threshold = -1);
comment on table rowcast.outbox_3 is 'A segment of rowcast.outbox.';
revoke all on table rowcast.outbox_3 from public;
