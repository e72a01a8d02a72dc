//! From a committed row to a session's frame, end to end with a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, QUIET, bus, metric, principal, request, serving, skips_outbox, until};
use crate::postgres::Server;

const ORDERS: &str = "create table orders (id int primary key, tenant text not null, status text, total numeric)";
const ALL: &str = "subscription { orders { operation transition row { id status total } key { id } changed } }";

async fn shop() -> Server {
    let server = Server::logical();
    server.sql(ORDERS).await;
    server
}

fn fields() -> Value {
    json!([{ "table": "orders", "tenant": "tenant" }, { "topic": "alerts", "public": true }])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_reaches_its_tenant_through_its_whole_life_and_nobody_else() {
    let server = shop().await;
    let engine = serving(&server, &fields()).await;
    let (mut acme, mut globex) = (Client::of(&engine, "acme"), Client::of(&engine, "globex"));
    acme.subscribe("1", ALL);
    globex.subscribe("1", ALL);
    server.sql("insert into orders values (1, 'acme', 'new', 12345678901234567890.50)").await;
    let row = json!({ "id": 1, "status": "new", "total": "12345678901234567890.50" });
    let told = acme.next().await;
    assert_eq!(
        told,
        json!({"operation":"INSERT","transition":"ENTER","row":row,"key":{"id":1},"changed":[]}),
        "{told}"
    );

    server.sql("update orders set status = 'paid'").await;
    let told = acme.next().await;
    assert_eq!((&told["transition"], &told["changed"]), (&json!("STAY"), &json!(["status"])), "{told}");

    server.sql("update orders set tenant = 'globex'").await;
    let told = acme.next().await;
    assert_eq!((&told["transition"], &told["row"], &told["key"]), (&json!("LEAVE"), &Value::Null, &json!({"id":1})));
    let told = globex.next().await;
    assert_eq!((&told["transition"], &told["row"]["id"], &told["changed"]), (&json!("ENTER"), &json!(1), &json!([])));

    server.sql("delete from orders").await;
    let told = globex.next().await;
    assert_eq!(
        (&told["operation"], &told["transition"], &told["row"]),
        (&json!("DELETE"), &json!("LEAVE"), &Value::Null)
    );
    acme.is_quiet().await;
    globex.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_lets_rows_enter_and_leave_and_a_truncate_is_told_to_all() {
    let server = shop().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client
        .subscribe("1", "subscription { orders(where: {status: {eq: \"open\"}}) { operation transition key { id } } }");
    server.sql("insert into orders values (1, 'acme', 'draft', 1), (2, 'acme', 'open', 1)").await;
    server.sql("update orders set status = 'open' where id = 1; update orders set status = 'done'").await;
    let mut told = Vec::new();
    for _ in 0..4 {
        let next = client.next().await;
        told.push((next["transition"].as_str().unwrap().to_owned(), next["key"]["id"].as_i64().unwrap()));
    }
    let due = [("ENTER", 2), ("ENTER", 1), ("LEAVE", 2), ("LEAVE", 1)].map(|(name, id)| (name.to_owned(), id));
    assert_eq!(told, due);
    server.sql("truncate orders").await;
    let told = client.next().await;
    assert_eq!((&told["operation"], &told["key"]), (&json!("TRUNCATE"), &Value::Null));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_rolled_back_is_never_told() {
    let server = shop().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { alerts { payload } }");
    server.sql("begin; select rowcast.publish('alerts', '{\"n\": 1}'); rollback").await;
    server.sql("begin; select rowcast.publish('alerts', '{\"n\": 2}', tenant => 'globex'); commit").await;
    server.sql("begin; select rowcast.publish('alerts', '{\"n\": 3}'); commit").await;
    engine.publish("alerts", r#"{"n": 4}"#, Some("acme")).await.unwrap();
    assert_eq!(client.next().await["payload"], json!({ "n": 3 }));
    assert_eq!(client.next().await["payload"], json!({ "n": 4 }));
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_that_was_committed_after_a_subscribe_is_told() {
    let server = shop().await;
    let engine = serving(&server, &fields()).await;
    let admin = server.admin().await;
    for id in 0..100 {
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", "subscription { orders { row { id } } }");
        admin.batch_execute(&format!("insert into orders values ({id}, 'acme')")).await.unwrap();
        assert_eq!(client.rows(1, "id").await, [json!(id)]);
        client.session.disconnect();
    }
    assert_eq!((metric(&engine, "sessions"), metric(&engine, "subscriptions")), (0, 0));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_closes_with_1001_confirms_and_frees_the_slot() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = shop().await;
    let engine = Engine::new(bus(&server), Settings { replay_window_s: 0.2, ..Settings::default() });
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    let (_, pulled) = engine.register(&principal("acme").into(), &request(ALL)).unwrap();
    server.sql("insert into orders values (1, 'acme')").await;
    client.next().await;
    assert!(pulled.next(Some(PATIENCE)).unwrap().is_some());
    let end = server.value("select pg_current_wal_lsn()").await.unwrap();
    until("the confirmation", || metric(&engine, "confirmed_lsn") >= lsn(&end)).await;
    let began = tokio::time::Instant::now();
    engine.stop(Duration::from_secs(5)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(client.close_code(), Some(1001));
    let slot = format!("select confirmed_flush_lsn >= '{end}' and active_pid is null from pg_replication_slots");
    assert_eq!(server.value(&slot).await.as_deref(), Some("t"));
    // A reader that waits for ever would wait for ever.
    let ended = tokio::task::spawn_blocking(move || pulled.next(Some(QUIET))).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), "SHUTTING_DOWN");
}

/// The writer outlives the stop, so a stop that waited for the stream to be quiet would wait for its whole patience.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_does_not_wait_for_the_end_of_a_busy_stream() {
    let server = shop().await;
    let engine = serving(&server, &fields()).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { orders { row { id } } }");
    let admin = server.admin().await;
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let writer = tokio::spawn(async move {
        loop {
            let first = count.load(Ordering::SeqCst);
            let rows = format!("insert into orders select n, 'globex' from generate_series({first}, {first} + 9999) n");
            admin.batch_execute(&rows).await.unwrap();
            count.fetch_add(10_000, Ordering::SeqCst);
        }
    });
    until("a stream in full flow", || metric(&engine, "events_total") > 20_000).await;
    let (told, before) = (metric(&engine, "events_total"), written.load(Ordering::SeqCst));
    let began = tokio::time::Instant::now();
    engine.stop(Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let after = metric(&engine, "events_total");
    until("the writer, which nobody stopped", || written.load(Ordering::SeqCst) > before + 20_000).await;
    assert!(!writer.is_finished(), "the stream had no end to wait for");
    writer.abort();
    assert!(after < written.load(Ordering::SeqCst), "told {told} at the stop and {after} in all");
    assert_eq!(metric(&engine, "events_total"), after, "nothing is delivered after the stop");
    assert_eq!(client.close_code(), Some(1001));
    let free = "select count(*) filter (where active_pid is not null) from pg_replication_slots";
    assert_eq!(server.value(free).await.as_deref(), Some("0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_stopped_does_not_start() {
    let server = shop().await;
    let engine =
        rowcast::engine::Engine::new(crate::engine::client::bus(&server), rowcast::config::Settings::default());
    engine.stop(PATIENCE).await;
    assert_eq!(engine.start(&fields().to_string()).await.unwrap_err().code(), "STARTED_BEFORE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_leaves_nothing_and_may_be_repeated() {
    let server = shop().await;
    let engine =
        rowcast::engine::Engine::new(crate::engine::client::bus(&server), rowcast::config::Settings::default());
    let wrong = json!([{ "table": "no_such_table", "public": true }]).to_string();
    assert!(engine.start(&wrong).await.is_err());
    assert_eq!(server.value("select count(*) from pg_replication_slots").await.as_deref(), Some("0"));
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    server.sql("insert into orders values (1, 'acme')").await;
    client.next().await;
    engine.stop(PATIENCE).await;
}

fn lsn(text: &str) -> u64 {
    text.parse::<rowcast::model::Lsn>().unwrap().0
}
