-- The order in which transactions are told, the same for every reader. A window holds the transactions with numbers from
-- `since` up to, not including, `upto` that changed something: when it was closed all of them had ended. Within it they
-- are in the order of their last change, which agrees with the order of commits wherever two have changed one row.
--
-- The n-th of them has the position `first + n - 1`: a place in the WAL behind every commit of the window, or just behind
-- that, and greater than all positions before. Written by rowcast.close_window, removed by rowcast.trim_outbox.
create table rowcast.outbox_window (
    first pg_lsn primary key,
    last pg_lsn not null,
    since xid8 not null,
    upto xid8 not null,
    xids xid8[] not null,
    timeline int4 not null,
    closed_at timestamptz not null
);
comment on table rowcast.outbox_window is 'The order in which captured transactions are told.';
comment on column rowcast.outbox_window.first is 'The position of the first transaction.';
comment on column rowcast.outbox_window.last is 'The position of the last one.';
comment on column rowcast.outbox_window.since is 'The least transaction number that may be in it.';
comment on column rowcast.outbox_window.upto is 'The least transaction number that is not in it any more.';
comment on column rowcast.outbox_window.xids is 'Its transactions, in the order in which they are told.';
comment on column rowcast.outbox_window.timeline is 'The server''s timeline when it was closed.';
comment on column rowcast.outbox_window.closed_at is 'When it was closed: the time at which its transactions are told to have committed.';
revoke all on table rowcast.outbox_window from public;
