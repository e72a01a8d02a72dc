-- The publication that the slot streams; rowcast.watch adds tables to it.
select rowcast.ensure_publication();
