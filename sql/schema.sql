-- Everything that rowcast keeps in a database lives here. No role may use it unless granted: see functions/grant_*.sql.
create schema rowcast;
