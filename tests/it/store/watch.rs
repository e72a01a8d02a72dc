//! `rowcast.watch` and `rowcast.unwatch`: what they do, and that they do it once.

use rowcast::catalog::Tables;
use rowcast::store::{self, ReplicaIdentityChoice, WatchRequest};
use tokio_postgres::Client;

use crate::postgres::Database;

pub(crate) fn request(relation: &str) -> WatchRequest {
    WatchRequest { relation: relation.to_owned(), ..WatchRequest::default() }
}

pub(crate) async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get::<_, Option<String>>(0).unwrap_or_default()
}

async fn published(client: &Client) -> String {
    text(client, "select string_agg(format('%I.%I', schemaname, tablename), ' ' order by 1) from pg_publication_tables")
        .await
}

#[tokio::test]
async fn watch_does_all_that_following_needs() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key, tenant_id text)").await.unwrap();
    let request = WatchRequest { tenant_column: Some("tenant_id".into()), ..request("orders") };
    assert!(store::watch(&client, &request).await.unwrap());
    assert_eq!(published(&client).await, "public.orders");
    assert_eq!(text(&client, "select relreplident::text from pg_class where oid = 'orders'::regclass").await, "f");
    assert_eq!(text(&client, "select tenant_attnum::text from rowcast.tables").await, "2");
}

#[tokio::test]
async fn watch_again_changes_nothing_and_takes_no_lock() {
    let (database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key, tenant_id text)").await.unwrap();
    let request = WatchRequest { tenant_column: Some("tenant_id".into()), ..request("orders") };
    assert!(store::watch(&client, &request).await.unwrap());
    let mut other = database.connect().await;
    let holder = other.transaction().await.unwrap();
    holder
        .batch_execute("lock table orders in access exclusive mode; select pg_advisory_xact_lock(1919907683, 1)")
        .await
        .unwrap();
    client.batch_execute("set lock_timeout = '1s'").await.unwrap();
    assert!(!store::watch(&client, &request).await.unwrap());
}

#[tokio::test]
async fn watch_again_changes_the_settings() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key, a text, b text)").await.unwrap();
    let tenant = |name: &str| WatchRequest { tenant_column: Some(name.into()), ..request("orders") };
    assert!(store::watch(&client, &tenant("a")).await.unwrap());
    assert!(store::watch(&client, &tenant("b")).await.unwrap());
    assert_eq!(text(&client, "select tenant_attnum::text from rowcast.tables").await, "3");
    assert!(store::watch(&client, &WatchRequest { public: true, ..request("orders") }).await.unwrap());
    assert_eq!(text(&client, "select public::text || count(*) over () from rowcast.tables").await, "true1");
}

#[tokio::test]
async fn names_of_every_kind_are_quoted_right() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create schema \"My Schema\"; create schema \"select\"").await.unwrap();
    for (table, column) in [
        ("\"Orders\"", "Tenant"),
        ("\"My Schema\".\"with space\"", "tenant id"),
        ("\"My Schema\".\"say \"\"hi\"\"\"", "a\"b"),
        ("\"select\".\"table\"", "user"),
        ("\"it's\"", "o'clock"),
        ("\"; drop table rowcast.watched; --\"", "%I"),
        ("\"日本\"", "größe"),
    ] {
        let quoted = column.replace('"', "\"\"");
        client.batch_execute(&format!("create table {table} (id int primary key, \"{quoted}\" text)")).await.unwrap();
        let request = WatchRequest { tenant_column: Some(column.into()), ..request(table) };
        assert!(store::watch(&client, &request).await.unwrap(), "{table}");
        assert!(!store::watch(&client, &request).await.unwrap(), "{table}");
    }
    assert_eq!(text(&client, "select count(*)::text from rowcast.tables where problems = '{}'").await, "7");
    for table in ["\"Orders\"", "\"My Schema\".\"say \"\"hi\"\"\"", "\"select\".\"table\"", "\"日本\""] {
        assert!(store::unwatch(&client, table).await.unwrap(), "{table}");
    }
    assert_eq!(text(&client, "select count(*)::text from pg_publication_tables").await, "3");
    let lines = store::status(&client).await.unwrap();
    assert!(lines.iter().any(|line| line.name == "table \"My Schema\".\"with space\"" && line.ok), "{lines:#?}");
}

#[tokio::test]
async fn the_callers_search_path_finds_the_table() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute("create schema app; create table app.t (id int primary key); set search_path = app")
        .await
        .unwrap();
    assert!(store::watch(&client, &request("t")).await.unwrap());
    assert_eq!(published(&client).await, "app.t");
}

#[tokio::test]
async fn a_rename_of_table_or_column_is_followed() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key, tenant_id text)").await.unwrap();
    store::watch(&client, &WatchRequest { tenant_column: Some("tenant_id".into()), ..request("orders") })
        .await
        .unwrap();
    client
        .batch_execute("alter table orders rename to sales; alter table sales rename tenant_id to org_id")
        .await
        .unwrap();
    let now = text(&client, "select format('%s %s %s', name, tenant_attnum, problems) from rowcast.tables").await;
    assert_eq!(now, "sales 2 {}");
    client.batch_execute("alter table sales add tenant_id text").await.unwrap();
    let now = text(&client, "select format('%s %s', tenant_attnum, problems) from rowcast.tables").await;
    assert_eq!(now, " {tenant_column_lost}", "two candidates are none");
}

#[tokio::test]
async fn a_restored_dump_follows_the_name_of_the_tenant_column() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute("create table orders (id int primary key, gone int, other text, tenant_id text)")
        .await
        .unwrap();
    client.batch_execute("alter table orders drop gone").await.unwrap();
    store::watch(&client, &WatchRequest { tenant_column: Some("tenant_id".into()), ..request("orders") })
        .await
        .unwrap();
    // What pg_dump keeps of the row: the names. The restored table has another oid and no gap.
    client
        .batch_execute(
            "create table restored (id int primary key, other text, tenant_id text, more text);
             update rowcast.watched set relation = 'restored'",
        )
        .await
        .unwrap();
    assert_eq!(text(&client, "select tenant_attnum::text from rowcast.tables").await, "3");
}

#[tokio::test]
async fn unwatch_takes_the_table_out_once() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    store::watch(&client, &request("orders")).await.unwrap();
    assert!(store::unwatch(&client, "public.orders").await.unwrap());
    assert!(!store::unwatch(&client, "public.orders").await.unwrap());
    assert_eq!(published(&client).await, "");
    client.batch_execute("select rowcast.watch('orders'); select rowcast.unwatch('orders'::regclass)").await.unwrap();
    assert_eq!(published(&client).await, "");
}

#[tokio::test]
async fn a_dropped_table_is_forgotten_and_can_be_unwatched() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table a (id int primary key); create table b (id int primary key)").await.unwrap();
    store::watch(&client, &request("a")).await.unwrap();
    store::watch(&client, &request("b")).await.unwrap();
    client.batch_execute("drop table a").await.unwrap();
    assert_eq!(text(&client, "select string_agg(name, ' ') from rowcast.tables").await, "b");
    assert!(store::unwatch(&client, "public.a").await.unwrap());
    client.batch_execute("drop table b; create table b (id int primary key)").await.unwrap();
    assert!(store::watch(&client, &request("b")).await.unwrap());
    assert_eq!(text(&client, "select count(*)::text from rowcast.watched").await, "1");
    client.batch_execute("drop table b; select rowcast.unwatch(relation) from rowcast.watched").await.unwrap();
    assert_eq!(text(&client, "select count(*)::text from rowcast.watched").await, "0");
}

#[tokio::test]
async fn unwatch_of_an_ambiguous_name_asks_for_the_schema() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create schema app; create table app.t (id int primary key); create table t (id int primary key);
             select rowcast.watch('app.t'), rowcast.watch('public.t')",
        )
        .await
        .unwrap();
    assert_eq!(store::unwatch(&client, "t").await.unwrap_err().code(), "INVALID_ARGUMENT");
    assert!(store::unwatch(&client, "app.t").await.unwrap());
    assert!(store::unwatch(&client, "t").await.unwrap());
}

#[tokio::test]
async fn a_partitioned_table_is_followed_down_to_its_leaves() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table p (id int, at date, primary key (id, at)) partition by range (at);
             create table p_old partition of p for values from ('2020-01-01') to ('2021-01-01') partition by list (id);
             create table p_old_1 partition of p_old for values in (1);
             create table p_new partition of p for values from ('2021-01-01') to ('2022-01-01');",
        )
        .await
        .unwrap();
    assert!(store::watch(&client, &request("p")).await.unwrap());
    let full = "select string_agg(relname, ' ' order by relname) from pg_class where relkind in ('r', 'p') and relreplident = 'f'";
    assert_eq!(text(&client, full).await, "p p_new p_old p_old_1");
    assert_eq!(published(&client).await, "public.p", "changes carry the root");

    client
        .batch_execute("create table p_later partition of p for values from ('2022-01-01') to ('2023-01-01')")
        .await
        .unwrap();
    let problems = "select problems::text from rowcast.tables";
    assert_eq!(text(&client, problems).await, "{identity_not_full,nobody_may_subscribe}");
    assert!(store::watch(&client, &request("p")).await.unwrap(), "watch again repairs");
    assert_eq!(text(&client, problems).await, "{nobody_may_subscribe}");
}

#[tokio::test]
async fn a_later_partition_without_any_identity_is_a_problem() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table p (id int) partition by list (id); select rowcast.watch('p', public => true);
             create table p1 partition of p for values in (1)",
        )
        .await
        .unwrap();
    let problems = "select problems::text from rowcast.tables";
    assert_eq!(text(&client, problems).await, "{identity_missing,no_primary_key}");
    client.batch_execute("insert into p values (1)").await.unwrap();
    assert!(client.batch_execute("update p set id = 1").await.is_err(), "this is why it matters");
    assert!(store::watch(&client, &WatchRequest { public: true, ..request("p") }).await.unwrap());
    client.batch_execute("update p set id = 1").await.unwrap();
}

#[tokio::test]
async fn keep_leaves_the_identity_alone() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    let keep = WatchRequest { replica_identity: ReplicaIdentityChoice::Keep, ..request("orders") };
    assert!(store::watch(&client, &keep).await.unwrap());
    assert!(!store::watch(&client, &keep).await.unwrap());
    assert_eq!(text(&client, "select relreplident::text from pg_class where oid = 'orders'::regclass").await, "d");
    assert!(store::watch(&client, &request("orders")).await.unwrap(), "and it can be made full later");
}

#[tokio::test]
async fn a_table_that_left_the_publication_comes_back() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    store::watch(&client, &request("orders")).await.unwrap();
    client.batch_execute("alter publication rowcast drop table orders").await.unwrap();
    assert!(text(&client, "select problems::text from rowcast.tables").await.contains("not_published"));
    assert!(store::watch(&client, &request("orders")).await.unwrap());
    client.batch_execute("drop publication rowcast").await.unwrap();
    assert!(store::ensure_publication(&client).await.unwrap());
    assert!(!store::ensure_publication(&client).await.unwrap());
    assert_eq!(published(&client).await, "public.orders");
}

#[tokio::test]
async fn a_row_filter_or_column_list_of_somebody_else_is_taken_off() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table a (id int primary key, x int); create table b (id int primary key, x int);
             alter publication rowcast add table a (id); alter publication rowcast add table b where (id > 1)",
        )
        .await
        .unwrap();
    for table in ["a", "b"] {
        let request = WatchRequest { public: true, ..request(table) };
        assert!(store::watch(&client, &request).await.unwrap());
        assert!(!store::watch(&client, &request).await.unwrap());
    }
    assert_eq!(text(&client, "select string_agg(problems::text, '') from rowcast.tables").await, "{}{}");
}

#[tokio::test]
async fn watch_works_while_others_write() {
    let (database, client) = Database::migrated().await;
    client
        .batch_execute("create table orders (id int primary key); alter table orders replica identity full")
        .await
        .unwrap();
    let mut writer = database.connect().await;
    let open = writer.transaction().await.unwrap();
    open.batch_execute("insert into orders values (1)").await.unwrap();
    client.batch_execute("set lock_timeout = '2s'").await.unwrap();
    assert!(store::watch(&client, &request("orders")).await.unwrap(), "publishing does not wait for writers");
    open.batch_execute("insert into orders values (2)").await.unwrap();
    open.commit().await.unwrap();
}

#[tokio::test]
async fn watch_gives_up_behind_a_long_transaction_and_says_so() {
    let (database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    let mut writer = database.connect().await;
    let open = writer.transaction().await.unwrap();
    open.batch_execute("insert into orders values (1)").await.unwrap();
    client.batch_execute("set lock_timeout = '100ms'").await.unwrap();
    let error = store::watch(&client, &request("orders")).await.unwrap_err();
    assert_eq!(error.code(), "LOCKED");
    assert!(error.is_transient());
    assert!(error.to_string().contains("orders"), "{error}");
    assert_eq!(text(&client, "select count(*)::text from rowcast.watched").await, "0", "all or nothing");
    open.commit().await.unwrap();
    assert!(store::watch(&client, &request("orders")).await.unwrap());
    assert_eq!(text(&client, "show lock_timeout").await, "100ms");
}

#[tokio::test]
async fn many_may_watch_at_once() {
    let (database, client) = Database::migrated().await;
    client.batch_execute("create table a (id int primary key); create table b (id int primary key)").await.unwrap();
    let mut running = Vec::new();
    for number in 0..10 {
        let client = database.connect().await;
        let request = request(if number % 2 == 0 { "a" } else { "b" });
        running.push(tokio::spawn(async move { store::watch(&client, &request).await }));
    }
    for run in running {
        run.await.unwrap().unwrap();
    }
    assert_eq!(published(&client).await, "public.a public.b");
}

#[tokio::test]
async fn the_stream_is_told_at_the_right_position() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table orders (id int primary key)").await.unwrap();
    client
        .query("select pg_create_logical_replication_slot('told_' || current_database(), 'test_decoding')", &[])
        .await
        .unwrap();
    client.batch_execute("begin; select rowcast.watch('orders'); insert into orders values (1); commit").await.unwrap();
    store::watch(&client, &request("orders")).await.unwrap();
    store::unwatch(&client, "orders").await.unwrap();
    let told =
        "select string_agg(data, e'\\n') from pg_logical_slot_get_changes('told_' || current_database(), null, null)
                where data like 'message%' or data like 'table public.%'";
    let told = text(&client, told).await;
    client.query("select pg_drop_replication_slot('told_' || current_database())", &[]).await.unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 5, "{told}");
    assert!(lines[0].contains("prefix: rowcast.catalog") && lines[0].contains("\"change\" : \"watch\""), "{told}");
    // Without it what follows a message of a savepoint could be decoded before the message.
    assert!([lines[1], lines[4]].iter().all(|line| line.contains("prefix: rowcast.space")), "{told}");
    assert!(lines[2].contains("table public.orders: INSERT"), "{told}");
    assert!(lines[3].contains("\"change\" : \"unwatch\""), "{told}");
}

#[tokio::test]
async fn a_watched_table_that_becomes_a_partition_of_a_watched_one_is_not_served() {
    let (_database, client) = Database::migrated().await;
    let tables = "create table root (id int not null) partition by range (id); create table part (id int not null);
                  select rowcast.watch('root', public => true), rowcast.watch('part', public => true)";
    client.batch_execute(tables).await.unwrap();
    assert_eq!(Tables::load(&client).await.unwrap().by_oid.len(), 2);
    client.batch_execute("alter table root attach partition part for values from (1) to (9)").await.unwrap();
    let tables = Tables::load(&client).await.unwrap();
    assert_eq!(tables.iter().map(|table| table.name.name.as_str()).collect::<Vec<_>>(), ["root"]);
    assert!(tables.problems.iter().any(|problem| problem.code == "DELIVERED_THROUGH_PARENT" && problem.unserved));
    client.batch_execute("select rowcast.unwatch('part')").await.unwrap();
    assert!(Tables::load(&client).await.unwrap().problems.iter().all(|problem| !problem.unserved));
}

#[tokio::test]
async fn a_root_and_its_partition_that_are_watched_at_once_are_not_both_watched() {
    let (database, client) = Database::migrated().await;
    let tables = "create table root (id int primary key) partition by range (id);
                  create table part partition of root for values from (1) to (9)";
    client.batch_execute(tables).await.unwrap();
    client.batch_execute("begin; select rowcast.watch('root')").await.unwrap();
    let other = database.connect().await;
    let pid = text(&other, "select pg_backend_pid()::text").await;
    let second = tokio::spawn(async move { other.batch_execute("select rowcast.watch('part')").await });
    let waits = format!("select exists (select from pg_locks where pid = {pid} and not granted)::text");
    while text(&client, &waits).await != "true" {
        tokio::task::yield_now().await;
    }
    client.batch_execute("commit").await.unwrap();
    assert_eq!(second.await.unwrap().unwrap_err().code().unwrap().code(), "RC004");
}

/// To set the same options again would look like an alteration, which is a GAP for every table.
#[tokio::test]
async fn of_two_engines_that_find_the_publication_altered_one_mends_it() {
    let (database, client) = Database::migrated().await;
    client.batch_execute("alter publication rowcast set (publish = 'insert')").await.unwrap();
    client.batch_execute("begin; select rowcast.ensure_publication()").await.unwrap();
    let other = database.connect().await;
    let pid = text(&other, "select pg_backend_pid()::text").await;
    let second = tokio::spawn(async move { text(&other, "select rowcast.ensure_publication()::text").await });
    let waits = format!("select exists (select from pg_locks where pid = {pid} and not granted)::text");
    while text(&client, &waits).await != "true" {
        tokio::task::yield_now().await;
    }
    client.batch_execute("commit").await.unwrap();
    assert_eq!(second.await.unwrap(), "false");
}

/// As statements lock them: in the other order a reader of the root could be chosen to end a deadlock.
#[tokio::test]
async fn identities_are_restored_from_the_root_down_also_where_a_partition_is_older() {
    let (_database, client) = Database::migrated().await;
    let tables =
        "create table older (id int primary key); create table root (id int primary key) partition by range (id);
                  alter table root attach partition older for values from (1) to (9); select rowcast.watch('root')";
    client.batch_execute(tables).await.unwrap();
    let order = "select string_agg(c.member::text, ' ' order by c.n)
                 from rowcast.identity_changes('root') with ordinality c (member, statement, needed_by, n)";
    assert_eq!(text(&client, order).await, "root older");
}
