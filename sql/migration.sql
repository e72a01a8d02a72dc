-- The history of applied migrations, in the shape that refinery reads and writes.
-- src/store/migrate.rs creates it before the first migration and appends a row in the transaction of each.
create table rowcast.migration (
    version int4 primary key,
    name varchar(255),
    applied_on varchar(255),
    checksum varchar(255)
);
comment on table rowcast.migration is 'Migrations that were applied to this database. Written by rowcast alone.';
comment on schema rowcast is
    'rowcast: watched tables, manual publishing and health. Its version is the last row of rowcast.migration.';
revoke all on table rowcast.migration from public;
