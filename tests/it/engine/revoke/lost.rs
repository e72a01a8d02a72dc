//! A revoke may be among lost changes, or behind the end of the stream: every client that it could name authenticates again.

use std::sync::Arc;

use super::{IDS, authenticating, code_of, fields, prepared, subscribed, until_closed, user};
use crate::engine::client::{Client, PATIENCE, capture, metric, request, serving, until};
use crate::engine::slots::DROP_SLOT;
use crate::postgres::Server;
use rowcast::catalog::CaptureMode;
use rowcast::engine::Engine;
use rowcast::model::Principal;
use rowcast::session::Dialect;

const KEPT: &str = "subscription { t(snapshot: true) { operation row { id } } }";
const REVOKE: &str = "select rowcast.revoke(user_id => 'ann')";

/// Commits a row and a revoke that no stream carries: a slot that is made while a transaction is open begins behind it.
async fn lose(server: &Server) {
    let loss = match capture() {
        CaptureMode::Wal => DROP_SLOT,
        CaptureMode::Outbox => {
            "select rowcast.close_window(); delete from rowcast.outbox_window; select rowcast.stop_outbox(); \
             select rowcast.start_outbox()"
        }
    };
    server.sql(&format!("begin; {REVOKE}; insert into t values (1); {loss}; commit")).await;
}

/// Makes the engine's stream fail for good.
async fn fail(server: &Server) {
    let harm = match capture() {
        CaptureMode::Wal => "drop publication rowcast; insert into t values (1)",
        CaptureMode::Outbox => "select rowcast.stop_outbox()",
    };
    server.sql(harm).await;
}

fn anonymous(engine: &Engine, query: &str) -> Client {
    let client = Client::connect(engine, Principal::default());
    client.subscribe("1", query);
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_lost_changes_every_session_that_a_revoke_could_name_authenticates_again() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let (mut ann, keeper) = (subscribed(&engine, "ann"), Client::connect(&engine, user("ann")));
    keeper.subscribe("1", KEPT);
    until("the rows", || !keeper.session.take(1).is_empty()).await;
    let roles = [
        Principal { tenant_id: Some("acme".to_owned()), ..Principal::default() },
        Principal { role: Some("postgres".to_owned()), ..Principal::default() },
    ];
    let others = roles.map(|principal| Client::connect(&engine, principal));
    let asked = [Dialect::Socket, Dialect::Distinct, Dialect::Single].map(|dialect| authenticating(&engine, dialect));
    lose(&server).await;
    for client in [&ann, &keeper].into_iter().chain(&others) {
        until_closed(client, 1012).await;
        assert_eq!(client.session.closing().unwrap().reason(), "Changes were lost: authenticate again");
    }
    assert_eq!(ann.error().await.0, "GAP", "the reason comes before the end");
    for session in asked {
        session.accept(user("ann"), None);
        assert_eq!(code_of(&session), Some(1012), "the hook may have read what was before the revoke");
    }
    let mut back = subscribed(&engine, "bob");
    server.sql("insert into t values (2)").await;
    assert_eq!(back.rows(1, "id").await, [2], "a hook that runs afterwards decides again");
    assert!(keeper.session.take(10).is_empty(), "a client that may have been revoked gets no new snapshot");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_lost_changes_whoever_no_revoke_can_name_goes_on() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let (mut plain, mut keeper) = (anonymous(&engine, IDS), anonymous(&engine, KEPT));
    assert_eq!(keeper.next().await["operation"], "SNAPSHOT_END");
    let asked = authenticating(&engine, Dialect::Socket);
    lose(&server).await;
    assert_eq!(plain.error().await.0, "GAP");
    assert_eq!(keeper.next().await["row"]["id"], 1, "the rows again");
    asked.accept(Principal::default(), None);
    assert_eq!((code_of(&asked), plain.close_code(), keeper.close_code()), (None, None, None));
    plain.subscribe("2", IDS);
    server.sql("insert into t values (2)").await;
    assert_eq!(plain.rows(1, "id").await, [2]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_lost_changes_registered_subscriptions_that_a_revoke_could_name_end() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let next = |principal: Principal| engine.register(&Arc::new(principal), &request(KEPT)).unwrap().1;
    let (named, nobody) = (next(user("ann")), next(Principal::default()));
    for queue in [&named, &nobody] {
        assert!(queue.next(Some(PATIENCE)).unwrap().is_some());
    }
    lose(&server).await;
    until("the gap", || metric(&engine, "gaps_total") == 1).await;
    assert_eq!(named.next(Some(PATIENCE)).unwrap_err().code(), "GAP");
    let told = nobody.next(Some(PATIENCE)).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&told).contains(r#""id":1"#), "the rows again");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ended_for_good_closes_every_session_that_a_revoke_could_name() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let (mut ann, mut nobody) = (subscribed(&engine, "ann"), anonymous(&engine, IDS));
    fail(&server).await;
    until_closed(&ann, 1012).await;
    while ann.frame().await["type"] != "error" {}
    while nobody.frame().await["type"] != "error" {}
    assert_eq!(nobody.close_code(), None);
    engine.stop(PATIENCE).await;
}
