-- The engines that read the outbox, and the position after which changes are kept for each. Written by
-- rowcast.open_outbox, rowcast.trim_outbox and rowcast.leave_outbox.
create table rowcast.outbox_reader (
    name text primary key,
    confirmed pg_lsn not null,
    seen_at timestamptz not null
);
comment on table rowcast.outbox_reader is 'Engines that read the outbox.';
comment on column rowcast.outbox_reader.name is 'One for each engine.';
comment on column rowcast.outbox_reader.confirmed is 'The reader no longer needs changes before this position.';
comment on column rowcast.outbox_reader.seen_at is 'When the reader last called rowcast.';
revoke all on table rowcast.outbox_reader from public;
