-- Who reads the outbox, and from where on everything is kept for it. Written by rowcast.open_outbox, rowcast.trim_outbox
-- and rowcast.leave_outbox.
create table rowcast.outbox_reader (
    name text primary key,
    confirmed pg_lsn not null,
    seen_at timestamptz not null
);
comment on table rowcast.outbox_reader is 'Engines that read the outbox.';
comment on column rowcast.outbox_reader.name is 'One for each engine.';
comment on column rowcast.outbox_reader.confirmed is 'What is before this position it needs no more.';
comment on column rowcast.outbox_reader.seen_at is 'When it was heard of last.';
revoke all on table rowcast.outbox_reader from public;
