//! While the stream has always more to read, the engine still does everything else.

use rowcast::engine::Engine;
use rowcast::model::{Principal, Selector};
use serde_json::json;
use tokio::task::yield_now;

use crate::engine::client::{Client, PATIENCE, metric, serving};
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
