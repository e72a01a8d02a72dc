-- Everything that rowcast keeps in a database lives here, so `drop schema rowcast cascade` and
-- `drop publication rowcast` remove it without a trace. Nobody may use it unless granted: see functions/grant_*.sql.
create schema rowcast;
comment on schema rowcast is
    'rowcast: watched tables, manual publishing and health. Its version is the last row of rowcast.migration.';
