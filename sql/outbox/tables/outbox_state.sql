-- Whether changes are captured by triggers, and which segment they are written to. One row, or none: then watched tables
-- have no triggers. Written by rowcast.start_outbox and rowcast.trim_outbox, read by every trigger.
create table rowcast.outbox_state (
    is_here boolean primary key default true,
    segment int2 not null default 0,
    segment_since timestamptz not null default now(),
    system_id int8 not null,
    database oid not null,
    started_in xid8 not null default pg_current_xact_id(),
    constraint outbox_state_is_one_row check (is_here)
);
comment on table rowcast.outbox_state is 'The one row that is there while changes are captured by triggers.';
comment on column rowcast.outbox_state.is_here is 'There is one row at most.';
comment on column rowcast.outbox_state.segment is 'The segment that is written.';
comment on column rowcast.outbox_state.segment_since is 'Since when.';
comment on column rowcast.outbox_state.system_id is 'The cluster in which it was written: a restored dump is another history.';
comment on column rowcast.outbox_state.database is 'The database in which it was written: so is a copy of it in the same cluster.';
comment on column rowcast.outbox_state.started_in is 'The transaction that started it: which outbox it is.';
revoke all on table rowcast.outbox_state from public;
