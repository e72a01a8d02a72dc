//! A row whose key changes leaves under its old key and enters under its new one: a client that keeps rows by key ends
//! with what the table has.

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast::engine::{Engine, Outcome};
use rowcast::model::Principal;
use rowcast::payload::resolved_body;
use rowcast::security::Image;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, serving, skips_outbox, until};
use crate::postgres::Server;

const ALL: &str = "subscription { t { operation transition key { id } row { id v } changed } }";

async fn following(table: &str, fields: Value) -> (Server, Arc<Engine>, Client) {
    let server = Server::logical();
    server.sql(table).await;
    let engine = serving(&server, &fields).await;
    let client = Client::of(&engine, "acme");
    (server, engine, client)
}

async fn public(table: &str) -> (Server, Arc<Engine>, Client) {
    let (server, engine, client) = following(table, json!([{ "table": "t", "public": true }])).await;
    client.subscribe("1", ALL);
    (server, engine, client)
}

/// `transition id v`
fn line(event: &Value) -> String {
    assert!(matches!(event["operation"].as_str(), None | Some("UPDATE")), "{event}");
    format!("{} {} {}", event["transition"].as_str().unwrap(), event["key"]["id"], event["row"]["v"])
}

async fn lines(client: &mut Client, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..count {
        lines.push(line(&client.next().await));
    }
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_leaves_and_enters_and_a_cursor_between_the_two_loses_neither() {
    let (server, engine, mut client) =
        public("create table t (id int primary key, v int); insert into t values (1, 7)").await;
    server.sql("update t set id = 100 where id = 1").await;
    let (left, entered) = (client.frame().await, client.frame().await);
    let event = |frame: &Value| frame["payload"]["data"]["t"].clone();
    let due = json!({ "operation": "UPDATE", "transition": "LEAVE", "key": { "id": 1 }, "row": null, "changed": [] });
    assert_eq!(event(&left), due);
    let due = json!({ "operation": "UPDATE", "transition": "ENTER", "key": { "id": 100 }, "row": { "id": 100, "v": 7 },
                      "changed": [] });
    assert_eq!(event(&entered), due);
    let rowcast = |frame: &Value, name: &str| frame["payload"]["extensions"]["rowcast"][name].clone();
    assert_eq!(rowcast(&left, "committedAt"), rowcast(&entered, "committedAt"), "one commit");
    server.sql("update t set v = 8").await;
    for (frame, due) in [(&left, &["ENTER 100 7", "STAY 100 8"][..]), (&entered, &["STAY 100 8"])] {
        let mut back = Client::of(&engine, "acme");
        let after = json!({ "rowcast": { "after": rowcast(frame, "cursor") } });
        back.send("1", &json!({ "query": ALL, "extensions": after }));
        assert_eq!(lines(&mut back, due.len()).await, due);
        back.is_quiet().await;
    }
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_replica_identity_a_changed_key_is_known() {
    for identity in ["full", "default", "using index t_pkey"] {
        let table = format!(
            "create table t (id int primary key, v int); alter table t replica identity {identity}; insert into t values (1, 7)"
        );
        let fields = json!([{ "table": "t", "public": true, "replica_identity": "keep" }]);
        let (server, engine, mut client) = following(&table, fields).await;
        client.subscribe("1", ALL);
        server.sql("update t set id = 2; update t set v = 8; update t set id = id").await;
        assert_eq!(lines(&mut client, 4).await, ["LEAVE 1 null", "ENTER 2 7", "STAY 2 8", "STAY 2 8"], "{identity}");
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_of_a_changed_key_is_delivered_to_those_who_may_see_it() {
    let table =
        "create table t (id int primary key, v int, tenant text); insert into t values (1, 1, 'acme'), (2, 9, 'acme')";
    let (server, engine, mut acme) = following(table, json!([{ "table": "t", "tenant": "tenant" }])).await;
    let mut globex = Client::of(&engine, "globex");
    let low = "subscription { t(where: { v: { lt: 5 } }) { transition key { id } row { v } } }";
    acme.subscribe("1", low);
    globex.subscribe("1", low);
    server.sql("update t set id = 10, v = 9 where id = 1; update t set id = 20, v = 1 where id = 2").await;
    server.sql("update t set id = 21 where id = 20; update t set id = 22, tenant = 'globex' where id = 21").await;
    let due = ["LEAVE 1 null", "ENTER 20 1", "LEAVE 20 null", "ENTER 21 1", "LEAVE 21 null"];
    assert_eq!(lines(&mut acme, 5).await, due);
    assert_eq!(lines(&mut globex, 1).await, ["ENTER 22 1"]);
    acme.is_quiet().await;
    globex.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_halves_of_a_changed_key_are_an_update() {
    let (server, engine, mut updates) =
        public("create table t (id int primary key, v int); insert into t values (1, 7)").await;
    updates.complete("1");
    updates.subscribe("2", "subscription { t(operations: [UPDATE]) { operation transition key { id } row { v } } }");
    let mut others = Client::of(&engine, "acme");
    others.subscribe("1", "subscription { t(operations: [INSERT, DELETE]) { operation transition key { id } } }");
    server.sql("update t set id = 2; delete from t").await;
    assert_eq!(lines(&mut updates, 2).await, ["LEAVE 1 null", "ENTER 2 7"]);
    assert_eq!(others.next().await["operation"], "DELETE");
    engine.stop(PATIENCE).await;
}

/// A key is whole: a part of it that changes makes it another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_rows_take_from_each_other_in_one_transaction_end_right() {
    let table = "create table t (id int, v int, part int, primary key (id, part)); insert into t values (1, 1, 0), (2, 2, 0), (3, 3, 1)";
    let fields = json!([{ "table": "t", "public": true, "transactions": true }]);
    let (server, engine, mut client) = following(table, fields).await;
    client.subscribe("1", "subscription { t { changes { transition key { id part } row { v } } } }");
    server
        .sql(
            "begin; update t set id = 0 where id = 2; update t set id = 2 where id = 1; update t set id = 1 where id = 0;
             update t set part = 0 where id = 3; commit",
        )
        .await;
    let mut rows: BTreeMap<String, Value> = [(1, 1, 0), (2, 2, 0), (3, 3, 1)]
        .map(|(id, v, part)| (key(&json!({ "id": id, "part": part })), json!(v)))
        .into();
    let changes = client.next().await["changes"].take();
    for change in changes.as_array().unwrap() {
        let before = match change["transition"].as_str() {
            Some("LEAVE") => rows.remove(&key(&change["key"])),
            _ => rows.insert(key(&change["key"]), change["row"]["v"].clone()),
        };
        assert_eq!(before.is_some(), change["transition"] == "LEAVE", "{changes}");
    }
    let due =
        [(1, 2, 0), (2, 1, 0), (3, 3, 0)].map(|(id, v, part)| (key(&json!({ "id": id, "part": part })), json!(v)));
    assert_eq!(rows, BTreeMap::from(due));
    engine.stop(PATIENCE).await;
}

fn key(key: &Value) -> String {
    format!("{}/{}", key["id"], key["part"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_are_asked_and_resolvers_have_both_halves() {
    let table = "create role app; create table t (id int primary key, v int); grant select on t to app; insert into t values (1, 7);
         alter table t enable row level security;
         create function readable(r t) returns boolean language sql stable as $$ select r.v = 7 $$;
         create policy seven on t using (readable(t.*))";
    let resolver = |leave: bool| json!({ "index": 0, "returns": { "type": "Int!" }, "leave": leave });
    let fields = json!([
        { "table": "t" },
        { "table": "t", "name": "both", "resolver": resolver(true) },
        { "table": "t", "name": "present", "resolver": resolver(false) },
    ]);
    let (server, engine, _) = following(table, fields).await;
    let principal = || Principal { role: Some("app".into()), ..Principal::default() };
    let mut client = Client::connect(&engine, principal());
    client.subscribe("1", ALL);
    server.sql("update t set id = 2; update t set id = 3, v = 8").await;
    assert_eq!(lines(&mut client, 3).await, ["LEAVE 1 null", "ENTER 2 7", "LEAVE 2 null"]);
    for (field, due) in [("both", &["LEAVE 3", "ENTER 4"][..]), ("present", &["ENTER 5"])] {
        server.sql("update t set v = 7").await;
        lines(&mut client, 1).await;
        let mut reader = Client::connect(&engine, principal());
        reader.subscribe("1", &format!("subscription {{ {field} }}"));
        server.sql("update t set id = id + 1").await;
        let mut calls = Vec::new();
        until("the resolver to be called", || {
            calls.extend(engine.take_calls(10));
            calls.len() >= due.len()
        })
        .await;
        let told: Vec<_> = calls
            .iter()
            .map(|call| {
                let visible = call.visible().unwrap();
                assert_eq!(visible.event().operation().name(), "UPDATE");
                let (Image::Row(_, tuple) | Image::Key(_, tuple)) = visible.image() else { panic!() };
                let id = String::from_utf8_lossy(tuple.get(0).text().unwrap()).into_owned();
                format!("{} {id}", visible.transition().name())
            })
            .collect();
        assert_eq!(told, due);
        for call in &calls {
            let body = |plan: &_| resolved_body(plan, Some(b"1"), Vec::new(), &call.meta());
            call.settle(Outcome::Bodies(
                call.plans().into_iter().map(|plan| (Arc::clone(&plan), body(&plan))).collect(),
            ));
        }
        for _ in due {
            reader.next().await;
        }
        reader.session.disconnect();
        lines(&mut client, 2).await;
    }
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_on_what_old_rows_lack_delivers_no_leave_and_the_table_has_a_problem() {
    if skips_outbox("triggers see whole rows whatever the replica identity") {
        return;
    }
    let fields = json!([{ "table": "t", "public": true, "replica_identity": "keep" }]);
    let table = "create table t (id int primary key, v int); insert into t values (1, 7)";
    let (server, engine, mut client) = following(table, fields).await;
    client.subscribe("1", "subscription { t(where: { v: { gt: 5 } }) { transition key { id } row { v } } }");
    server.sql("update t set id = 2; delete from t; insert into t values (3, 9)").await;
    let told = [client.next().await, client.next().await].map(|event| event["key"]["id"].clone());
    assert_eq!(told, [json!(2), json!(3)]);
    let problems = "select problems::text from rowcast.tables";
    assert_eq!(server.value(problems).await.as_deref(), Some("{identity_not_full}"));
    engine.stop(PATIENCE).await;
}
