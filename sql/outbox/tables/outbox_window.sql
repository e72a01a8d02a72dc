-- The order in which transactions are delivered, the same for every reader. A window holds the transactions that changed something
-- and had ended when it was closed, as one snapshot sees it, but not when the window before it was. So a
-- transaction follows every transaction that it has seen, even if some were open for long. Within a window transactions are in the order
-- of their last change, which agrees with the order of commits wherever two have changed one row.
--
-- (Windows of all transactions below pg_snapshot_xmin are not enough: of two that have changed one row, the one that came
-- later may have the lesser number, and be in an earlier window while a third is still open.)
--
-- The n-th of them has the position `first + n - 1`: a place in the WAL behind every commit of the window, or just behind
-- that, and greater than all positions before. Written by rowcast.close_window, removed by rowcast.trim_outbox.
create table rowcast.outbox_window (
    first pg_lsn primary key,
    last pg_lsn not null,
    previous pg_lsn not null,
    since xid8 not null,
    still xid8[] not null,
    upto xid8 not null,
    running xid8[] not null,
    xids xid8[] not null,
    timeline int4 not null,
    closed_at timestamptz not null
);
comment on table rowcast.outbox_window is 'The order in which captured transactions are delivered.';
comment on column rowcast.outbox_window.first is 'The position of the first transaction.';
comment on column rowcast.outbox_window.last is 'The position of the last one.';
comment on column rowcast.outbox_window.previous is 'The last position of the window before it.';
comment on column rowcast.outbox_window.since is 'upto of the window before it.';
comment on column rowcast.outbox_window.still is 'running of the window before it: they, and what is not before since, may be in this one.';
comment on column rowcast.outbox_window.upto is 'The least transaction number that had not been given when it was closed.';
comment on column rowcast.outbox_window.running is 'The transactions that were open then.';
comment on column rowcast.outbox_window.xids is 'Its transactions, in the order of delivery.';
comment on column rowcast.outbox_window.timeline is 'The server''s timeline when it was closed.';
comment on column rowcast.outbox_window.closed_at is 'When it was closed: the commit time that its transactions are reported with.';
revoke all on table rowcast.outbox_window from public;
