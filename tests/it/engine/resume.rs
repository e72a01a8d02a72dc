//! A subscriber that comes back with a cursor gets exactly what followed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::config::Settings;
use rowcast::engine::Engine;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, bus, in_memory, metric, serving, until};
use crate::postgres::{Server, Stop};

/// How many rows a client that keeps coming back receives.
const ROWS: i64 = 4_000;
const IDS: &str = "subscription { t { operation row { id note } key { id } } }";

fn fields() -> Value {
    json!([{ "table": "t", "tenant": "tenant" }, { "topic": "alerts", "public": true }])
}

async fn prepared() -> Server {
    let server = Server::logical();
    server.sql("create table t (id int primary key, tenant text not null default 'acme', note text)").await;
    server
}

fn after(cursor: &Value) -> Value {
    json!({ "query": IDS, "extensions": { "rowcast": { "after": cursor } } })
}

/// What a client has received, by operation and key, and its last cursor.
async fn told(client: &mut Client, count: usize) -> (Vec<(String, i64)>, Value) {
    let (mut told, mut cursor) = (Vec::new(), Value::Null);
    for _ in 0..count {
        let frame = client.frame().await;
        assert_eq!(frame["type"], "next", "{frame}");
        let event = &frame["payload"]["data"]["t"];
        told.push((event["operation"].as_str().unwrap().to_owned(), event["key"]["id"].as_i64().unwrap()));
        cursor = frame["payload"]["extensions"]["rowcast"]["cursor"].clone();
    }
    (told, cursor)
}

fn inserts(ids: impl IntoIterator<Item = i64>) -> Vec<(String, i64)> {
    ids.into_iter().map(|id| ("INSERT".to_owned(), id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_told_what_followed_also_from_the_middle_of_a_transaction() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let (mut client, mut witness) = (Client::of(&engine, "acme"), Client::of(&engine, "globex"));
    client.subscribe("1", IDS);
    witness.subscribe("1", IDS);
    server.sql("insert into t select generate_series(1, 3)").await;
    let (_, cursor) = told(&mut client, 2).await;
    client.session.disconnect();
    server.sql("update t set note = 'x' where id = 2; delete from t where id = 1").await;
    server.sql("insert into t values (4, 'globex')").await;
    // Whatever is replayed was captured before: the stream has passed the last insert.
    assert_eq!(told(&mut witness, 1).await.0, inserts(4..5));

    let mut back = Client::of(&engine, "acme");
    back.send("1", &after(&cursor));
    let due = [("INSERT", 3), ("UPDATE", 2), ("DELETE", 1)].map(|(name, id)| (name.to_owned(), id));
    assert_eq!(told(&mut back, 3).await.0, due);
    server.sql("insert into t values (5)").await;
    assert_eq!(told(&mut back, 1).await.0, inserts(5..6));
    back.is_quiet().await;

    let argument = format!("subscription {{ t(after: {cursor}) {{ operation key {{ id }} }} }}");
    back.subscribe("2", &argument);
    assert_eq!(told(&mut back, 4).await.0[..3], due, "the argument means the same");
    assert_eq!((metric(&engine, "resumes_total"), metric(&engine, "events_replayed_total")), (2, 7));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_outlives_the_process() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t select generate_series(1, 5)").await;
    let (_, cursor) = told(&mut client, 3).await;
    engine.stop(PATIENCE).await;
    server.sql("insert into t values (6)").await;

    let engine = serving(&server, &fields()).await;
    let (mut back, mut fresh) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    fresh.subscribe("1", IDS);
    back.send("1", &after(&cursor));
    server.sql("insert into t values (7)").await;
    assert_eq!(told(&mut back, 4).await.0, inserts(4..8));
    assert_eq!(told(&mut fresh, 1).await.0, inserts(7..8), "without a cursor nothing old is delivered");
    back.is_quiet().await;
    fresh.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_outlives_the_process_and_a_restart_of_the_server() {
    let mut server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t select generate_series(1, 5)").await;
    let (_, cursor) = told(&mut client, 3).await;
    let stopped = std::time::Instant::now();
    server.restart(Stop::Fast);
    let stopped = stopped.elapsed();
    assert!(stopped.as_secs() < 10, "what is kept for others held the server up for {stopped:?}");
    assert_eq!(told(&mut client, 2).await.0, inserts(4..6));
    until("the stream to go on", || metric(&engine, "capture_streaming") == 1).await;
    server.sql("insert into t values (6)").await;
    assert_eq!(told(&mut client, 1).await.0, inserts(6..7));
    engine.stop(PATIENCE).await;

    let engine = serving(&server, &fields()).await;
    let mut back = Client::of(&engine, "acme");
    back.send("1", &after(&cursor));
    assert_eq!(told(&mut back, 3).await.0, inserts(4..7));
    back.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_cannot_be_honoured_says_why() {
    let server = prepared().await;
    let settings = Settings { replay_window_bytes: 2_000, ..Settings::default() };
    let engine = Engine::new(bus(&server), settings);
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t select generate_series(1, 50)").await;
    let (_, early) = told(&mut client, 2).await;
    let (_, late) = told(&mut client, 48).await;
    client.send("2", &after(&early));
    assert_eq!(client.error().await.0, "CURSOR_EXPIRED");
    client.send("2", &after(&json!("nonsense")));
    assert_eq!(client.error().await.0, "CURSOR_INVALID");
    client.send("2", &after(&json!(7)));
    assert_eq!(client.error().await.0, "CURSOR_INVALID");
    let twice = format!("subscription {{ t(after: {early}) {{ key {{ id }} }} }}");
    client.send("2", &json!({ "query": twice, "extensions": { "rowcast": { "after": late } } }));
    assert_eq!(client.error().await.0, "CURSOR_INVALID");

    let mut elsewhere = serde_json::from_value::<String>(late.clone()).unwrap();
    elsewhere.replace_range(..4, "AAAA");
    client.send("2", &after(&json!(elsewhere)));
    assert_eq!(client.error().await.0, "CURSOR_AHEAD", "of another database");
    let mut future = late.as_str().unwrap().to_owned();
    future.replace_range(16..20, "7777");
    client.send("2", &after(&json!(future)));
    assert_eq!(client.error().await.0, "CURSOR_AHEAD", "the server has not written that far");

    client.send("2", &after(&late));
    server.sql("insert into t values (51)").await;
    let ids: Vec<_> = [client.frame().await, client.frame().await].map(|frame| frame["id"].clone()).into();
    assert!(ids.contains(&json!("1")) && ids.contains(&json!("2")), "{ids:?}");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_again_is_told_by_the_rules_and_in_the_shape_of_now() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1, 'acme', 'a')").await;
    let (_, cursor) = told(&mut client, 1).await;
    server.sql("insert into t values (2, 'acme', 'b'), (3, 'globex', 'c')").await;
    told(&mut client, 1).await;
    server
        .sql("alter table t drop column note; alter table t add column note text; alter table t add column more int")
        .await;
    server.sql("insert into t values (4, 'acme', 'd', 5)").await;
    told(&mut client, 1).await;
    let query = "subscription { t { operation row { id note more } key { id } } }";
    let request = json!({ "query": query, "extensions": { "rowcast": { "after": cursor } } });
    client.complete("1");
    client.send("2", &request);
    let rows = [client.frame().await, client.frame().await].map(|frame| frame["payload"]["data"]["t"]["row"].clone());
    assert_eq!((&rows[0]["id"], &rows[0]["note"], &rows[0]["more"]), (&json!(2), &json!("b"), &Value::Null));
    assert_eq!(rows[1], json!({ "id": 4, "note": "d", "more": 5 }));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_told_twice_however_often_a_client_comes_back() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let seed =
        std::env::var("ROWCAST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random::<u64>);
    eprintln!("ROWCAST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let first = {
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", IDS);
        server.sql("insert into t values (0)").await;
        told(&mut client, 1).await.1
    };
    let writer = tokio::spawn({
        let client = server.admin().await;
        async move {
            for id in (1..=ROWS).step_by(4) {
                let last = id + 3;
                client.batch_execute(&format!("insert into t select generate_series({id}, {last})")).await.unwrap();
            }
        }
    });
    let (mut all, mut cursor, mut visits) = (Vec::new(), first, 0);
    while all.len() < ROWS as usize {
        let mut client = Client::of(&engine, "acme");
        client.send("1", &after(&cursor));
        let some = dice.random_range(1..200).min(ROWS as usize - all.len());
        let (more, last) = told(&mut client, some).await;
        (all, cursor, visits) = ([all, more].concat(), last, visits + 1);
        client.session.disconnect();
    }
    writer.await.unwrap();
    assert_eq!(all, inserts(1..=ROWS));
    eprintln!("{visits} visits");
    engine.stop(PATIENCE).await;
}

#[tokio::test]
async fn topics_without_a_database_are_told_again_too_but_not_to_another_process() {
    let alerts = json!([{ "topic": "alerts", "public": true }]);
    let engine = in_memory(json!({}), &alerts).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { alerts { payload } }");
    for n in 0..500 {
        engine.publish("alerts", &n.to_string(), None).await.unwrap();
    }
    let cursor = client.frame().await["payload"]["extensions"]["rowcast"]["cursor"].clone();
    let request =
        json!({ "query": "subscription { alerts { payload } }", "extensions": { "rowcast": { "after": cursor } } });
    let mut back = Client::of(&engine, "acme");
    back.send("1", &request);
    for n in 1..500 {
        assert_eq!(back.next().await["payload"], n);
    }
    let other = in_memory(json!({}), &alerts).await;
    let mut back = Client::of(&other, "acme");
    back.send("1", &request);
    assert_eq!(back.error().await.0, "CURSOR_AHEAD");
}
