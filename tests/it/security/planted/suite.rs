//! Whatever is planted, whenever, under whichever engine: decisions are those of SELECT, a policy that cannot be bound is
//! refused by its code, and nothing planted is ever called.

use std::collections::BTreeSet;

use rowcast::engine::Engine;
use serde_json::Value;

use super::tables::{OF_TENANTS, POLICIES, is_bound};
use super::world::{Case, When, World, reader};
use crate::engine::client::{Client, PATIENCE};
use crate::postgres::Server;

fn subscribed(engine: &Engine, table: usize, snapshot: bool) -> Client {
    let client = reader(engine);
    let query = format!("subscription {{ t{table}(snapshot: {snapshot}) {{ operation row {{ id }} }} }}");
    client.subscribe("1", &query);
    client
}

async fn is_refused(client: &mut Client, case: Case, table: usize) {
    let (code, _) = client.error().await;
    assert_eq!(code, "POLICY_UNBOUND", "{case}: {}", POLICIES[table].0);
}

async fn holds(server: &Server, case: Case) {
    let world = World::new(server, case).await;
    let engine = world.serving().await;
    let mut clients: Vec<_> = (0..=OF_TENANTS).map(|table| subscribed(&engine, table, false)).collect();
    world.plant(When::WhileItRuns).await;
    for (table, client) in clients.iter_mut().enumerate().filter(|(table, _)| !is_bound(*table)) {
        is_refused(client, case, table).await;
    }
    world.write().await;
    world.administer().await;
    for (table, client) in clients.iter_mut().enumerate() {
        decides_as_select(&world, &engine, client, table).await;
    }
    world.gives_rows_by_key(&engine).await;
    clients[0].is_quiet().await;
    engine.stop(PATIENCE).await;
    assert_eq!(world.called(), Vec::<String>::new(), "{case}");
    world.are_armed().await;
}

/// Rows that come alive, and then a snapshot of them.
async fn decides_as_select(world: &World<'_>, engine: &Engine, client: &mut Client, table: usize) {
    let mut late = subscribed(engine, table, true);
    if !is_bound(table) {
        return is_refused(&mut late, world.case, table).await;
    }
    let (shown, policy) = (world.shown(table).await, POLICIES.get(table));
    let delivered = client.rows(shown.len(), "id").await;
    assert_eq!(
        delivered.iter().filter_map(Value::as_i64).collect::<BTreeSet<_>>(),
        shown,
        "{}: {policy:?}",
        world.case
    );
    let mut snapshot = BTreeSet::new();
    loop {
        let event = late.next().await;
        match event["row"]["id"].as_i64() {
            Some(id) => snapshot.insert(id),
            None => break,
        };
    }
    assert_eq!(snapshot, shown, "{}: {policy:?}", world.case);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_planted_and_whenever_decisions_are_those_of_select_and_nothing_planted_is_called() {
    let server = Server::with(&["wal_level=logical", "max_replication_slots=20", "max_wal_senders=20"]);
    let roles = "create role planter login; create role reader; create role writer login;
                 create role engine login replication; grant reader to engine;
                 alter role engine set search_path = app, \"$user\", public, pg_catalog, pg_temp";
    server.sql(roles).await;
    for case in Case::all() {
        holds(&server, case).await;
    }
}
