//! `rowcast.watch` refuses before it could harm the table's owner or promise what the stream cannot hold.

use crate::postgres::Database;
use crate::store::watch::request;
use rowcast::store::{self, ReplicaIdentityChoice, WatchRequest};

#[tokio::test]
async fn what_is_not_in_the_wal_is_refused() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create view v as select 1 as id; create materialized view m as select 1 as id; create sequence s;
             create table t (id int primary key); create type c as (x int);
             create unlogged table u (id int primary key); create temporary table temp (id int primary key);
             create foreign data wrapper w; create server far foreign data wrapper w; create foreign table f (id int) server far;
             create table p (id int) partition by list (id); create foreign table p1 partition of p for values in (1) server far;
             create table q (id int) partition by list (id); create unlogged table q1 partition of q for values in (1);",
        )
        .await
        .unwrap();
    for relation in [
        "v",
        "m",
        "s",
        "t_pkey",
        "c",
        "u",
        "temp",
        "f",
        "p",
        "q",
        "pg_catalog.pg_class",
        "information_schema.sql_features",
        "rowcast.watched",
    ] {
        let error = store::watch(&client, &request(relation)).await.unwrap_err();
        assert_eq!(error.code(), "NOT_WATCHABLE", "{relation}: {error}");
    }
    let rows = client.query("select from rowcast.watched", &[]).await.unwrap();
    assert!(rows.is_empty());
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_named() {
    let (_database, client) = Database::migrated().await;
    for relation in ["nowhere", "no_schema.t", "rowcast_like.t", "4294967295"] {
        let error = store::watch(&client, &request(relation)).await.unwrap_err();
        assert_eq!(error.code(), "UNKNOWN_TABLE", "{relation}: {error}");
    }
    assert!(client.batch_execute("select rowcast.watch(null)").await.is_err());
}

#[tokio::test]
async fn a_tenant_column_must_exist_and_be_in_the_stream() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute("create table t (id int primary key, gone text, \"Tenant\" text, twice int generated always as (id * 2) stored)")
        .await
        .unwrap();
    client.batch_execute("alter table t drop gone").await.unwrap();
    for column in ["tenant", "gone", "", "ctid", "tableoid", "twice", "........pg.dropped.2........"] {
        let request = WatchRequest { tenant_column: Some(column.into()), ..request("t") };
        let error = store::watch(&client, &request).await.unwrap_err();
        assert_eq!(error.code(), "TENANT_COLUMN", "{column}: {error}");
        if column == "tenant" {
            assert!(error.to_string().contains("\"Tenant\""), "{error}");
        }
    }
}

#[tokio::test]
async fn a_table_without_identity_is_refused() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table bare (id int);
             create table nothing (id int primary key); alter table nothing replica identity nothing;
             create table deferred (id int primary key deferrable);
             create table lost (id int not null); create unique index lost_id on lost (id);
             alter table lost replica identity using index lost_id; drop index lost_id;
             create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1);
             alter table p1 replica identity nothing;",
        )
        .await
        .unwrap();
    for relation in ["bare", "nothing", "deferred", "lost", "p"] {
        let keep = WatchRequest { replica_identity: ReplicaIdentityChoice::Keep, ..request(relation) };
        let error = store::watch(&client, &keep).await.unwrap_err();
        assert_eq!(error.code(), "NO_REPLICA_IDENTITY", "{relation}: {error}");
        assert!(store::watch(&client, &request(relation)).await.unwrap(), "{relation}: full is always one");
        client.batch_execute(&format!("update {relation} set id = id")).await.unwrap();
    }
}

#[tokio::test]
async fn two_members_of_a_partition_tree_are_refused() {
    let (_database, client) = Database::migrated().await;
    client
        .batch_execute(
            "create table p (id int primary key) partition by list (id); create table p1 partition of p for values in (1)",
        )
        .await
        .unwrap();
    store::watch(&client, &request("p")).await.unwrap();
    let error = store::watch(&client, &request("p1")).await.unwrap_err();
    assert_eq!(error.code(), "PARTITION_TREE");
    assert!(error.to_string().contains("partition of public.p"), "{error}");
    store::unwatch(&client, "p").await.unwrap();
    assert!(store::watch(&client, &request("p1")).await.unwrap());
    assert_eq!(store::watch(&client, &request("p")).await.unwrap_err().code(), "PARTITION_TREE");
}

#[tokio::test]
async fn contradicting_arguments_are_refused() {
    let (_database, client) = Database::migrated().await;
    client.batch_execute("create table t (id int primary key, tenant text)").await.unwrap();
    let both = WatchRequest { public: true, tenant_column: Some("tenant".into()), ..request("t") };
    assert_eq!(store::watch(&client, &both).await.unwrap_err().code(), "INVALID_ARGUMENT");
    for call in [
        "select rowcast.watch('t', replica_identity => 'index')",
        "select rowcast.watch('t', replica_identity => null)",
        "select rowcast.watch('t', public => null)",
    ] {
        let error = client.batch_execute(call).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "RC005", "{call}");
    }
}

#[tokio::test]
async fn a_stranger_is_told_whose_the_table_is() {
    let (database, client) = Database::migrated().await;
    let (owner, engine) = (database.role("Owner"), database.role("engine"));
    client
        .batch_execute(&format!(
            "create role \"{owner}\"; create role {engine} login replication; select rowcast.grant_engine('{engine}');
             create table t (id int primary key); alter table t owner to \"{owner}\""
        ))
        .await
        .unwrap();
    let error = store::watch(&database.connect_as(&engine).await, &request("t")).await.unwrap_err();
    assert_eq!(error.code(), "PERMISSION_DENIED");
    assert!(error.to_string().contains(&format!("grant \"{owner}\" to {engine}")), "{error}");
}
