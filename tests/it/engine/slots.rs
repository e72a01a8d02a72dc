//! Slots that are shared, lost, given up and left behind.

use std::time::Duration;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, bus, metric, serving, skips_outbox, until};
use crate::postgres::Server;

const IDS: &str = "subscription { t { row { id } } }";

fn fields() -> Value {
    json!([{ "table": "t", "public": true }])
}

/// Drops the slot of these tests, also while an engine streams from it.
pub(crate) const DROP_SLOT: &str = "do $$ begin
    perform pg_terminate_backend(active_pid) from pg_replication_slots;
    for n in 1..1000 loop
        begin
            perform pg_drop_replication_slot('rowcast_it');
            exit;
        exception when object_in_use then perform pg_sleep(0.001);
        end;
    end loop;
end $$";

async fn prepared(settings: &[&str]) -> Server {
    let server = Server::with(settings);
    server.sql("create table t (id int primary key, note text)").await;
    server
}

/// Nobody that a revoke could name, so a gap closes no socket.
fn anonymous(engine: &Engine) -> Client {
    Client::connect(engine, Principal::default())
}

fn subscribed(engine: &Engine, after: &Value) -> Client {
    let client = anonymous(engine);
    client.send("1", &json!({ "query": IDS, "extensions": { "rowcast": { "after": after } } }));
    client
}

/// The next row's id and its cursor.
async fn told(client: &mut Client) -> (i64, Value) {
    let frame = client.frame().await;
    let id = frame["payload"]["data"]["t"]["row"]["id"].as_i64().unwrap_or_else(|| panic!("{frame}"));
    (id, frame["payload"]["extensions"]["rowcast"]["cursor"].clone())
}

/// The next operation and its row's id.
async fn change(client: &mut Client) -> (String, Option<i64>) {
    let event = client.next().await;
    (event["operation"].as_str().unwrap().to_owned(), event["row"]["id"].as_i64())
}

async fn slots(server: &Server) -> String {
    let slots = "select string_agg(slot_name, ' ' order by slot_name) from pg_replication_slots";
    server.value(slots).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_lost_is_made_anew_and_every_subscriber_is_told() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical"]).await;
    let engine = serving(&server, &fields()).await;
    let (mut client, mut keeper) = (subscribed(&engine, &Value::Null), anonymous(&engine));
    keeper.subscribe("1", "subscription { t(snapshot: true) { operation row { id } } }");
    assert_eq!(change(&mut keeper).await, ("SNAPSHOT_END".to_owned(), None));
    server.sql("insert into t values (1)").await;
    let (_, cursor) = told(&mut client).await;
    assert_eq!(change(&mut keeper).await, ("INSERT".to_owned(), Some(1)));
    server.sql(&format!("{DROP_SLOT}; insert into t values (2)")).await;
    let frame = client.frame().await;
    assert_eq!(frame["payload"][0]["extensions"]["code"], "GAP", "{frame}");
    for due in [("SNAPSHOT", Some(1)), ("SNAPSHOT", Some(2)), ("SNAPSHOT_END", None)] {
        assert_eq!(
            change(&mut keeper).await,
            (due.0.to_owned(), due.1),
            "a client that keeps the rows gets them again"
        );
    }
    assert_eq!(frame["payload"][0]["extensions"]["rowcast"]["cursor"], cursor);
    let mut back = subscribed(&engine, &cursor);
    assert_eq!(back.error().await.0, "CURSOR_EXPIRED");
    client.send("2", &json!({ "query": IDS }));
    server.sql("insert into t values (3)").await;
    assert_eq!(told(&mut client).await.0, 3);
    assert_eq!(change(&mut keeper).await, ("INSERT".to_owned(), Some(3)));
    keeper.is_quiet().await;
    assert_eq!((metric(&engine, "gaps_total"), metric(&engine, "capture_streaming")), (1, 1));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_the_server_gave_up_is_made_anew_by_the_next_start() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical", "max_slot_wal_keep_size=1MB"]).await;
    serving(&server, &fields()).await.stop(PATIENCE).await;
    for _ in 0..4 {
        server.sql("insert into t select n, repeat('x', 500) from generate_series(1, 20000) n").await;
        server.sql("truncate t").await;
        server.sql("select pg_switch_wal(); checkpoint").await;
    }
    assert_eq!(server.value("select wal_status from pg_replication_slots").await.as_deref(), Some("lost"));
    let engine = serving(&server, &fields()).await;
    let mut client = subscribed(&engine, &Value::Null);
    server.sql("insert into t values (3)").await;
    assert_eq!(told(&mut client).await.0, 3);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_pool_of_slots_and_a_cursor_of_one_is_good_at_the_others() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical"]).await;
    let first = serving(&server, &fields()).await;
    let mut client = subscribed(&first, &Value::Null);
    server.sql("insert into t select generate_series(1, 3)").await;
    let (_, cursor) = told(&mut client).await;
    let second = serving(&server, &fields()).await;
    assert_eq!(slots(&server).await, "rowcast_it rowcast_it_2");
    let mut back = subscribed(&second, &cursor);
    assert_eq!((told(&mut back).await.0, told(&mut back).await.0), (2, 3), "from before the second process was there");
    server.sql("insert into t values (4)").await;
    let (id, cursor) = told(&mut back).await;
    assert_eq!(id, 4);

    first.stop(PATIENCE).await;
    second.stop(PATIENCE).await;
    server.sql("insert into t values (5)").await;
    let engines = [serving(&server, &fields()).await, serving(&server, &fields()).await];
    assert_eq!(slots(&server).await, "rowcast_it rowcast_it_2");
    for engine in &engines {
        let mut back = subscribed(engine, &cursor);
        assert_eq!(told(&mut back).await.0, 5);
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_nobody_claims_is_dropped_and_ours_is_not() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical"]).await;
    let settings = Settings { slot_idle_s: 0.5, ..Settings::default() };
    let first = Engine::new(bus(&server), settings);
    first.start(&fields().to_string()).await.unwrap();
    let second = serving(&server, &fields()).await;
    server.sql("select pg_create_logical_replication_slot('somebody_else', 'pgoutput')").await;
    second.stop(PATIENCE).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while slots(&server).await != "rowcast_it somebody_else" {
        assert!(tokio::time::Instant::now() < deadline, "{}", slots(&server).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    first.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_until_the_slot_is_lost_are_told_where_there_is_a_limit_and_only_there() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical"]).await;
    let engine = Engine::new(bus(&server), Settings { slot_idle_s: 0.5, ..Settings::default() });
    engine.start(&fields().to_string()).await.unwrap();
    let safe_bytes = || engine.metrics().iter().find(|(name, _)| *name == "slot_safe_bytes").map(|(_, bytes)| *bytes);
    server.sql("insert into t values (1)").await;
    until("a look at the slot", || metric(&engine, "slot_retained_bytes") > 0).await;
    assert_eq!(safe_bytes(), None);
    server.sql("alter system set max_slot_wal_keep_size = '1GB'").await;
    server.sql("select pg_reload_conf()").await;
    until("the limit", || safe_bytes().is_some_and(|bytes| bytes > 1 << 20)).await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_starts_before_the_last_one_has_left_waits_for_its_slot() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical", "max_replication_slots=1"]).await;
    let first = serving(&server, &fields()).await;
    let second = Engine::new(bus(&server), Settings::default());
    let fields = fields().to_string();
    let leave = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        first.stop(PATIENCE).await;
    };
    let (started, ()) = tokio::join!(second.start(&fields), leave);
    started.unwrap();
    assert_eq!(slots(&server).await, "rowcast_it");
    let third = Engine::new(bus(&server), Settings::default());
    let error = third.start(&fields).await.unwrap_err();
    assert_eq!(error.code(), "SLOTS_EXHAUSTED");
    assert!(error.to_string().contains("raise max_replication_slots"), "{error}");
    second.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_the_same_time_all_get_a_slot() {
    if skips_outbox("an outbox has no slot") {
        return;
    }
    let server = prepared(&["wal_level=logical"]).await;
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let engine = Engine::new(bus(&server), Settings::default());
        starting.spawn(async move { engine.start(&fields().to_string()).await.map(|()| engine) });
    }
    let engines = starting.join_all().await;
    assert_eq!(slots(&server).await.split(' ').count(), 6);
    for engine in engines {
        let engine = engine.unwrap();
        engine.stop(PATIENCE).await;
    }
}
