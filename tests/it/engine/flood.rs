//! While the stream has always more to read, the engine still does everything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rowcast::config::Settings;
use rowcast::engine::Engine;
use rowcast::model::{Principal, Selector};
use serde_json::json;
use tokio::task::{JoinHandle, yield_now};

use crate::engine::client::{Client, PATIENCE, metric, patient, serving, serving_with, until};
use crate::postgres::Server;

/// Changes of one transaction.
const FLOOD: u64 = 200_000;

/// The most changes that the engine may handle between two turns of another task: a few times what one read hands over.
const TURN: u64 = 4096;

fn handled(engine: &Engine) -> u64 {
    metric(engine, "events_total")
}

/// Has this task take turns with the engine until so many changes are handled; the most that were handled in between.
async fn longest_turn(engine: &Engine, until: u64) -> u64 {
    let mut longest = 0;
    let patience = tokio::time::timeout(PATIENCE, async {
        while handled(engine) < until {
            let before = handled(engine);
            yield_now().await;
            longest = longest.max(handled(engine) - before);
        }
    });
    patience.await.expect("the flood in time");
    longest
}

/// One thread runs the engine, the clients and this test.
#[tokio::test]
async fn a_flood_of_changes_leaves_its_turn_to_every_other_task() {
    let server = Server::logical();
    server.sql("create table t (id int primary key); create table calm (id int primary key)").await;
    let engine =
        serving(&server, &json!([{ "table": "t", "public": true }, { "table": "calm", "public": true }])).await;
    let mut client = Client::of(&engine, "acme");
    let user_id = Some("mallory".to_owned());
    let mallory = Client::connect(&engine, Principal { user_id: user_id.clone(), ..Principal::default() });

    server.sql(&format!("insert into t select generate_series(1, {FLOOD})")).await;
    let first = longest_turn(&engine, FLOOD / 8).await;
    client.subscribe("1", "subscription { calm { row { id } } }");
    client.session.receive_text(r#"{"type":"ping"}"#);
    assert_eq!(client.frame().await["type"], "pong");
    client.complete("1");
    assert_eq!(engine.revoke(Selector { user_id, ..Selector::default() }).await.unwrap(), 1);
    assert_eq!(mallory.close_code(), Some(4403));
    assert!(handled(&engine) < FLOOD, "the flood was over before the client was served");
    let second = longest_turn(&engine, FLOOD).await;
    assert!(first.max(second) <= TURN, "another task waited for {} changes", first.max(second));

    client.subscribe("2", "subscription { calm { row { id } } }");
    server.sql("insert into calm values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    engine.stop(PATIENCE).await;
}

const T: &str = "subscription { t { row { id } cursor } }";

/// Keeps some ten thousand rows of another tenant before the engine, which always has more to read.
struct Flood {
    writer: JoinHandle<()>,
    rows: Arc<AtomicU64>,
}

impl Flood {
    async fn begin(server: &Server, engine: &Arc<Engine>) -> Self {
        let read = Arc::clone(engine);
        let (admin, rows) = (server.admin().await, Arc::new(AtomicU64::new(1_000_000)));
        let next = Arc::clone(&rows);
        let writer = tokio::spawn(async move {
            loop {
                let first = next.load(Ordering::SeqCst);
                let rows = format!("insert into t select n, 'globex' from generate_series({first}, {first} + 4999) n");
                admin.batch_execute(&rows).await.unwrap();
                let written = next.fetch_add(5_000, Ordering::SeqCst) - 1_000_000;
                until("the engine to read", || metric(&read, "events_total") + 10_000 > written).await;
            }
        });
        until("a stream in full flow", || metric(engine, "events_total") > 20_000).await;
        Flood { writer, rows }
    }

    /// It has gone on all the time.
    async fn end(self) {
        let before = self.rows.load(Ordering::SeqCst);
        until("the writer", || self.rows.load(Ordering::SeqCst) > before + 10_000).await;
        assert!(!self.writer.is_finished());
        self.writer.abort();
    }
}

fn ann(engine: &Engine) -> Client {
    let user =
        Principal { user_id: Some("ann".to_owned()), tenant_id: Some("acme".to_owned()), ..Principal::default() };
    Client::connect(engine, user)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_flood_clients_subscribe_resume_complete_and_are_revoked() {
    let server = Server::logical();
    server.sql("create table t (id int primary key, tenant text not null)").await;
    // A flood of debug builds' making must not carry the window past a client that resumes.
    let settings = Settings { replay_window_bytes: 1 << 30, ..patient() };
    let engine = serving_with(&server, &json!([{ "table": "t", "tenant": "tenant" }]), settings).await;
    let flood = Flood::begin(&server, &engine).await;

    let mut client = ann(&engine);
    client.subscribe("1", T);
    server.sql("insert into t values (1, 'acme')").await;
    let first = client.next().await;
    assert_eq!(first["row"]["id"], 1);
    client.complete("1");
    server.sql("insert into t values (2, 'acme')").await;

    client.send("2", &json!({ "query": T, "extensions": { "rowcast": { "after": first["cursor"] } } }));
    assert_eq!(client.rows(1, "id").await, [2], "what it missed");
    server.sql("insert into t values (3, 'acme')").await;
    assert_eq!(client.rows(1, "id").await, [3], "and what is new");

    server.sql("select rowcast.revoke(user_id => 'ann')").await;
    until("the socket to close", || client.close_code() == Some(4403)).await;
    flood.end().await;
    engine.stop(PATIENCE).await;
}
