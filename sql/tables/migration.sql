-- The history of applied migrations, in the shape that refinery reads and writes.
-- src/store/migrate.rs creates it before the first migration and appends a row in the transaction of each.
create table rowcast.migration (
    version int4 primary key,
    name varchar(255),
    applied_on varchar(255),
    checksum varchar(255)
);
comment on table rowcast.migration is 'Migrations that were applied to this database. Written by rowcast alone.';
revoke all on table rowcast.migration from public;
