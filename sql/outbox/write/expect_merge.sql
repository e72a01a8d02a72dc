-- Trigger on watched tables that are partitioned, and on their partitions, before each statement: whether what it changes has to
-- be captured row by row. Installed by rowcast.install_outbox_triggers.
--
-- What a MERGE has done to partitions is not in its transition tables. Those of UPDATE lack what was moved from one partition to
-- another, which is in those of DELETE and INSERT, for which nothing fires unless the MERGE has such actions too; and behind an
-- inserted row they have that row in place of the updated one (seen on 15.18 and 18.6). So rowcast.append_merged_row captures
-- it. That takes 0.1 ms a row, so not where the text of the statement rules out a MERGE: what the client sent (of which a cursor
-- and a prepared statement show nothing), or, inside a function, what the server's own report of where it is begins with. For
-- statements in an SQL function it reports no text. A text of more than a megabyte is not looked through.
--
-- Setting rowcast.merges_<oid> of a watched table is a stack of the open statements, as the text of an array of texts:
--
--   stack     = "{" statement, ... "}"                                      the latest first
--   statement = may_merge ":" commands ":" origin ":" inserted ":" place  such as `t:I16390,U16390,:-5471305:12:`
--   may_merge = "t" | "f"                                                 whether it may be a MERGE
--   commands  = { letter oid "," }                                        INSERT, UPDATE or DELETE and its table
--   letter    = "I" | "U" | "D" | "i" | "u" | "d"                         small once the command has ended
--   origin    = a hash of where the statement runs                        one for all of its commands
--   inserted  = number                                                    of rows captured as inserted
--   place     = number | "-" | ""                                         of its rows: none, or not looked up yet
--
-- All referential actions of one kind that a statement leads to have one origin. They end after the statement.
-- The stack decides only how a statement is captured: a session that sets it damages only its own changes.
create or replace function rowcast.expect_merge()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
    setting text := 'rowcast.merges_' || tg_argv[0];
    stack text[] := coalesce(nullif(current_setting(setting, true), ''), '{}');
    open text[] := string_to_array(stack[1], ':');
    commands constant int := 2;
    origin constant int := 3;
    command text := left(tg_op, 1) || tg_relid || ',';
    here text;
    may_merge boolean;
begin
    get diagnostics here = pg_context;
    here := substr(here, strpos(here || E'\n', E'\n'));
    if here = '' then
        may_merge := coalesce(
            octet_length(current_query()) > 1000000 or current_query() ~* '\m(merge|execute|fetch|move)\M', true);
    else
        may_merge := octet_length(here) > 1000000 or here ~* '\m(merge|execute)\M'
            or here !~* '^\n[^\n]*\W(insert|update|delete)\s+[\w"]';
    end if;
    if stack = '{}' and not may_merge then
        return null;
    end if;
    here := hashtextextended(here, 0);
    if open[origin] = here then
        open[commands] := open[commands] || command;
        stack[1] := array_to_string(open, ':');
    else
        stack := array_prepend(concat_ws(':', may_merge, command, here, 0, ''), stack);
    end if;
    perform set_config(setting, stack::text, true);
    return null;
end
$function$;
comment on function rowcast.expect_merge() is
    'Trigger: whether what a statement changes in a partitioned table has to be captured row by row.';
revoke all on function rowcast.expect_merge() from public;
