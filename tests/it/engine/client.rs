//! A client of the engine without a socket: it speaks graphql-transport-ws into a session and reads what the session
//! has queued, as an event loop would.

#![allow(dead_code, reason = "each test module uses its own part of the fixture")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rowcast::adapter::Wake;
use rowcast::catalog::CaptureMode;
use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::{Engine, SessionHandle};
use rowcast::graphql::Request;
use rowcast::model::Principal;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::postgres::Server;

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Long enough for what is on its way to arrive, where a test says that nothing does.
pub(crate) const QUIET: Duration = Duration::from_millis(300);

#[derive(Default)]
pub(crate) struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self, _token: u64) {
        self.0.notify_one();
    }
}

pub(crate) fn principal(tenant: &str) -> Principal {
    Principal { tenant_id: Some(tenant.to_owned()), ..Principal::default() }
}

pub(crate) fn request(query: &str) -> Arc<Request> {
    Arc::new(Request { query: query.to_owned(), ..Request::default() })
}

/// How the engines of these tests capture changes: `ROWCAST_TEST_CAPTURE=outbox` runs the same promises over the other way.
pub(crate) fn capture() -> CaptureMode {
    match std::env::var("ROWCAST_TEST_CAPTURE").as_deref() {
        Ok("outbox") => CaptureMode::Outbox,
        Ok("wal") | Err(_) => CaptureMode::Wal,
        Ok(other) => panic!("ROWCAST_TEST_CAPTURE={other}: wal or outbox"),
    }
}

/// For what is promised of a replication stream alone: damaged bytes, slots, publications, partial old images.
pub(crate) fn skips_outbox(why: &str) -> bool {
    let skips = capture() == CaptureMode::Outbox;
    if skips {
        eprintln!("skipped: {why}");
    }
    skips
}

pub(crate) fn bus(server: &Server) -> Bus {
    Bus::PostgreSql(PostgreSqlBus {
        url: Some(server.url()),
        slot: Some("rowcast_it".to_owned()),
        publication: "rowcast".to_owned(),
        capture: Some(capture()),
    })
}

/// An engine that serves a server with these fields.
pub(crate) async fn serving(server: &Server, fields: &Value) -> Arc<Engine> {
    serving_with(server, fields, patient()).await
}

/// The same with these settings.
pub(crate) async fn serving_with(server: &Server, fields: &Value, settings: Settings) -> Arc<Engine> {
    let engine = Arc::new(Engine::new(bus(server), settings));
    engine.start(&fields.to_string()).await.unwrap();
    engine
}

/// Tests look when they like, and the machine may be busy: no client is slow by accident.
pub(crate) fn patient() -> Settings {
    Settings { queue_bytes_max: 1 << 28, queue_age_max_s: 600.0, pong_timeout_s: 600.0, ..Settings::default() }
}

/// An engine without a database.
pub(crate) async fn in_memory(settings: Value, fields: &Value) -> Arc<Engine> {
    let engine = Arc::new(Engine::new(Bus::Memory, Settings::parse(&settings.to_string()).unwrap()));
    engine.start(&fields.to_string()).await.unwrap();
    engine
}

pub(crate) fn metric(engine: &Engine, name: &str) -> u64 {
    engine.metrics().iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no metric {name}")).1
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One connected client.
pub(crate) struct Client {
    pub(crate) session: Arc<SessionHandle>,
    bell: Arc<Bell>,
    frames: VecDeque<Value>,
}

impl Client {
    /// A client of a tenant, authenticated.
    pub(crate) fn of(engine: &Engine, tenant: &str) -> Self {
        Self::connect(engine, principal(tenant))
    }

    pub(crate) fn connect(engine: &Engine, principal: Principal) -> Self {
        let bell = Arc::new(Bell::default());
        let session = engine.connect(Arc::clone(&bell) as Arc<dyn Wake>).unwrap();
        assert!(session.receive_text(r#"{"type":"connection_init"}"#).is_some());
        session.accept(principal, None);
        let mut client = Client { session, bell, frames: VecDeque::new() };
        client.take();
        assert_eq!(client.frames.pop_front().unwrap()["type"], "connection_ack");
        client
    }

    /// Starts an operation; it is in force when this returns.
    pub(crate) fn subscribe(&self, id: &str, query: &str) {
        self.send(id, &json!({ "query": query }));
    }

    /// The same with a whole payload.
    pub(crate) fn send(&self, id: &str, payload: &Value) {
        let message = json!({ "id": id, "type": "subscribe", "payload": payload });
        self.session.receive_text(&message.to_string());
    }

    pub(crate) fn complete(&self, id: &str) {
        self.session.receive_text(&json!({ "id": id, "type": "complete" }).to_string());
    }

    /// The next frame but for pings.
    pub(crate) async fn frame(&mut self) -> Value {
        let patience = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.frames.pop_front() {
                    Some(frame) if frame["type"] == "ping" => {}
                    Some(frame) => return frame,
                    None => self.wait().await,
                }
            }
        });
        patience.await.expect("a frame in time")
    }

    /// The data of the next result, under its response key.
    pub(crate) async fn next(&mut self) -> Value {
        let mut frame = self.frame().await;
        assert_eq!(frame["type"], "next", "{frame}");
        assert!(frame["payload"]["errors"].is_null(), "{frame}");
        let data = frame["payload"]["data"].take();
        data.as_object().unwrap().values().next().unwrap().clone()
    }

    /// `row.<field>` of the next `count` results, in order.
    pub(crate) async fn rows(&mut self, count: usize, field: &str) -> Vec<Value> {
        let mut rows = Vec::with_capacity(count);
        while rows.len() < count {
            rows.push(self.next().await["row"][field].take());
        }
        rows
    }

    /// The code of the error that ends an operation.
    pub(crate) async fn error(&mut self) -> (String, String) {
        let frame = self.frame().await;
        assert_eq!(frame["type"], "error", "{frame}");
        let error = &frame["payload"][0];
        (error["extensions"]["code"].as_str().unwrap_or_default().to_owned(), error["message"].to_string())
    }

    /// Nothing comes.
    pub(crate) async fn is_quiet(&mut self) {
        tokio::time::sleep(QUIET).await;
        self.take();
        self.frames.retain(|frame| frame["type"] != "ping");
        assert!(self.frames.is_empty(), "{:?}", self.frames);
    }

    /// The code by which the session is being closed.
    pub(crate) fn close_code(&self) -> Option<u16> {
        self.session.closing().map(|close| close.code().code())
    }

    async fn wait(&mut self) {
        self.take();
        if self.frames.is_empty() {
            assert_eq!(self.close_code(), None, "closed: {:?}", self.session.closing());
            self.bell.0.notified().await;
        }
    }

    fn take(&mut self) {
        for frame in self.session.take(1000) {
            let mut text = Vec::new();
            frame.write_to(&mut text);
            self.frames.push_back(serde_json::from_slice(&text).unwrap());
        }
    }
}
