//! Clients that read too slowly, beside others and on real rows: what they receive, and that they harm no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast::config::{Settings, SlowClient};
use rowcast::engine::{Engine, Outcome};
use rowcast::payload::Body;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, bus, in_memory, metric, until};
use crate::postgres::Server;

const ALERTS: &str = "subscription { alerts { payload } }";
const ORDERS: &str = "create table orders (id int primary key, tenant text not null, status text)";
const ALL: &str = "subscription { orders { operation transition key { id } row { id status } } }";

#[tokio::test]
async fn one_slow_client_among_a_thousand_changes_nothing_for_the_others() {
    let fields = json!([{ "topic": "alerts", "public": true }]);
    // A slow machine is not a slow client.
    let patient = json!({ "queue_bytes_max": 20_000, "queue_age_max_s": 600, "pong_timeout_s": 600 });
    let engine = in_memory(patient, &fields).await;
    let slow = Client::of(&engine, "slow");
    let mut others: Vec<Client> = (0..999).map(|n| Client::of(&engine, &format!("tenant {n}"))).collect();
    for client in others.iter().chain([&slow]) {
        client.subscribe("1", ALERTS);
    }
    for round in 0..5 {
        for n in 0..20 {
            engine.publish("alerts", &json!(round * 20 + n).to_string(), None).await.unwrap();
        }
        for client in &mut others {
            for n in 0..20 {
                assert_eq!(client.next().await["payload"], round * 20 + n);
            }
        }
    }
    assert_eq!(slow.close_code(), Some(1013));
    assert_eq!((metric(&engine, "slow_clients_total"), metric(&engine, "queue_bytes")), (1, 0));
}

/// Chaos, seed 1018 on PostgreSQL 18: an operation that was still replaying lost what it had not received.
#[tokio::test]
async fn a_close_names_a_cursor_only_if_no_operation_can_be_behind_it() {
    let fields = json!([{ "topic": "alerts", "public": true }]);
    let patient = json!({ "queue_bytes_max": 20_000, "queue_age_max_s": 600, "pong_timeout_s": 600 });
    let engine = in_memory(patient, &fields).await;
    let (mut alone, mut beside) = (Client::of(&engine, "a"), Client::of(&engine, "b"));
    for client in [&mut alone, &mut beside] {
        client.subscribe("1", ALERTS);
    }
    engine.publish("alerts", "0", None).await.unwrap();
    let first = alone.frame().await;
    beside.frame().await;
    let cursor = &first["payload"]["extensions"]["rowcast"]["cursor"];
    beside.send("2", &json!({ "query": ALERTS, "extensions": { "rowcast": { "after": cursor } } }));
    let slow = || metric(&engine, "slow_clients_total") == 2;
    for n in 1.. {
        if slow() {
            break;
        }
        engine.publish("alerts", &n.to_string(), None).await.unwrap();
    }
    let reason = |client: &Client| client.session.closing().unwrap().reason().to_owned();
    assert!(reason(&alone).contains(cursor.as_str().unwrap()), "{}", reason(&alone));
    assert!(!reason(&beside).contains("resume after"), "{}", reason(&beside));
}

async fn shop(fields: &Value) -> (Server, Arc<Engine>) {
    let server = Server::logical();
    server.sql(ORDERS).await;
    let settings = Settings {
        slow_client: SlowClient::Coalesce,
        queue_bytes_max: 20_000,
        queue_age_max_s: 600.0,
        pong_timeout_s: 600.0,
        ..Settings::default()
    };
    let engine = Arc::new(Engine::new(bus(&server), settings));
    engine.start(&fields.to_string()).await.unwrap();
    (server, engine)
}

/// As a client would hold them.
#[derive(Default)]
struct Rows {
    status: BTreeMap<i64, String>,
    operations: Vec<String>,
    events: u64,
}

impl Rows {
    /// Whether it was the end of the tale.
    fn apply(&mut self, frame: &Value) -> bool {
        let (event, told) = (&frame["payload"]["data"]["orders"], &frame["payload"]["extensions"]["rowcast"]);
        self.events += told["coalesced"].as_u64().unwrap_or(1);
        let operation = event["operation"].as_str().unwrap_or_default();
        self.operations.push(operation.to_owned());
        let id = event["key"]["id"].as_i64().unwrap_or_default();
        match (operation, event["transition"].as_str()) {
            ("TRUNCATE", _) => self.status.clear(),
            (_, Some("LEAVE")) => _ = self.status.remove(&id),
            _ => _ = self.status.insert(id, event["row"]["status"].as_str().unwrap_or_default().to_owned()),
        }
        self.status.get(&id).is_some_and(|status| status == "end")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_s_whole_life_is_coalesced_without_losing_how_it_ends() {
    let (server, engine) = shop(&json!([{ "table": "orders", "tenant": "tenant" }])).await;
    let (mut slow, mut quick) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    slow.subscribe("1", ALL);
    quick.subscribe("1", ALL);
    let (mut events, mut all) = (0, Rows::default());
    let updates = "do $$ begin for n in 1..60 loop update orders set status = n::text; end loop; end $$";
    for (statement, count) in [
        ("insert into orders select n, 'acme', 'new' from generate_series(1, 5) n", 5),
        (updates, 300),
        ("delete from orders where id = 2", 1),
        ("update orders set id = 30 where id = 3", 2),
        ("update orders set tenant = 'globex' where id = 4", 1),
        (updates, 180),
        ("truncate orders", 1),
        ("insert into orders select n, 'acme', 'again' from generate_series(1, 3) n", 3),
        (updates, 180),
        ("insert into orders values (99, 'acme', 'end')", 1),
    ] {
        server.sql(statement).await;
        // The other one reads all the while, and sees everything.
        for _ in 0..count {
            all.apply(&quick.frame().await);
        }
        events += count;
    }
    let mut rows = Rows::default();
    while !rows.apply(&slow.frame().await) {}
    assert_eq!(rows.status, all.status);
    assert_eq!(rows.status.len(), 4);
    assert_eq!((rows.events, all.events), (events, events), "each event is accounted for");
    assert!(rows.operations.len() < usize::try_from(events).unwrap() / 2, "{:?}", rows.operations.len());
    let count = |operation: &str| rows.operations.iter().filter(|told| *told == operation).count();
    assert_eq!((count("TRUNCATE"), count("DELETE")), (1, 1));
    assert_eq!(metric(&engine, "coalesced_total"), events - rows.operations.len() as u64);
    assert_eq!((slow.close_code(), quick.close_code(), metric(&engine, "queue_bytes")), (None, None, 0));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_resolvers_are_coalesced_by_the_row_of_their_event() {
    let (server, engine) =
        shop(&json!([{ "table": "orders", "tenant": "tenant", "name": "seen", "resolver": { "index": 0 } }])).await;
    let mut slow = Client::of(&engine, "acme");
    slow.subscribe("1", "subscription { seen { id } }");
    server.sql("insert into orders values (1, 'acme', 'new'), (2, 'acme', 'new')").await;
    server.sql("do $$ begin for n in 1..100 loop update orders set status = n::text; end loop; end $$").await;
    let mut answered = 0;
    until("every call to be answered", || {
        for call in engine.take_calls(100) {
            answered += 1;
            let body =
                json!({ "data": { "seen": { "id": answered } }, "extensions": { "rowcast": { "n": answered } } });
            let bodies = call.plans().into_iter().map(|plan| (plan, Body::whole(body.to_string()))).collect();
            call.settle(Outcome::Bodies(bodies));
        }
        answered == 202
    })
    .await;
    let mut events = 0;
    while events < 202 {
        let frame = slow.frame().await;
        events += frame["payload"]["extensions"]["rowcast"]["coalesced"].as_u64().unwrap_or(1);
    }
    assert_eq!(events, 202);
    assert!(metric(&engine, "coalesced_total") > 100);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_s_own_choice_comes_before_the_settings() {
    let (server, engine) = shop(&json!([{ "table": "orders", "tenant": "tenant", "slow_client": "disconnect" }])).await;
    let slow = Client::of(&engine, "acme");
    slow.subscribe("1", ALL);
    server.sql("insert into orders values (1, 'acme', 'new')").await;
    server.sql("do $$ begin for n in 1..200 loop update orders set status = n::text; end loop; end $$").await;
    until("the slow client's end", || slow.close_code() == Some(1013)).await;
    assert_eq!(metric(&engine, "coalesced_total"), 0);
    engine.stop(PATIENCE).await;
}
