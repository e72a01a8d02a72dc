//! `rowcast.status`: each thing that can be wrong has a line, and each bad line says what to do.

use rowcast::store::{self, StatusLine};
use tokio_postgres::Client;

use crate::postgres::Database;

async fn line(client: &Client, name: &str) -> StatusLine {
    let lines = store::status(client).await.unwrap();
    lines.iter().find(|line| line.name == name).unwrap_or_else(|| panic!("{name}: {lines:#?}")).clone()
}

#[tokio::test]
async fn a_fresh_database_is_well() {
    let (_database, client) = Database::migrated().await;
    for line in store::status(&client).await.unwrap() {
        assert!(line.ok || line.name == "wal_senders", "{line:?}");
    }
    let newest = store::migrations().len().to_string();
    assert_eq!(line(&client, "schema_version").await.value, newest);
    assert_eq!(line(&client, "wal_level").await.value, "logical");
}

#[tokio::test]
async fn a_bad_publication_is_told() {
    let (_database, client) = Database::migrated().await;
    for (damage, word) in [
        ("alter publication rowcast set (publish = 'insert')", "alter publication"),
        (
            "alter publication rowcast set (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)",
            "alter publication",
        ),
        (
            "drop publication rowcast; create publication rowcast for all tables with (publish_via_partition_root = true)",
            "ensure_publication",
        ),
        ("drop publication rowcast", "ensure_publication"),
    ] {
        client.batch_execute(damage).await.unwrap();
        let line = line(&client, "publication").await;
        assert!(!line.ok && line.hint.as_deref().unwrap().contains(word), "{damage}: {line:?}");
    }
}

#[tokio::test]
async fn slots_of_this_database_are_told_with_what_they_retain() {
    let (database, client) = Database::migrated().await;
    let slot = format!("slot_{}", database.name);
    client.query(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')"), &[]).await.unwrap();
    let line = line(&client, &format!("slot {slot}")).await;
    assert!(line.ok && line.value.contains("inactive") && line.value.contains("bytes of WAL retained"), "{line:?}");
    let (_other_database, other) = Database::migrated().await;
    assert!(store::status(&other).await.unwrap().iter().all(|line| !line.name.contains(&slot)));
    client.query(&format!("select pg_drop_replication_slot('{slot}')"), &[]).await.unwrap();
}

#[tokio::test]
async fn every_problem_of_a_table_is_told_with_its_remedy() {
    let (_database, client) = Database::migrated().await;
    let partitioned =
        "create table i (id int primary key) partition by list (id); select rowcast.watch('i', public => true);
                       create unlogged table i1 partition of i for values in (1)";
    let public = |table: &str| {
        format!("create table {table} (id int primary key, x int); select rowcast.watch('{table}', public => true)")
    };
    for (table, setup, word) in [
        ("a", "create table a (id int primary key); select rowcast.watch('a')".to_owned(), "every client is refused"),
        ("b", public("b") + "; alter table b drop id", "primary key"),
        ("c", public("c") + "; alter table c replica identity default", "replica_identity"),
        ("d", public("d") + "; alter table d replica identity nothing", "UPDATE and DELETE"),
        ("e", public("e") + "; alter publication rowcast drop table e", "not in publication"),
        ("f", public("f") + "; select rowcast.watch('f', 'x'); alter table f drop x", "tenant column"),
        ("g", public("g") + "; alter table g enable row level security", "policy"),
        ("h", public("h") + "; create table h2 () inherits (h)", "inherit"),
        ("i", partitioned.to_owned(), "unlogged"),
        (
            "j",
            public("j")
                + "; alter publication rowcast drop table j; alter publication rowcast add table j where (id > 1)",
            "row filter",
        ),
        (
            "k",
            public("k") + "; alter publication rowcast drop table k; alter publication rowcast add table k (id)",
            "column list",
        ),
    ] {
        client.batch_execute(&setup).await.unwrap();
        let line = line(&client, &format!("table public.{table}")).await;
        assert!(!line.ok && line.hint.as_deref().unwrap().contains(word), "{table}: {line:?}");
    }
    let hints = store::status(&client).await.unwrap();
    assert!(hints.iter().filter(|line| !line.ok).all(|line| line.hint.is_some()), "{hints:#?}");
}

#[tokio::test]
async fn a_published_table_that_nobody_watches_is_told() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table t (id int primary key); alter publication rowcast add table t").await.unwrap();
    assert!(!line(&client, "unwatched public.t").await.ok);
}

#[tokio::test]
async fn an_object_of_rowcast_that_depends_on_somebody_elses_is_named() {
    let (_database, client) = Database::migrated().await;
    let strange = "
        create schema app;
        create function app.ok(text) returns boolean language sql immutable as 'select true';
        create function app.fire() returns trigger language plpgsql as 'begin return null; end';
        create function app.contains(text[], text[]) returns boolean language sql as 'select true';
        create operator app.@> (leftarg = text[], rightarg = text[], function = app.contains);
        alter table rowcast.watched add constraint odd check (app.ok(relation_name));
        create trigger odd after insert on rowcast.watched for each statement execute function app.fire();
        create view rowcast.odd as select relation_name from rowcast.watched where array[relation_name] operator(app.@>) '{}'";
    client.batch_execute(strange).await.unwrap();
    let lines = store::status(&client).await.unwrap();
    let named: Vec<_> = lines.iter().filter(|line| line.name.starts_with("object ")).collect();
    assert_eq!(named.len(), 3, "{named:#?}");
    for (object, on) in [("constraint", "app.ok"), ("trigger", "app.fire"), ("rule", "app.@>")] {
        assert!(named.iter().any(|line| !line.ok && line.value.contains(on)), "{object}: {named:#?}");
        assert!(named.iter().all(|line| line.hint.as_deref().is_some_and(|hint| hint.contains("rowcast migrate"))));
    }
}
