//! Tables change their shape, come and go while subscriptions are live.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use rowcast::store::{ReplicaIdentityChoice, WatchRequest};
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, QUIET, metric, patient, serving, serving_with, skips_outbox, until};
use crate::postgres::Server;

const IDS: &str = "subscription { t { row { id } } }";

async fn prepared() -> Server {
    let server = Server::logical();
    server.sql("create table t (id int primary key, a text, b text); create table u (id int primary key)").await;
    server
}

fn fields() -> Value {
    json!([{ "table": "t", "public": true }, { "table": "u", "public": true }])
}

fn has(engine: &Engine, text: &str) -> bool {
    engine.schema().unwrap().contains(text)
}

fn public(relation: &str) -> WatchRequest {
    WatchRequest {
        relation: relation.to_owned(),
        tenant_column: None,
        public: true,
        replica_identity: ReplicaIdentityChoice::Full,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_may_change_under_its_subscriptions() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("ids", IDS);
    server.sql("insert into t values (1, 'x', 'y')").await;
    server.sql("alter table t add column c int default 7").await;
    server.sql("insert into t values (2, 'x', 'y', 8)").await;
    assert_eq!(client.rows(2, "id").await, [1, 2]);
    client.subscribe("c", "subscription { t(where: {c: {eq: 9}}) { row { c } } }");
    server.sql("alter table t drop column a").await;
    server.sql("insert into t values (3, 'y', 9)").await;
    let mut both = [client.next().await["row"].clone(), client.next().await["row"].clone()];
    both.sort_by_key(ToString::to_string);
    assert_eq!(both, [json!({ "c": 9 }), json!({ "id": 3 })]);
    client.complete("c");
    server.sql("begin; alter table t rename column b to renamed; insert into t values (4, 'z', 0); commit").await;
    server.sql("insert into t values (5, 'z', 0)").await;
    assert_eq!(client.rows(2, "id").await, [4, 5]);
    client.subscribe("b", "subscription { t(where: {renamed: {eq: \"r\"}}) { row { renamed } } }");
    server.sql("insert into t values (6, 'r', 0)").await;
    let mut both = [client.next().await["row"].clone(), client.next().await["row"].clone()];
    both.sort_by_key(ToString::to_string);
    assert_eq!(both, [json!({ "id": 6 }), json!({ "renamed": "r" })]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_asks_for_a_column_that_is_gone_ends_with_the_reason() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(where: {a: {eq: \"x\"}}) { row { id } } }");
    server.sql("insert into t values (1, 'x')").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    server.sql("alter table t drop column a; insert into t values (2)").await;
    let (_, message) = client.error().await;
    assert!(message.contains('a'), "{message}");
    assert_eq!(metric(&engine, "subscriptions"), 0);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_watched_later_can_be_subscribed_and_one_that_is_unwatched_ends() {
    let server = prepared().await;
    let settings = Settings { serve_watched: true, ..patient() };
    let engine = serving_with(&server, &fields(), settings).await;
    server.sql("create table later (id int primary key)").await;
    assert!(!has(&engine, "Later"));
    assert!(engine.watch(&public("later")).await.unwrap());
    until("the schema", || has(&engine, "Later")).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { later { row { id } } }");
    server.sql("insert into later values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    assert!(engine.unwatch("later").await.unwrap());
    assert!(client.error().await.1.contains("later"));
    assert!(!has(&engine, "Later"));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_table_that_is_dropped_does_not_hold_up_the_others() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("u", "subscription { u { row { id } } }");
    server.sql("insert into u values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1], "the stream is here");
    server.sql("drop table u; alter table t add column extra int; insert into t values (1)").await;
    until("the new column", || has(&engine, "extra")).await;
    assert!(client.error().await.1.contains('u'));
    client.subscribe("1", "subscription { t { row { extra } } }");
    server.sql("insert into t values (2, null, null, 5)").await;
    assert_eq!(client.rows(1, "extra").await, [5]);
    engine.stop(PATIENCE).await;
}

/// Subscribers come all the time while the shape changes all the time. A subscriber without an error must be served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subscribe_during_a_change_of_shape_is_in_force_all_the_same() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let over = Arc::new(AtomicBool::new(false));
    let subscribers: Vec<_> = (0..3).map(|_| std::thread::spawn(subscribing(&engine, &over))).collect();
    let admin = server.admin().await;
    for round in 0..30 {
        let change = format!("alter table t add column x{round} int; insert into t (id) values ({round})");
        admin.batch_execute(&change).await.unwrap();
    }
    until("the last shape", || has(&engine, "x29")).await;
    over.store(true, Ordering::SeqCst);
    let clients: Vec<Client> = subscribers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    until("all events", || metric(&engine, "events_total") == 30).await;
    server.sql("insert into t (id) values (1000)").await;
    for mut client in clients {
        while client.next().await["row"]["id"] != 1000 {}
    }
    engine.stop(PATIENCE).await;
}

fn subscribing(engine: &Arc<Engine>, over: &Arc<AtomicBool>) -> impl FnOnce() -> Vec<Client> + Send + use<> {
    let (engine, over) = (Arc::clone(engine), Arc::clone(over));
    move || {
        let mut clients = Vec::new();
        while !over.load(Ordering::SeqCst) && clients.len() < 2000 {
            let client = Client::of(&engine, "acme");
            client.subscribe("1", IDS);
            clients.push(client);
            std::thread::sleep(Duration::from_micros(200));
        }
        clients
    }
}

/// Shorter than the stream waits for a catalog.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_cannot_be_read_for_a_moment_ends_no_subscription() {
    if skips_outbox("where nobody may connect an outbox is not read either") {
        return;
    }
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("t", IDS);
    let admin = server.admin().await;
    admin.batch_execute("update pg_database set datallowconn = false").await.unwrap();
    let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                  where backend_type = 'client backend' and pid <> pg_backend_pid()";
    admin.batch_execute(others).await.unwrap();
    admin.batch_execute("alter table t add column extra int; insert into t values (1)").await.unwrap();
    tokio::time::sleep(QUIET).await;
    admin.batch_execute("update pg_database set datallowconn = true").await.unwrap();
    assert_eq!(client.rows(1, "id").await, [1]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_could_not_be_read_is_read_later() {
    if skips_outbox("where nobody may connect an outbox is not read either") {
        return;
    }
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let (mut client, mut other) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    client.subscribe("t", IDS);
    other.subscribe("u", "subscription { u { row { id } } }");
    let admin = server.admin().await;
    admin.batch_execute("update pg_database set datallowconn = false").await.unwrap();
    let others = "select pg_terminate_backend(pid) from pg_stat_activity \
                  where backend_type = 'client backend' and pid <> pg_backend_pid()";
    admin.batch_execute(others).await.unwrap();
    admin.batch_execute("alter table t add column extra int; insert into t values (1)").await.unwrap();
    admin.batch_execute("insert into u values (1)").await.unwrap();
    // What cannot be delivered correctly ends with an error; other tables wait a moment and go on.
    assert_eq!(client.error().await.0, "SCHEMA_UNREADABLE");
    assert_eq!(other.rows(1, "id").await, [1]);
    client.subscribe("t2", IDS);
    assert_eq!(client.error().await.0, "SCHEMA_UNREADABLE");
    admin.batch_execute("update pg_database set datallowconn = true").await.unwrap();
    until("the new column", || has(&engine, "extra")).await;
    client.subscribe("t3", "subscription { t { row { extra } } }");
    admin.batch_execute("insert into t values (2, null, null, 5)").await.unwrap();
    assert_eq!(client.rows(1, "extra").await, [5]);
    engine.stop(PATIENCE).await;
}

/// A commit is in the stream before other sessions see it: always by a hair, here by a standby that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_streamed_before_it_is_visible_is_not_overlooked() {
    let server = Server::with(&["wal_level=logical", "synchronous_commit=local", "synchronous_standby_names=nobody"]);
    server.sql("create table t (id int primary key, a text, b text); create table u (id int primary key)").await;
    let engine = serving(&server, &fields()).await;
    let admin = server.admin().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    let writer = server.admin().await;
    let change = tokio::spawn(async move {
        let change = "set synchronous_commit = on; begin; alter table t add column extra int; \
                      insert into t values (1); commit";
        writer.batch_execute(change).await
    });
    let waits = "select count(*)::text from pg_stat_activity where wait_event = 'SyncRep'";
    until_value(&server, waits, "1").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cancel = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'";
    admin.batch_execute(cancel).await.unwrap();
    let _ = change.await.unwrap();
    assert_eq!(client.rows(1, "id").await, [1]);
    until("the new column", || has(&engine, "extra")).await;
    engine.stop(PATIENCE).await;
}

async fn until_value(server: &Server, query: &str, due: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.value(query).await.as_deref() != Some(due) {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {due} of {query}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_security_that_is_switched_on_ends_the_subscriptions_it_might_hide_rows_from() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("alter table t enable row level security").await;
    assert_eq!(client.error().await.0, "ROLE_REQUIRED");
    server.sql("insert into t values (1)").await;
    client.is_quiet().await;
    server.sql("alter table t disable row level security").await;
    let began = tokio::time::Instant::now();
    loop {
        client.subscribe("2", IDS);
        server.sql(&format!("insert into t values ({})", began.elapsed().as_micros() + 10)).await;
        if client.frame().await["type"] == "next" {
            break;
        }
        assert!(began.elapsed() < PATIENCE);
    }
    engine.stop(PATIENCE).await;
}
