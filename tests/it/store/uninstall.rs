//! `store::uninstall`: a database is as it was before rowcast, or nothing is removed and the reason is given.

use rowcast::store::{self, Uninstall};
use tokio_postgres::Client;

use crate::engine::client::PATIENCE;
use crate::postgres::Database;
use crate::store::watch::{request, text};

const TABLES: &str = "
    create table orders (id int primary key);
    create table logs (id int);
    create table items (id int primary key, sku text not null, constraint items_sku unique (sku));
    alter table items replica identity using index items_sku;
    create table p (id int, primary key (id)) partition by list (id);
    create table p1 partition of p for values in (1);
    create table p2 partition of p for values in (2);
    alter table p2 replica identity nothing;
    create table mine (id int primary key);
    alter table mine replica identity full;";

/// Everything that rowcast changes in a database, one line each.
const STATE: &str = "
    select string_agg(line, E'\\n' order by line) from (
        select format('%s %s %s', c.relname, c.relreplident, (
            select count(*) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)) as line
        from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
        union all
        select format('%s is the identity', i.indexrelid::regclass) from pg_index i where i.indisreplident
        union all
        select 'publication ' || pubname from pg_publication
        union all
        select 'event trigger ' || evtname from pg_event_trigger
        union all
        select 'schema ' || nspname from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
        union all
        select 'slot ' || slot_name from pg_replication_slots where database = current_database()) l";

async fn watched(client: &mut Client) {
    store::migrate(client).await.unwrap();
    for table in ["orders", "logs", "items", "p", "mine"] {
        store::watch(client, &request(table)).await.unwrap();
    }
}

async fn removed(client: &mut Client) -> Uninstall {
    store::uninstall(client, &[], false).await.unwrap()
}

#[tokio::test]
async fn a_database_is_as_it_was_before_rowcast() {
    for outbox in [false, true] {
        let database = Database::empty().await;
        let mut client = database.connect().await;
        client.batch_execute(TABLES).await.unwrap();
        let before = text(&client, STATE).await;
        watched(&mut client).await;
        if outbox {
            store::start_outbox(&client).await.unwrap();
        }
        assert_ne!(text(&client, STATE).await, before);
        let planned = store::uninstall(&mut client, &[], true).await.unwrap();
        assert_eq!(removed(&mut client).await, planned, "a dry run tells the very statements");
        assert_eq!(planned.obstacles, Vec::<String>::new());
        assert_eq!(text(&client, STATE).await, before, "outbox: {outbox}");
        assert_eq!(removed(&mut client).await, Uninstall::default(), "and then there is nothing to do");
        watched(&mut client).await;
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_its_statements_do_the_same_by_hand() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    let before = text(&client, STATE).await;
    watched(&mut client).await;
    let installed = text(&client, STATE).await;
    let planned = store::uninstall(&mut client, &[], true).await.unwrap();
    assert_eq!(text(&client, STATE).await, installed);
    client.batch_execute(&planned.statements.join(";")).await.unwrap();
    assert_eq!(text(&client, STATE).await, before);
}

#[tokio::test]
async fn slots_of_the_pool_are_dropped_and_others_are_named() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    store::migrate(&mut client).await.unwrap();
    let (ours, theirs) = (database.role("pool"), database.role("other"));
    for slot in [&ours, &theirs] {
        let made = format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        client.batch_execute(&made).await.unwrap();
    }
    let done = store::uninstall(&mut client, std::slice::from_ref(&ours), false).await.unwrap();
    assert_eq!(done.slots, [format!("select pg_catalog.pg_drop_replication_slot('{ours}')")]);
    assert!(done.leaves.iter().any(|line| line.contains(&theirs)), "{:?}", done.leaves);
    let left = "select string_agg(slot_name, ' ') from pg_replication_slots where database = current_database()";
    assert_eq!(text(&client, left).await, theirs);
    client.batch_execute(&format!("select pg_drop_replication_slot('{theirs}')")).await.unwrap();
}

#[tokio::test]
async fn nothing_is_removed_while_an_engine_reads_the_outbox() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    store::migrate(&mut client).await.unwrap();
    store::start_outbox(&client).await.unwrap();
    client.batch_execute("select rowcast.open_outbox('engine one')").await.unwrap();
    let error = store::uninstall(&mut client, &[], false).await.unwrap_err();
    assert_eq!(error.code(), "UNINSTALL_BLOCKED");
    assert!(error.to_string().contains("engine one"), "{error}");
    let planned = store::uninstall(&mut client, &[], true).await.unwrap();
    assert_eq!(planned.obstacles.len(), 1, "a dry run reports it too: {planned:?}");
    client.batch_execute("select rowcast.leave_outbox('engine one')").await.unwrap();
    removed(&mut client).await;
}

#[tokio::test]
async fn what_is_not_rowcasts_is_not_dropped_with_the_schema() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    store::migrate(&mut client).await.unwrap();
    for (made, name, gone) in [
        ("create table rowcast.users (id serial primary key)", "users", "drop table rowcast.users"),
        (
            "create table public.orders (id int) partition by list (id);
             create table rowcast.orders_2026 partition of public.orders for values in (1)",
            "table rowcast.orders_2026",
            "drop table public.orders",
        ),
        ("create sequence rowcast.numbers", "sequence rowcast.numbers", "drop sequence rowcast.numbers"),
        (
            "create function rowcast.publish(id int) returns int language sql as 'select 1'",
            "function rowcast.publish(integer)",
            "drop function rowcast.publish(int)",
        ),
        ("create type rowcast.state as enum ('new')", "type rowcast.state", "drop type rowcast.state"),
        ("create type rowcast.pair as (a int, b int)", "type rowcast.pair", "drop type rowcast.pair"),
        ("create domain rowcast.code as text", "type rowcast.code", "drop domain rowcast.code"),
        ("create collation rowcast.plain from \"C\"", "collation rowcast.plain", "drop collation rowcast.plain"),
        (
            "create text search configuration rowcast.words (copy = simple)",
            "text search configuration rowcast.words",
            "drop text search configuration rowcast.words",
        ),
        (
            "create table public.t (id int);
             create function public.stamp() returns trigger language plpgsql as 'begin return new; end';
             create trigger late before insert on public.t for each row
                 when (rowcast.timeline() is null) execute function public.stamp()",
            "trigger late on table",
            "drop table public.t; drop function public.stamp()",
        ),
        ("create view public.named as select 'rowcast'::regnamespace", "public.named", "drop view public.named"),
        ("create extension pg_trgm schema rowcast", "extension pg_trgm", "drop extension pg_trgm"),
        ("create view public.health as select * from rowcast.status()", "health", "drop view public.health"),
        ("create table public.log (at pg_lsn default rowcast.publish('t', '1'))", "log", "drop table public.log"),
    ] {
        client.batch_execute(made).await.unwrap();
        let error = store::uninstall(&mut client, &[], false).await.unwrap_err();
        assert_eq!(error.code(), "UNINSTALL_BLOCKED", "{made}");
        assert!(error.to_string().contains(name), "{error}");
        client.batch_execute(gone).await.unwrap();
    }
    removed(&mut client).await;
}

#[tokio::test]
async fn a_trigger_is_rowcasts_own_only_if_its_function_is() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    store::migrate(&mut client).await.unwrap();
    client
        .batch_execute(
            "create table t (id int primary key);
             create function rowcast.stamp() returns trigger language plpgsql as 'begin return new; end';
             create trigger stamped before insert on t for each row execute function rowcast.stamp()",
        )
        .await
        .unwrap();
    let planned = store::uninstall(&mut client, &[], true).await.unwrap();
    assert_eq!(planned.obstacles.len(), 2, "the function and what needs it: {planned:?}");
    assert!(!planned.statements.iter().any(|statement| statement.contains("stamped")), "{planned:?}");
    client.batch_execute("alter function rowcast.stamp() set schema public").await.unwrap();
    removed(&mut client).await;
    assert_eq!(text(&client, "select string_agg(tgname, ' ') from pg_trigger where not tgisinternal").await, "stamped");
}

#[tokio::test]
async fn a_schema_of_a_development_version_can_be_removed_and_made_anew() {
    let database = Database::empty().await;
    let mut client = database.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    watched(&mut client).await;
    // What such a version lacks, and a history that this one does not know.
    client
        .batch_execute(
            "drop function rowcast.restore_identity(regclass), rowcast.identity_changes(regclass);
             drop table rowcast.former_identity, rowcast.outbox_reader;
             update rowcast.migration set checksum = '1', name = 'watched_tables'",
        )
        .await
        .unwrap();
    let divergent = store::migrate(&mut client).await.unwrap_err();
    assert_eq!(divergent.code(), "SCHEMA_DIVERGENT");
    assert!(divergent.to_string().contains("rowcast uninstall"), "{divergent}");
    let done = removed(&mut client).await;
    assert!(
        done.leaves.iter().any(|line| line.contains("public.orders")),
        "identities are not known: {:?}",
        done.leaves
    );
    watched(&mut client).await;
}

#[tokio::test]
async fn unwatch_restores_the_identity_that_watch_replaced_and_no_other() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute(TABLES).await.unwrap();
    let before = text(&client, STATE).await;
    for table in ["orders", "logs", "items", "p", "mine"] {
        store::watch(&client, &request(table)).await.unwrap();
        store::watch(&client, &request(table)).await.unwrap();
    }
    client.batch_execute("create table p3 partition of p for values in (3)").await.unwrap();
    store::watch(&client, &request("p")).await.unwrap();
    for table in ["orders", "logs", "items", "p", "mine"] {
        assert!(store::unwatch(&client, table).await.unwrap(), "{table}");
    }
    client.batch_execute("drop table p3").await.unwrap();
    assert_eq!(text(&client, STATE).await, before);
    assert_eq!(text(&client, "select count(*)::text from rowcast.former_identity").await, "0");
}

#[tokio::test]
async fn an_identity_that_others_changed_or_need_stays() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table a (id int primary key); create table b (id int primary key)").await.unwrap();
    for table in ["a", "b"] {
        store::watch(&client, &request(table)).await.unwrap();
    }
    client
        .batch_execute("alter table a replica identity nothing; create publication theirs for table b")
        .await
        .unwrap();
    for table in ["a", "b"] {
        store::unwatch(&client, table).await.unwrap();
    }
    let identities = "select string_agg(format('%s%s', relname, relreplident), ' ' order by relname) from pg_class where relname in ('a', 'b')";
    assert_eq!(text(&client, identities).await, "an bf");
}

#[tokio::test]
async fn a_former_index_that_is_no_longer_fit_leaves_the_default() {
    let unfit = [
        "create index items_sku on items (sku)",
        "create unique index items_sku on items (sku) where id > 0",
        "create unique index items_sku on items (lower(sku))",
        "create unique index items_sku on items (id, note)",
        "alter table items add constraint items_sku unique (sku) deferrable",
        "create unique index items_sku on items (sku); update pg_index set indisvalid = false where indexrelid = 'items_sku'::regclass",
    ];
    for (made, identity) in unfit.map(|made| (made, "d")).into_iter().chain([FIT]) {
        let (_database, client) = Database::migrated().await;
        client.batch_execute(TABLES).await.unwrap();
        store::watch(&client, &request("items")).await.unwrap();
        let again = format!("alter table items add note text; alter table items drop constraint items_sku; {made}");
        client.batch_execute(&again).await.unwrap();
        assert!(store::unwatch(&client, "items").await.unwrap(), "{made}");
        let now = "select relreplident::text from pg_class where relname = 'items'";
        assert_eq!(text(&client, now).await, identity, "{made}");
    }
}

/// Columns that are only included may be null.
const FIT: (&str, &str) = ("create unique index items_sku on items (sku) include (note)", "i");

/// An uninstall that waited for a lock would have every other session of that table wait behind it.
#[tokio::test]
async fn nothing_is_removed_and_no_session_waits_for_long_while_a_table_is_in_use() {
    let database = Database::empty().await;
    let (mut client, holder) = (database.connect().await, database.connect().await);
    client.batch_execute(TABLES).await.unwrap();
    watched(&mut client).await;
    let installed = text(&client, STATE).await;
    holder.batch_execute("begin; lock table orders, logs, items in access share mode").await.unwrap();
    let error = tokio::time::timeout(PATIENCE, store::uninstall(&mut client, &[], false)).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "LOCKED", "{error}");
    holder.batch_execute("rollback").await.unwrap();
    assert_eq!(text(&holder, STATE).await, installed);
    removed(&mut client).await;
}

#[tokio::test]
async fn an_uninstall_waits_for_a_migration_and_for_a_watch_that_are_under_way() {
    const WAITS: &str = "select (count(*) > 0)::text from pg_stat_activity
        where wait_event_type = 'Lock' and wait_event = 'advisory' and datname = current_database()";
    for lock in [0, 1] {
        let database = Database::empty().await;
        let (mut client, holder) = (database.connect().await, database.connect().await);
        store::migrate(&mut client).await.unwrap();
        let observer = database.connect().await;
        holder.batch_execute(&format!("begin; select pg_advisory_xact_lock(1919907683, {lock})")).await.unwrap();
        let removing = tokio::spawn(async move { store::uninstall(&mut client, &[], false).await });
        while text(&observer, WAITS).await != "true" {
            assert!(!removing.is_finished(), "lock {lock} is not waited for");
        }
        holder.batch_execute("rollback").await.unwrap();
        assert_ne!(removing.await.unwrap().unwrap(), Uninstall::default());
    }
}
