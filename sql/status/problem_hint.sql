-- What a word in rowcast.tables.problems means and what to do. Called by rowcast.status and src/catalog/mod.rs.
create or replace function rowcast.problem_hint(problem text)
returns text
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $function$
    select case problem
        when 'not_published' then
            'The table is watched but not in publication rowcast: call rowcast.watch again.'
        when 'not_all_published' then
            'Publication rowcast was altered and leaves out operations or partitions of the table: as its owner, run: select rowcast.ensure_publication()'
        when 'changed_through_parent' then
            'The table is a partition or inherits from another: statements that name the parent do not append its rows to the outbox. Watch the root of the partitions, or capture from the WAL.'
        when 'delivered_through_parent' then
            'The table is a partition of a published table, so its changes are delivered as changes of that one: watch the root, and call rowcast.unwatch for the partition.'
        when 'not_captured' then
            'The table lacks the triggers that append its changes to the outbox: call rowcast.watch again.'
        when 'partition_not_captured' then
            'A partition lacks the triggers that capture statements that name the partition itself: call rowcast.watch again.'
        when 'merge_not_captured' then
            'The table lacks the triggers that capture what a MERGE does to partitions: call rowcast.watch again.'
        when 'merge_in_rule' then
            'A rule of this database has a MERGE: what that does to the table is not captured whole by triggers. Write it as an INSTEAD OF trigger.'
        when 'order_not_captured' then
            'Other triggers or referential actions run when the table is written, and it lacks the triggers that note the order of all changes: call rowcast.watch again.'
        when 'tenant_column_lost' then
            'The tenant column was dropped, or a rename made it ambiguous: call rowcast.watch again with the right tenant_column.'
        when 'identity_missing' then
            'The table or a partition has no replica identity, so UPDATE and DELETE of it fail: call rowcast.watch again.'
        when 'identity_generated' then
            'The replica identity has a generated column that publication rowcast does not have, so PostgreSQL refuses UPDATE and DELETE: call rowcast.watch again. With a virtual column, set REPLICA IDENTITY DEFAULT first and watch it with replica_identity => ''keep''.'
        when 'identity_not_full' then
            'Old rows carry the replica identity alone, so subscribers whose view depends on other columns (tenant, row policy, filter) get no DELETE and no LEAVE: call rowcast.watch with replica_identity => ''full''.'
        when 'partition_not_logged' then
            'A partition is a foreign, temporary or unlogged table: its changes never reach the WAL and are not seen.'
        when 'has_children' then
            'Tables inherit from this one: rows of the children are not seen, watch them on their own.'
        when 'row_filter' then
            'Publication rowcast has a row filter on the table, so subscribers miss rows: call rowcast.watch again.'
        when 'column_list' then
            'Publication rowcast has a column list on the table: the other columns are not seen, and UPDATE fails if the replica identity has one of them: call rowcast.watch again.'
        when 'no_primary_key' then
            'Without a primary key, DELETE and LEAVE events cannot identify their row: add one.'
        when 'key_deferrable' then
            'The primary key is deferrable, so within one transaction two rows may have the same key: a client that keeps rows by key may lose one of them. Make the constraint NOT DEFERRABLE.'
        when 'no_policy' then
            'Row security is on and no policy allows SELECT, so no ordinary role may see a row: create a policy.'
        when 'nobody_may_subscribe' then
            'No tenant column, not public, no row security: every client is refused. Call rowcast.watch with tenant_column or public => true.'
        else problem
    end
$function$;
comment on function rowcast.problem_hint(text) is 'Explains a word of rowcast.tables.problems and how to fix the problem.';
revoke all on function rowcast.problem_hint(text) from public;
