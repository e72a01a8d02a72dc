//! What an engine serves: what it declares, and nothing less for a table that cannot be served.

use std::sync::Arc;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use rowcast::graphql::Naming;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, bus, patient, serving, serving_with, until};
use crate::postgres::Server;

const T: &str = "subscription { t { row { id } } }";
const U: &str = "subscription { u { row { id } } }";

fn public(tables: &[&str]) -> Value {
    tables.iter().map(|table| json!({ "table": table, "public": true })).collect()
}

fn has(engine: &Engine, text: &str) -> bool {
    engine.schema().unwrap().contains(text)
}

async fn watched(server: &Server) -> String {
    let names = "select coalesce(string_agg(relation::text, ' ' order by relation::text), '') from rowcast.watched";
    server.value(names).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watched_table_is_served_only_where_it_is_declared() {
    let server = Server::logical();
    server.sql("create table salaries (id int primary key); create table u (id int primary key)").await;
    let declared = json!([{ "table": "salaries", "public": true, "scopes": ["hr"] }]);
    serving(&server, &declared).await.stop(PATIENCE).await;
    for (fields, code) in [(json!([]), "OPERATION_NOT_SUPPORTED"), (public(&["u"]), "GRAPHQL_VALIDATION_FAILED")] {
        let engine = serving(&server, &fields).await;
        assert!(!has(&engine, "alaries"), "a declaration that is gone takes the field with it, not only its scopes");
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", "subscription { salaries { row { id } } }");
        assert_eq!(client.error().await.0, code);
        engine.stop(PATIENCE).await;
    }
    let every = serving_with(&server, &json!([]), Settings { serve_watched: true, ..patient() }).await;
    assert!(has(&every, "salaries(") && has(&every, "u("));
    every.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declaration_that_cannot_be_served_leaves_no_watch_behind() {
    let server = Server::logical();
    let setup = "create table empty (); create table twice (\"ID\" int, id int); create table u (id int primary key);
                 create table \"Order_Items\" (id int primary key); create table order_items (id int primary key)";
    server.sql(setup).await;
    for (tables, code) in [
        (["u", "empty"], "TABLE_NOT_SERVED"),
        (["u", "twice"], "TABLE_NOT_SERVED"),
        (["order_items", "\"Order_Items\""], "SCHEMA_DUPLICATE_FIELD"),
        (["u", "nothing"], "UNKNOWN_TABLE"),
    ] {
        let engine = Engine::new(bus(&server), patient());
        let error = engine.start(&public(&tables).to_string()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(watched(&server).await, "", "{tables:?}");
    }
    serving(&server, &public(&["u", "order_items"])).await.stop(PATIENCE).await;
    assert_eq!(watched(&server).await, "order_items u");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_application_watches_keeps_none_from_starting() {
    let server = Server::logical();
    let setup = "create table \"Order_Items\" (id int primary key); create table order_items (id int primary key);
                 create table twice (\"ID\" int primary key, id int); create table u (id int primary key)";
    server.sql(setup).await;
    let as_in_the_database = Settings { naming: Naming::Database, ..patient() };
    let theirs = public(&["order_items", "\"Order_Items\"", "twice"]);
    serving_with(&server, &theirs, as_in_the_database).await.stop(PATIENCE).await;
    let ours = serving(&server, &public(&["u"])).await;
    assert!(!has(&ours, "rderItems"));
    ours.stop(PATIENCE).await;
    let every = serving_with(&server, &public(&["u"]), Settings { serve_watched: true, ..patient() }).await;
    assert!(has(&every, "orderItems(") && has(&every, "u("), "of two that cannot both be served one is");
    every.stop(PATIENCE).await;
}

/// A table that cannot be served any more, and the statement that mends it.
async fn is_set_aside_alone(setup: &str, breaks: &str, mends: &str) {
    let server = Server::logical();
    server.sql("create table t (id int primary key, v text); create table u (id int primary key)").await;
    server.sql(setup).await;
    let engine = serving(&server, &public(&["u", "t"])).await;
    let (mut of_t, mut of_u) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    of_t.subscribe("t", T);
    of_u.subscribe("u", U);
    server.sql(breaks).await;
    assert_eq!(of_t.error().await.0, "TABLE_NOT_SERVED");
    of_t.subscribe("again", T);
    assert_eq!(of_t.error().await.0, "TABLE_NOT_SERVED");
    server.sql("insert into u values (1)").await;
    assert_eq!(of_u.rows(1, "id").await, [1]);
    server.sql(mends).await;
    until("the table", || has(&engine, " t(")).await;
    of_t.subscribe("mended", T);
    server.sql("insert into t (id) values (2)").await;
    assert_eq!(of_t.rows(1, "id").await, [2]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_whose_name_collides_takes_its_table_alone_away() {
    is_set_aside_alone("", "alter table t add column \"V\" int", "alter table t drop column \"V\"").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_columns_is_set_aside_alone() {
    is_set_aside_alone("", "alter table t drop column id, drop column v", "alter table t add column id int").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_whose_name_collides_takes_the_later_table_alone_away() {
    let setup =
        "create schema a; create type a.state as enum ('OPEN'); create schema b; create type b.state as enum ('SHUT');
                 alter table u add column s a.state";
    is_set_aside_alone(setup, "alter table t add column s b.state", "alter table t drop column s").await;
}

/// With `serve_watched` a table has a field without its declaration. One whose declared field cannot be served has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_table_that_is_set_aside_does_not_come_back_without_its_scopes() {
    let server = Server::logical();
    let setup =
        "create schema a; create type a.state as enum ('OPEN'); create schema b; create type b.state as enum ('SHUT');
                 create table t (id int primary key, s b.state); create table u (id int primary key)";
    server.sql(setup).await;
    let fields = json!([
        { "table": "u", "public": true },
        { "table": "t", "public": true, "scopes": ["hr"], "name": "wages", "resolver": { "index": 0 } },
    ]);
    let engine = serving_with(&server, &fields, Settings { serve_watched: true, ..patient() }).await;
    server.sql("alter table u add column s a.state").await;
    until("the field to go", || !has(&engine, "wages(")).await;
    assert!(!has(&engine, " t("), "{}", engine.schema().unwrap());
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_starts_again_without_the_table_that_cannot_be_served() {
    let server = Server::logical();
    server.sql("create table t (id int primary key, v text); create table u (id int primary key)").await;
    let fields = public(&["t", "u"]);
    serving(&server, &fields).await.stop(PATIENCE).await;
    server.sql("alter table t add column \"V\" int").await;
    let engine: Arc<Engine> = serving(&server, &fields).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("t", T);
    assert_eq!(client.error().await.0, "TABLE_NOT_SERVED");
    client.subscribe("u", U);
    server.sql("insert into u values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    engine.stop(PATIENCE).await;
}
