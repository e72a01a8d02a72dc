-- Everything that rowcast keeps in a database lives here. No role may use it unless granted: see grants/.
create schema rowcast;
