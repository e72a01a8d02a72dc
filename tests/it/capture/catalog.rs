//! `Tables::load`: what may be served, under which names.

use rowcast::catalog::CaptureMode;
use rowcast::catalog::{CatalogError, Tables};
use rowcast::graphql::Naming;
use rowcast::model::{Column, ReplicaIdentity, Table};
use tokio_postgres::Client;

use crate::postgres::Database;

async fn load(client: &Client, setup: &str) -> Tables {
    client.batch_execute(setup).await.unwrap();
    Tables::load(client).await.unwrap()
}

fn columns<T>(table: &Table, of: fn(&Column) -> T) -> Vec<T> {
    table.columns.iter().map(of).collect()
}

#[tokio::test]
async fn a_table_is_described_in_full() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table order_items (
            tenant_id text not null, gone int, order_id int, line_no int, \"Unit Price\" numeric, primary key (order_id, line_no)
        );
        alter table order_items drop gone;
        alter table order_items enable row level security;
        comment on table order_items is 'What was ordered.';
        select rowcast.watch('order_items', 'tenant_id')";
    let tables = load(&client, setup).await;
    let table = tables.find("order_items").unwrap();
    assert_eq!(tables.by_oid[&table.oid], *table);
    assert_eq!(table.name.to_string(), "public.order_items");
    assert_eq!((table.type_name.as_str(), table.field.as_str()), ("OrderItems", "orderItems"));
    assert_eq!(columns(table, |column| column.field.clone()), ["tenantId", "orderId", "lineNo", "unitPrice"]);
    assert_eq!(columns(table, |column| column.not_null), [true, true, true, false]);
    assert_eq!(&*table.key, [1, 2]);
    assert_eq!(table.tenant, Some(0));
    assert!(table.access.row_security && !table.public);
    assert_eq!(table.identity, ReplicaIdentity::Full);
    assert_eq!(table.comment.as_deref(), Some("What was ordered."));
}

#[tokio::test]
async fn the_key_is_in_key_order_without_included_columns() {
    let (_database, client) = Database::migrated().await;
    let setup = "create table t (a int, b int, c int, primary key (c, a) include (b)); select rowcast.watch('t', public => true)";
    let tables = load(&client, setup).await;
    let table = tables.find("t").unwrap();
    assert_eq!(&*table.key, [2, 0]);
    assert!(table.public);
}

#[tokio::test]
async fn names_may_stay_as_in_the_database() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table order_items (order_id int primary key); select rowcast.watch('order_items', public => true)",
        )
        .await
        .unwrap();
    let tables = Tables::load_named(&client, Naming::Database, CaptureMode::Wal).await.unwrap();
    let table = tables.find("order_items").unwrap();
    assert_eq!((table.type_name.as_str(), table.field.as_str()), ("order_items", "order_items"));
    assert_eq!(table.columns[0].field, "order_id");
}

#[tokio::test]
async fn a_table_that_makes_no_graphql_type_is_left_out_alone_with_its_reason() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table t (id int primary key, user_id int, \"userId\" int); create table empty (); create table u (id int);
        create schema other; create table other.t (id int);
        select rowcast.watch('t'), rowcast.watch('empty'), rowcast.watch('u'), rowcast.watch('other.t')";
    let tables = load(&client, setup).await;
    assert_eq!(tables.iter().map(|table| table.name.to_string()).collect::<Vec<_>>(), ["other.t", "public.u"]);
    for (written, code, named) in [("t", "NAME_COLLISION", "public.t.userId"), ("empty", "NO_COLUMNS", "column")] {
        let problem = tables.problems.iter().find(|problem| problem.unserved && problem.table.name == written).unwrap();
        assert!(problem.code == code && problem.hint.contains(named), "{problem:?}");
        let error = tables.find(written).unwrap_err();
        assert_eq!(error.code(), "TABLE_NOT_SERVED", "no other table of that name takes its place");
        assert!(error.to_string().contains(code), "{error}");
    }
    let tables = Tables::load_named(&client, Naming::Database, CaptureMode::Wal).await.unwrap();
    assert!(tables.find("t").is_ok());
}

#[tokio::test]
async fn tables_of_one_name_in_graphql_are_both_known() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table order_items (id int primary key); create table \"OrderItems\" (id int primary key);
        select rowcast.watch('order_items'), rowcast.watch('\"OrderItems\"')";
    let tables = load(&client, setup).await;
    assert_eq!(tables.find("order_items").unwrap().field, tables.find("OrderItems").unwrap().field);
}

#[tokio::test]
async fn a_table_is_read_as_if_it_were_watched() {
    let (_database, client) = Database::migrated().await;
    let setup =
        "create table t (id int, part int, v text, primary key (part, id)); create table bad (v int, \"V\" int)";
    client.batch_execute(setup).await.unwrap();
    let planned = rowcast::store::relation(&client, "t").await.unwrap();
    let load = |oid| Tables::load_with(&client, Naming::Camel, CaptureMode::Wal, std::slice::from_ref(oid));
    let before = load(&planned).await.unwrap();
    client.batch_execute("select rowcast.watch('t')").await.unwrap();
    let after = Tables::load(&client).await.unwrap();
    let shape =
        |tables: &Tables| tables.find("t").map(|t| (t.oid, t.columns.clone(), t.key.clone(), t.identity)).unwrap();
    assert_eq!(shape(&before), shape(&after));
    let bad = rowcast::store::relation(&client, "bad").await.unwrap();
    assert_eq!(load(&bad).await.unwrap_err().code(), "TABLE_NOT_SERVED");
}

#[tokio::test]
async fn tables_are_found_as_sql_finds_them() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create schema \"My Schema\"; create schema app; create schema lib;
        create table orders (id int primary key); create table \"My Schema\".\"T\" (id int primary key);
        create table app.logs (id int primary key);
        select rowcast.watch('orders'), rowcast.watch('\"My Schema\".\"T\"'), rowcast.watch('app.logs')";
    let tables = load(&client, setup).await;
    for (written, found) in [
        ("orders", "public.orders"),
        ("Orders", "public.orders"),
        ("PUBLIC.orders", "public.orders"),
        ("\"My Schema\".\"T\"", "My Schema.T"),
        ("T", "My Schema.T"),
        ("logs", "app.logs"),
    ] {
        assert_eq!(tables.find(written).unwrap().name.to_string(), found, "{written}");
    }
    for written in ["\"Orders\"", "lib.orders", "app.public.orders", "", "\"", "nothing"] {
        assert_eq!(tables.find(written).unwrap_err().code(), "UNKNOWN_TABLE", "{written}");
    }
    assert!(tables.by_name("My Schema", "T").is_some());
    assert_eq!(tables.iter().count(), 3);
}

#[tokio::test]
async fn a_watched_table_that_does_not_stream_is_left_out_and_told() {
    let (_database, client) = Database::migrated().await;
    let setup = "create table t (id int primary key); select rowcast.watch('t', public => true); alter publication rowcast drop table t";
    let tables = load(&client, setup).await;
    assert!(tables.by_oid.is_empty());
    assert_eq!(tables.problems.len(), 1);
    assert_eq!((tables.problems[0].code.as_str(), tables.problems[0].unserved), ("NOT_PUBLISHED", true));
    assert!(tables.problems[0].hint.contains("rowcast.watch"));
}

#[tokio::test]
async fn a_lost_tenant_column_never_makes_a_table_open() {
    let (_database, client) = Database::migrated().await;
    let setup = "create table t (id int primary key, tenant text); select rowcast.watch('t', 'tenant'); alter table t drop tenant";
    let tables = load(&client, setup).await;
    assert!(tables.by_oid.is_empty());
    assert_eq!(tables.problems[0].code, "TENANT_COLUMN_LOST");
}

#[tokio::test]
async fn a_tenant_column_that_only_postgresql_can_compare_serves_no_table() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create collation folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create domain team as char(4);
        create table folds (id int primary key, tenant text collate folded);
        create table fits (id int primary key, tenant team);
        select rowcast.watch(t, 'tenant') from unnest('{folds,fits}'::regclass[]) t";
    let tables = load(&client, setup).await;
    assert_eq!(tables.iter().map(|table| table.name.name.as_str()).collect::<Vec<_>>(), ["fits"]);
    let problems: Vec<_> = tables.problems.iter().filter(|problem| problem.unserved).collect();
    assert_eq!(problems.iter().map(|problem| problem.table.name.as_str()).collect::<Vec<_>>(), ["folds"]);
    assert!(problems.iter().all(|problem| problem.code == "TENANT_COLUMN_INCOMPARABLE"));
    assert!(problems[0].hint.contains("not deterministic") && problems[0].hint.contains("tenant"));
}

/// Generated ones, before 18.
#[tokio::test]
async fn columns_that_the_stream_lacks_are_left_out() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table t (id int primary key, twice int generated always as (id * 2) stored, after text);
        select rowcast.watch('t', public => true)";
    let tables = load(&client, setup).await;
    let sent = if version(&client).await < 180_000 { &["id", "after"][..] } else { &["id", "twice", "after"] };
    assert_eq!(columns(tables.find("t").unwrap(), |column| column.name.clone()), sent);
}

async fn version(client: &Client) -> i32 {
    client.query_one("select current_setting('server_version_num')::int", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_column_list_is_obeyed_and_never_opens_a_table() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table t (id int primary key, tenant text, secret text); select rowcast.watch('t', 'tenant', replica_identity => 'keep');
        alter publication rowcast set table t (id, tenant)";
    let tables = load(&client, setup).await;
    assert_eq!(columns(tables.find("t").unwrap(), |column| column.name.clone()), ["id", "tenant"]);
    let tables = load(&client, "alter publication rowcast set table t (id, secret)").await;
    assert!(tables.by_oid.is_empty());
    let codes: Vec<&str> = tables.problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["IDENTITY_NOT_FULL", "COLUMN_LIST", "COLUMN_NOT_SENT"]);
}

#[tokio::test]
async fn postgresql_18_sends_stored_columns_and_virtual_ones_never() {
    let (_database, client) = Database::migrated().await;
    if version(&client).await < 180_000 {
        return;
    }
    let setup = "
        create table t (id int primary key, s int generated always as (id * 2) stored, v int generated always as (id * 3) virtual,
                        maybe int);
        alter table t add constraint n not null maybe not valid;
        select rowcast.watch('t', public => true, replica_identity => 'keep')";
    let tables = load(&client, setup).await;
    let table = tables.find("t").unwrap();
    assert_eq!(columns(table, |column| column.name.clone()), ["id", "s", "maybe"]);
    assert!(!table.columns[2].not_null, "a constraint that is not validated promises nothing");
}

#[tokio::test]
async fn a_partitioned_table_is_one_table() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1);
        select rowcast.watch('p', public => true)";
    let tables = load(&client, setup).await;
    assert_eq!(tables.by_oid.len(), 1);
    assert_eq!(tables.find("p").unwrap().identity, ReplicaIdentity::Full);
    let tables = load(&client, "create table p2 partition of p for values in (2)").await;
    assert_eq!(tables.find("p").unwrap().identity, ReplicaIdentity::Default, "the weakest member counts");
}

#[tokio::test]
async fn nothing_watched_is_an_empty_catalog() {
    let (_database, client) = Database::migrated().await;
    let tables = Tables::load(&client).await.unwrap();
    assert!(tables.by_oid.is_empty() && tables.problems.is_empty());
    assert!(matches!(tables.find("orders"), Err(CatalogError::UnknownTable(_))));
}

#[tokio::test]
async fn a_failed_load_leaves_the_client_usable() {
    let database = Database::empty().await;
    let client = database.connect().await;
    assert_eq!(Tables::load(&client).await.unwrap_err().code(), "NOT_MIGRATED");
    client.batch_execute("create table still_writable ()").await.unwrap();
}

#[tokio::test]
async fn a_table_that_somebody_alters_does_not_hold_up_the_catalog() {
    let (database, client) = Database::migrated().await;
    let setup = "
        create table t (id int primary key); select rowcast.watch('t', public => true);
        create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1);
        select rowcast.watch('p', public => true)";
    load(&client, setup).await;
    let mut other = database.connect().await;
    let holder = other.transaction().await.unwrap();
    holder.batch_execute("lock table t, p in access exclusive mode").await.unwrap();
    let tables = load(&client, "set lock_timeout = '1s'").await;
    assert_eq!(tables.by_oid.len(), 2);
    assert!(rowcast::store::status(&client).await.unwrap().iter().all(|line| line.ok));
}

#[tokio::test]
async fn a_hostile_search_path_changes_nothing() {
    let (_database, client) = Database::migrated().await;
    let setup = "
        create table t (id int primary key); select rowcast.watch('t', public => true);
        create schema evil; create table evil.pg_type (oid oid); create table evil.pg_attribute (attrelid oid);
        create function evil.array(anyarray) returns text language sql as 'select null';
        set search_path = evil, pg_catalog, public";
    let tables = load(&client, setup).await;
    assert_eq!(tables.find("t").unwrap().columns.len(), 1);
}
