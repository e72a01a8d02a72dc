//! Sessions and resolver calls without a database: many, slow and hostile ones, and what they may not do to others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rowcast::engine::{Call, Engine, Outcome};
use rowcast::payload::Body;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, in_memory, metric, principal, request, until};

const ALERTS: &str = "subscription { alerts { payload } }";
const SEEN: &str = "subscription { seen }";

fn fields() -> Value {
    json!([
        { "topic": "alerts", "public": true },
        { "topic": "seen", "resolver": { "index": 0 } },
    ])
}

async fn publish(engine: &Engine, topic: &str, payload: &Value, tenant: Option<&str>) {
    engine.publish(topic, &payload.to_string(), tenant).await.unwrap();
}

/// Answers a call with a number.
fn answer(call: &Call, number: i64) {
    let body = Bytes::from(format!(r#"{{"data":{{"seen":{number}}}}}"#));
    call.settle(Outcome::Bodies(call.plans().into_iter().map(|plan| (plan, Body::whole(body.clone()))).collect()));
}

#[tokio::test]
async fn one_event_reaches_a_thousand_sessions_and_is_written_once() {
    let engine = in_memory(json!({}), &fields()).await;
    let mut clients: Vec<Client> = (0..1000).map(|n| Client::of(&engine, &format!("tenant {n}"))).collect();
    for client in &clients {
        client.subscribe("1", ALERTS);
    }
    publish(&engine, "alerts", &json!(1), None).await;
    publish(&engine, "alerts", &json!(2), Some("tenant 7")).await;
    for client in &mut clients {
        assert_eq!(client.next().await["payload"], 1);
    }
    assert_eq!(clients[7].next().await["payload"], 2);
    clients[8].is_quiet().await;
    assert_eq!((metric(&engine, "deliveries_total"), metric(&engine, "payloads_total")), (1001, 2));
    for client in &clients {
        client.session.disconnect();
    }
    assert_eq!((metric(&engine, "sessions"), metric(&engine, "subscriptions")), (0, 0));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_the_others_go_on() {
    let engine = in_memory(json!({ "queue_bytes_max": 10_000 }), &fields()).await;
    let (slow, mut quick) = (Client::of(&engine, "slow"), Client::of(&engine, "quick"));
    slow.subscribe("1", ALERTS);
    quick.subscribe("1", ALERTS);
    for n in 0..200 {
        publish(&engine, "alerts", &json!(n), None).await;
        assert_eq!(quick.next().await["payload"], n);
    }
    assert_eq!((slow.close_code(), quick.close_code()), (Some(1013), None));
    assert!(slow.session.take(10).is_empty(), "what was queued is freed");
    until("the end of its subscription", || metric(&engine, "subscriptions") == 1).await;
    assert_eq!(metric(&engine, "slow_clients_total"), 1);
}

#[tokio::test]
async fn a_stopped_engine_takes_no_one_and_leaves_no_one_waiting() {
    let engine = in_memory(json!({}), &fields()).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", ALERTS);
    let (_, pulled) = engine.register(&principal("acme").into(), &request(ALERTS)).unwrap();
    let reader = tokio::task::spawn_blocking(move || pulled.next(Some(Duration::from_secs(5))));
    engine.stop(PATIENCE).await;
    assert_eq!(client.close_code(), Some(1001));
    assert_eq!(reader.await.unwrap().unwrap_err().code(), "SHUTTING_DOWN");
    assert!(engine.register(&principal("acme").into(), &request(ALERTS)).is_err());
    assert!(engine.connect(Arc::new(crate::engine::client::Bell::default())).is_err());
    assert_eq!(metric(&engine, "subscriptions"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_who_connects_during_a_stop_is_left_open() {
    for _ in 0..50 {
        let engine = in_memory(json!({}), &fields()).await;
        let connecting = {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || {
                let bell = || Arc::new(crate::engine::client::Bell::default());
                std::iter::from_fn(|| engine.connect(bell()).ok()).collect::<Vec<_>>()
            })
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
        engine.stop(PATIENCE).await;
        let sessions = connecting.join().unwrap();
        assert!(sessions.iter().all(|session| session.closing().is_some()), "of {}", sessions.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_publications_are_told_in_the_order_of_their_cursors() {
    let engine = in_memory(json!({}), &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALERTS);
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let engine = Arc::clone(&engine);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                for _ in 0..1000 {
                    runtime.block_on(publish(&engine, "alerts", &json!(null), None));
                }
            })
        })
        .collect();
    let mut cursors = Vec::new();
    for _ in 0..4000 {
        let frame = client.frame().await;
        cursors.push(frame["payload"]["extensions"]["rowcast"]["cursor"].as_str().unwrap().to_owned());
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    let cursors: Vec<_> = cursors.iter().map(|c| c.parse::<rowcast::journal::Cursor>().unwrap().position).collect();
    assert!(cursors.is_sorted());
}

#[tokio::test]
async fn only_the_first_verdict_on_a_client_counts() {
    let engine = in_memory(json!({}), &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.session.accept(principal("globex"), None);
    client.subscribe("1", ALERTS);
    publish(&engine, "alerts", &json!(1), Some("globex")).await;
    publish(&engine, "alerts", &json!(2), Some("acme")).await;
    assert_eq!(client.next().await["payload"], 2);
}

#[tokio::test]
async fn answers_come_in_the_order_of_their_events() {
    let engine = in_memory(json!({}), &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", SEEN);
    for n in 0..3 {
        publish(&engine, "seen", &json!(n), Some("acme")).await;
    }
    let calls = engine.take_calls(10);
    assert_eq!((calls.len(), metric(&engine, "resolver_calls")), (3, 3));
    answer(&calls[2], 2);
    calls[1].settle(Outcome::Skip);
    client.is_quiet().await;
    answer(&calls[0], 0);
    assert_eq!((client.next().await, client.next().await), (json!(0), json!(2)));
    assert_eq!(metric(&engine, "resolver_calls"), 0);
}

/// As an event loop does: it asks whether anybody waits, and drops the call otherwise.
#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_holds_up_nobody() {
    let engine = in_memory(json!({}), &fields()).await;
    let (first, mut second) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    first.subscribe("1", SEEN);
    publish(&engine, "seen", &json!(1), Some("acme")).await;
    let deserted = engine.take_calls(1).remove(0);
    second.subscribe("1", SEEN);
    first.complete("1");
    publish(&engine, "seen", &json!(2), Some("acme")).await;
    answer(&engine.take_calls(1)[0], 2);
    assert!(!deserted.pending());
    drop(deserted);
    assert_eq!(second.next().await, json!(2));
    assert_eq!(metric(&engine, "resolver_calls"), 0);
}

#[tokio::test]
async fn a_tenant_that_floods_its_resolver_ends_its_own_subscriptions_alone() {
    let engine = in_memory(json!({ "resolver_backlog_bytes_max": 20_000 }), &fields()).await;
    let (mut flooded, mut other) = (Client::of(&engine, "flooded"), Client::of(&engine, "other"));
    flooded.subscribe("1", SEEN);
    other.subscribe("1", SEEN);
    for _ in 0..30 {
        publish(&engine, "seen", &json!("x".repeat(1000)), Some("flooded")).await;
    }
    assert_eq!(flooded.error().await.0, "RESOLVER_OVERLOADED");
    publish(&engine, "seen", &json!(1), Some("other")).await;
    let calls = engine.take_calls(100);
    let own = calls.last().unwrap();
    answer(own, 7);
    assert_eq!(other.next().await, json!(7), "it does not wait for another tenant's calls");
}

/// A failure and a client's own `complete` cross each other all the time; the client uses the same id again at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_that_is_used_again_belongs_to_its_new_operation() {
    let engine = in_memory(json!({ "resolver_backlog_bytes_max": 1 }), &fields()).await;
    let client = Client::of(&engine, "acme");
    let until = std::time::Instant::now() + Duration::from_secs(3);
    while std::time::Instant::now() < until {
        client.subscribe("1", SEEN);
        publish(&engine, "seen", &json!(1), Some("acme")).await;
        client.complete("1");
        client.session.take(100);
    }
    client.complete("1");
    assert_eq!(client.close_code(), None);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(metric(&engine, "subscriptions"), 0);
}

#[tokio::test]
async fn an_engine_that_is_dropped_is_gone() {
    let engine = in_memory(json!({}), &fields()).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", SEEN);
    publish(&engine, "seen", &json!(1), Some("acme")).await;
    let Client { session, .. } = client;
    let session = {
        let weak = Arc::downgrade(&session);
        drop(session);
        weak
    };
    drop(engine);
    until("the session's memory", || session.upgrade().is_none()).await;
}
