//! Snapshots that cannot be delivered to their end fail with an error.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use serde_json::json;

use super::{ALL, fields, id, prepared};
use crate::engine::client::{Client, PATIENCE, bus, metric, principal, request, serving, skips_outbox, until};
use crate::postgres::Server;

/// Sessions that are in a transaction and read rows.
const READERS: &str =
    "select count(*) from pg_stat_activity where state = 'idle in transaction' and query like '%pages%'";

async fn value(server: &Server, query: &str) -> i64 {
    server.admin().await.query_one(query, &[]).await.unwrap().get(0)
}

async fn until_value(server: &Server, query: &str, due: i64) {
    let deadline = tokio::time::Instant::now() + PATIENCE * 2;
    while value(server, query).await != due {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {due} of {query}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A transaction that is open for long holds back the server's vacuum.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_of_its_snapshot_is_given_up_and_the_transaction_ends() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 100) from generate_series(1, 20000) n").await;
    let small = Settings { queue_bytes_max: 50_000, ..Settings::default() };
    let engine = Arc::new(Engine::new(bus(&server), small));
    engine.start(&fields().to_string()).await.unwrap();
    let (_, pulled) = engine.register(&principal("acme").into(), &request(ALL)).unwrap();
    until_value(&server, READERS, 1).await;
    until_value(&server, READERS, 0).await;
    let code = tokio::task::spawn_blocking(move || {
        loop {
            if let Err(failure) = pulled.next(Some(PATIENCE)) {
                return failure.code().to_owned();
            }
        }
    });
    assert_eq!(code.await.unwrap(), "SNAPSHOT_STALLED");
    engine.stop(PATIENCE).await;
}

/// A DDL statement waits for every reader of its table, and every later reader waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_read_gives_way_to_a_statement_that_needs_the_table() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 100) from generate_series(1, 20000) n").await;
    let small = Settings { queue_bytes_max: 50_000, ..Settings::default() };
    let engine = Arc::new(Engine::new(bus(&server), small));
    engine.start(&fields().to_string()).await.unwrap();
    let (_, pulled) = engine.register(&principal("acme").into(), &request(ALL)).unwrap();
    until_value(&server, READERS, 1).await;
    let began = tokio::time::Instant::now();
    server.sql("alter table t add column extra int").await;
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for {:?}", began.elapsed());
    let code = tokio::task::spawn_blocking(move || {
        loop {
            if let Err(failure) = pulled.next(Some(PATIENCE)) {
                return failure.code().to_owned();
            }
        }
    });
    assert_eq!(code.await.unwrap(), "SNAPSHOT_INTERRUPTED");
    engine.stop(PATIENCE).await;
}

/// A server that crashed may give the number of a transaction that was seen, and is lost, to another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_stream_has_passed_the_snapshot_ends_it() {
    if skips_outbox("it stops a walsender") {
        return;
    }
    let server = prepared().await;
    server.sql("insert into t values (1)").await;
    let engine = serving(&server, &fields()).await;
    let sender = value(&server, "select active_pid::int8 from pg_replication_slots where active").await.to_string();
    let signal = |signal: &str| assert!(Command::new("kill").args([signal, &sender]).status().unwrap().success());
    signal("-STOP");
    server.sql("insert into t values (2)").await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    for row in 1..=2 {
        assert_eq!(id(&client.frame().await), ("SNAPSHOT".to_owned(), Some(row)));
    }
    until_value(&server, READERS, 0).await;
    signal("-KILL");
    until("the interruption", || metric(&engine, "capture_interruptions_total") > 0).await;
    assert_eq!(client.error().await.0, "SNAPSHOT_INTERRUPTED");
    engine.stop(PATIENCE).await;
}

/// The rows were read in the shape that the table had; what comes then has the one that it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_may_change_its_shape_while_its_rows_are_told() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 100) from generate_series(1, 500) n").await;
    let small =
        Settings { queue_bytes_max: 50_000, pong_timeout_s: 600.0, queue_age_max_s: 600.0, ..Settings::default() };
    let engine = Arc::new(Engine::new(bus(&server), small));
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    assert_eq!(id(&client.frame().await).0, "SNAPSHOT");
    // The transaction that reads has the table in use. It ends before it would have to give way, then the table is altered,
    // and the client gets all of it.
    let admin = server.admin().await;
    let altered = tokio::spawn(async move {
        admin.batch_execute("alter table t add column extra int; insert into t values (9999, 'acme', 1, 'x', 7)").await
    });
    let mut rows = 1;
    loop {
        let frame = client.frame().await;
        match (id(&frame), &frame["payload"]["data"]["t"]["key"]["id"]) {
            ((operation, _), _) if operation == "SNAPSHOT" => rows += 1,
            ((operation, _), _) if operation == "SNAPSHOT_END" => break,
            ((operation, _), key) => assert_eq!((operation.as_str(), key), ("INSERT", &json!(9999))),
        }
    }
    assert_eq!(rows, 500);
    altered.await.unwrap().unwrap();
    engine.stop(PATIENCE).await;
}
