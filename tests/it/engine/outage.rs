//! Outages between the server and the engine, seen from a session: every row once, in order, or an error that says why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rowcast::adapter::Wake;
use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::engine::client::{Client, PATIENCE, capture, metric, serving, skips_outbox, until};
use crate::postgres::{Server, Stop};

const IDS: &str = "subscription { t { row { id } } }";

async fn prepared() -> Server {
    let server = Server::logical();
    server.sql("create table t (id int primary key, note text)").await;
    server
}

fn fields() -> Value {
    json!([{ "table": "t", "public": true }])
}

fn all(last: i32) -> Vec<Value> {
    (1..=last).map(|id| json!(id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_server_loses_and_repeats_nothing() {
    let mut server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    for round in 0..3 {
        let first = round * 200 + 1;
        server.sql(&format!("insert into t select n from generate_series({first}, {first} + 99) n")).await;
        for id in first + 100..first + 200 {
            server.sql(&format!("insert into t values ({id})")).await;
        }
        server.restart(Stop::Kill);
    }
    assert_eq!(client.rows(600, "id").await, all(600));
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_terminated_inside_a_large_transaction_repeats_nothing() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t select n from generate_series(1, 20000) n").await;
    let mut told = client.rows(100, "id").await;
    let kill = "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null";
    server.sql(kill).await;
    told.extend(client.rows(19_900, "id").await);
    assert_eq!(told, all(20_000));
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_failed_says_so_to_those_who_listen_and_to_those_who_come() {
    if skips_outbox("an outbox needs no publication") {
        return;
    }
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    // Nobody whom a revoke behind the end could name: the socket stays open.
    let mut client = Client::connect(&engine, Principal::default());
    client.subscribe("1", IDS);
    server.sql("drop publication rowcast").await;
    server.sql("insert into t values (1)").await;
    let (code, message) = client.error().await;
    assert_eq!(code, "CAPTURE_FAILED");
    assert!(message.contains("PUBLICATION_MISSING"), "{message}");
    assert!(!message.contains("127.0.0.1") && !message.contains("postgres"), "hosts are not for clients: {message}");
    client.subscribe("2", IDS);
    assert_eq!(client.error().await, (code.clone(), message.clone()), "a client that subscribes later gets it too");
    let mut late = Client::of(&engine, "acme");
    late.subscribe("1", IDS);
    assert_eq!(late.error().await, (code, message));
    assert_eq!(metric(&engine, "capture_failed"), 1);
    engine.stop(PATIENCE).await;
}

/// Rings once, then breaks as no adapter should.
struct Trap(AtomicBool);

impl Wake for Trap {
    fn wake(&self, _token: u64) {
        assert!(!self.0.load(Ordering::SeqCst), "the test's trap");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_defect_that_ends_the_stream_is_told_as_well() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    let trap = Arc::new(Trap(AtomicBool::new(false)));
    let session = engine.connect(Arc::clone(&trap) as Arc<dyn Wake>).unwrap();
    session.receive_text(r#"{"type":"connection_init"}"#);
    session.accept(crate::engine::client::principal("acme"), None);
    let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": IDS } });
    session.receive_text(&subscribe.to_string());
    session.take(10);
    trap.0.store(true, Ordering::SeqCst);
    server.sql("insert into t values (1)").await;
    let frame = client.frame().await;
    let last = if frame["type"] == "next" { client.frame().await } else { frame };
    assert_eq!(last["payload"][0]["extensions"]["code"], "CAPTURE_FAILED", "{last}");
    trap.0.store(false, Ordering::SeqCst);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_damaged_on_its_way_is_sent_again() {
    if skips_outbox("it damages messages of a walsender") {
        return;
    }
    let server = prepared().await;
    let relay = Relay::to(server.port(), 1).await;
    let engine = relay.engine().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1); insert into t values (2, 'DAMAGE-ME'); insert into t values (3)").await;
    server.sql("insert into t values (4)").await;
    assert_eq!(client.rows(4, "id").await, all(4));
    client.is_quiet().await;
    assert_eq!(metric(&engine, "capture_interruptions_total"), 1);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_damaged_at_the_same_place_again_has_failed() {
    if skips_outbox("it damages messages of a walsender") {
        return;
    }
    let server = prepared().await;
    let relay = Relay::to(server.port(), usize::MAX).await;
    let engine = relay.engine().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1, 'DAMAGE-ME')").await;
    assert_eq!(client.error().await.0, "CAPTURE_FAILED");
    until("the slot to be free", || metric(&engine, "capture_failed") == 1).await;
    engine.stop(PATIENCE).await;
}

/// Passes bytes on and turns the mark of a certain value into one that nobody knows, so many times.
struct Relay {
    port: u16,
}

impl Relay {
    async fn to(server: u16, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(std::sync::atomic::AtomicUsize::new(times));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(client, upstream, Arc::clone(&left)));
            }
        });
        Relay { port }
    }

    async fn engine(&self) -> Engine {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        let bus = PostgreSqlBus {
            url: Some(url),
            slot: Some("rowcast_it".to_owned()),
            publication: "rowcast".to_owned(),
            capture: Some(capture()),
        };
        let engine = Engine::new(Bus::PostgreSql(bus), Settings::default());
        engine.start(&fields().to_string()).await.unwrap();
        engine
    }
}

async fn pass(client: TcpStream, upstream: TcpStream, left: Arc<std::sync::atomic::AtomicUsize>) {
    const MARK: &[u8] = b"t\0\0\0\x09DAMAGE-ME";
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
        let found = buffer[..count].windows(MARK.len()).position(|window| window == MARK);
        if let Some(at) = found
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            buffer[at] = b'z';
        }
        if to_client.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    up.abort();
}
