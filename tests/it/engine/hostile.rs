//! An engine beside what others may do to its role, its database and its cluster: their settings, their operators, their
//! databases and encodings.

use std::sync::Arc;

use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::Engine;
use serde_json::{Value, json};

use crate::capture::pinned::set_hostile;
use crate::engine::client::{Client, PATIENCE, capture, skips_outbox};
use crate::postgres::Server;

const ROWS: &str = "subscription { t(snapshot: true) { operation row { id price at } } }";
const IDS: &str = "subscription { t { operation row { id } } }";

fn engine_of(server: &Server, user: &str, database: &str, slot: Option<&str>) -> Engine {
    let bus = PostgreSqlBus {
        url: Some(server.url_as(user, database)),
        slot: slot.map(str::to_owned),
        publication: "rowcast".to_owned(),
        capture: Some(capture()),
    };
    Engine::new(Bus::PostgreSql(bus), Settings::default())
}

/// An engine with the defaults that serves a table `t`.
async fn serving(server: &Server, user: &str, database: &str) -> Arc<Engine> {
    let engine = engine_of(server, user, database, None);
    engine.start(&json!([{ "table": "t", "public": true }]).to_string()).await.unwrap();
    Arc::new(engine)
}

fn after(cursor: &Value) -> Value {
    json!({ "query": IDS, "extensions": { "rowcast": { "after": cursor } } })
}

async fn cursor_of_next(client: &mut Client) -> Value {
    client.frame().await["payload"]["extensions"]["rowcast"]["cursor"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_starts_and_answers_the_same_whatever_its_role_and_its_database_have_set() {
    let server = Server::logical();
    server.sql("create role engine login superuser").await;
    server.sql("create database shop").await;
    let owner = server.session("postgres", "shop").await;
    owner
        .batch_execute("create schema app; create table app.t (id int primary key, price money, at timestamptz)")
        .await
        .unwrap();
    owner.batch_execute("insert into app.t values (1, 12.5, '2026-01-02 00:00+00')").await.unwrap();
    for whom in ["role engine", "database shop"] {
        set_hostile(&server.admin().await, whom).await;
    }
    let engine = serving(&server, "engine", "shop").await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ROWS);
    let snapshot = client.next().await;
    assert_eq!(snapshot["operation"], "SNAPSHOT", "{snapshot}");
    assert_eq!(client.next().await["operation"], "SNAPSHOT_END");
    let writing = "set lc_monetary = 'C.UTF-8'; set timezone = 'Asia/Tokyo'; update app.t set id = 1";
    owner.batch_execute(writing).await.unwrap();
    let update = client.next().await;
    assert_eq!((&update["operation"], &update["row"]), (&json!("UPDATE"), &snapshot["row"]));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_somebody_planted_is_bound_by_a_migration_or_called_by_a_session() {
    let server = Server::logical();
    server
        .sql(
            "create table t (id int primary key); create table public.called (what text);
             create function public.planted(text[], text[]) returns boolean language plpgsql as
                 $$ begin insert into public.called values ('text'); return true; end $$;
             create function public.planted(\"char\"[], \"char\"[]) returns boolean language plpgsql as
                 $$ begin insert into public.called values ('char'); return true; end $$;
             create operator public.@> (leftarg = text[], rightarg = text[], function = public.planted);
             create operator public.@> (leftarg = \"char\"[], rightarg = \"char\"[], function = public.planted);
             create function public.format(text, text) returns text language plpgsql as
                 $$ begin insert into public.called values ('format'); return $2; end $$;
             alter database postgres set search_path = public, pg_catalog",
        )
        .await;
    let engine = serving(&server, "postgres", "postgres").await;
    let lines = engine.status().await.unwrap();
    assert!(lines.iter().all(|line| !line.name.starts_with("object ")), "{lines:#?}");
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.next().await["row"]["id"], 1);
    engine.stop(PATIENCE).await;
    assert_eq!(server.value("select string_agg(what, ' ') from called").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_name_is_found_on_the_configured_search_path() {
    let server = Server::logical();
    server
        .sql(
            "create role shop login superuser; create schema shop; create schema \"A \"\"b\"; create table public.t (id int);
             create table \"A \"\"b\".t (id int primary key); create table \"A \"\"b\".\"U\" (id int primary key);
             create table shop.\"U\" (id int primary key);
             alter role shop set search_path = nowhere, \"$user\", \"A \"\"b\", public",
        )
        .await;
    let engine = engine_of(&server, "shop", "postgres", None);
    let fields = json!([{ "table": "t", "public": true }, { "table": "\"U\"", "public": true }]);
    engine.start(&fields.to_string()).await.unwrap();
    let watched = "select string_agg(relation::text, ' ' order by relation::text) from rowcast.watched";
    assert_eq!(server.value(watched).await.as_deref(), Some("\"A \"\"b\".t shop.\"U\""));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_of_a_cluster_are_served_with_the_defaults_and_take_no_cursor_of_each_other() {
    let server = Server::logical();
    server.sql("create table t (id int primary key, note text)").await;
    let first = serving(&server, "postgres", "postgres").await;
    first.stop(PATIENCE).await;
    // Nobody may be in a database that is copied.
    let elsewhere = server.session("postgres", "template1").await;
    let others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres'";
    elsewhere.batch_execute(others).await.unwrap();
    elsewhere.batch_execute("create database copy template postgres").await.unwrap();
    let engines = [serving(&server, "postgres", "postgres").await, serving(&server, "postgres", "copy").await];
    let mut cursors = Vec::new();
    for (engine, database) in engines.iter().zip(["postgres", "copy"]) {
        let mut client = Client::of(engine, "acme");
        client.subscribe("1", IDS);
        let writer = server.session("postgres", database).await;
        writer.batch_execute("insert into t select generate_series(1, 3)").await.unwrap();
        cursors.push(cursor_of_next(&mut client).await);
    }
    for (engine, [own, other]) in engines.iter().zip([[&cursors[0], &cursors[1]], [&cursors[1], &cursors[0]]]) {
        let mut client = Client::of(engine, "acme");
        client.send("1", &after(own));
        assert_eq!(client.next().await["row"]["id"], 2);
        let mut client = Client::of(engine, "acme");
        client.send("1", &after(other));
        assert_eq!(client.error().await.0, "CURSOR_AHEAD");
        engine.stop(PATIENCE).await;
    }
    if !skips_outbox("an outbox has no slot") {
        let strange = "select count(*) from pg_replication_slots s join pg_database d on d.datname = s.database \
                       where slot_name <> 'rowcast_db' || d.oid";
        assert_eq!(server.value(strange).await.as_deref(), Some("0"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_of_another_database_or_kind_is_passed_over_and_left_alone() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = Server::logical();
    server.sql("create table t (id int primary key)").await;
    server.sql("create database other").await;
    let other = server.session("postgres", "other").await;
    other.batch_execute("select pg_create_logical_replication_slot('feed', 'pgoutput')").await.unwrap();
    server.sql("select pg_create_physical_replication_slot('feed_2')").await;
    let engine = engine_of(&server, "postgres", "postgres", Some("feed"));
    engine.start(&json!([{ "table": "t", "public": true }]).to_string()).await.unwrap();
    let active = "select string_agg(slot_name, ' ') from pg_replication_slots where active";
    assert_eq!(server.value(active).await.as_deref(), Some("feed_3"));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_latin_1_is_served_and_one_without_an_encoding_is_refused() {
    let server = Server::logical();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let create =
            format!("create database {encoding} encoding '{encoding}' template template0 lc_collate 'C' lc_ctype 'C'");
        server.sql(&create).await;
        let owner = server.session("postgres", &encoding.to_lowercase()).await;
        owner.batch_execute("create table t (id int primary key, note text)").await.unwrap();
    }
    let engine = serving(&server, "postgres", "latin1").await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { row { note } } }");
    let writer = server.session("postgres", "latin1").await;
    writer.batch_execute("insert into t values (1, 'caf\u{e9}')").await.unwrap();
    assert_eq!(client.next().await["row"]["note"], "caf\u{e9}");
    engine.stop(PATIENCE).await;

    let refused = engine_of(&server, "postgres", "sql_ascii", None);
    let error = refused.start("[]").await.unwrap_err();
    assert_eq!(error.code(), "ENCODING_NOT_SUPPORTED", "{error}");
    assert!(error.to_string().contains("SQL_ASCII") && error.to_string().contains("UTF8"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_watch_and_publish_say_why_there_is_no_connection() {
    let server = Server::logical();
    let nowhere = engine_of(&server, "postgres", "nowhere", None);
    let request = rowcast::store::WatchRequest { relation: "t".to_owned(), public: true, ..Default::default() };
    for error in [
        nowhere.status().await.unwrap_err(),
        nowhere.watch(&request).await.unwrap_err(),
        nowhere.unwatch("t").await.unwrap_err(),
        nowhere.publish("alerts", "1", None).await.unwrap_err(),
        nowhere.pending_migrations().await.unwrap_err(),
        nowhere.migrate().await.unwrap_err(),
    ] {
        assert_eq!((error.code(), error.kind()), ("DATABASE_MISSING", rowcast::error::Kind::Connection), "{error}");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
