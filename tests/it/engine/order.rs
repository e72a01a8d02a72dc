//! In one transaction: whatever triggers, cascades and savepoints do, each row is told as it became, over both kinds of capture.

use rowcast::engine::Engine;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::engine::client::{Client, PATIENCE, serving};
use crate::postgres::Server;

const ROWS: &str = "subscription { t { operation key { id } row { note } } }";

/// A table, and what else there is before an engine serves it.
async fn prepared(sql: &str) -> (Server, Arc<Engine>, Client) {
    let server = Server::logical();
    server.sql("create table t (id int primary key, note text, up int)").await;
    server.sql(sql).await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    let client = Client::of(&engine, "acme");
    client.subscribe("1", ROWS);
    (server, engine, client)
}

/// A trigger on `t` with this body.
fn trigger(when: &str, body: &str) -> String {
    format!(
        "create function work() returns trigger language plpgsql as $$ begin {body} return new; end $$;
         create trigger work {when} on t for each row execute function work()"
    )
}

/// So many changes, each as `operation key note`.
async fn told(client: &mut Client, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(line(&client.next().await));
    }
    told
}

fn line(event: &Value) -> String {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{} {} {}", word(&event["operation"]), event["key"]["id"], word(&event["row"]["note"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_changes_after_a_row_is_told_after_the_row() {
    let body = "update t set note = 'done' where id = new.id and note = 'raw';";
    let (server, engine, mut client) = prepared(&trigger("after insert", body)).await;
    server.sql("insert into t values (1, 'raw'), (2, 'raw'); insert into t values (3, 'plain')").await;
    let due = ["INSERT 1 raw", "INSERT 2 raw", "UPDATE 1 done", "UPDATE 2 done", "INSERT 3 plain"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trigger_changes_before_a_row_is_told_before_the_row() {
    let body = "delete from t where id = new.id;";
    let (server, engine, mut client) = prepared(&trigger("before insert", body)).await;
    server.sql("insert into t values (1, 'first'); insert into t values (1, 'second')").await;
    assert_eq!(told(&mut client, 3).await, ["INSERT 1 first", "DELETE 1 null", "INSERT 1 second"]);
    engine.stop(PATIENCE).await;
}

/// The statement of each level runs while that above it is not at its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_within_triggers_are_told_from_the_outside_in() {
    let body = "if new.id > 0 then insert into t values (new.id - 1, 'below'); update t set note = note || '!' where id = new.id; end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert", body)).await;
    server.sql("insert into t values (2, 'top')").await;
    let due = ["INSERT 2 top", "INSERT 1 below", "INSERT 0 below", "UPDATE 1 below!", "UPDATE 2 top!"];
    assert_eq!(told(&mut client, 5).await, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_savepoint_takes_back_leaves_the_order_of_the_rest() {
    let body = "if new.note = 'raw' then
            begin update t set note = 'lost' where id = new.id; raise exception 'never mind'; exception when others then null; end;
            update t set note = 'done' where id = new.id;
        end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert or update", body)).await;
    server.sql("begin; savepoint a; insert into t values (1, 'raw'); rollback to a; insert into t values (1, 'raw'); commit").await;
    server.sql("update t set note = 'raw'").await;
    let due = ["INSERT 1 raw", "UPDATE 1 done", "UPDATE 1 raw", "UPDATE 1 done"];
    assert_eq!(told(&mut client, 4).await, due);
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_with_several_commands_is_told_before_what_its_triggers_change() {
    let body = "if new.note like 'raw%' then update t set note = 'done' where id = new.id; end if;";
    let (server, engine, mut client) = prepared(&trigger("after insert or update", body)).await;
    server.sql("insert into t values (1, 'old')").await;
    server
        .sql("with a as (update t set note = 'raw' where id = 1 returning id) insert into t select 2, 'raw' from a")
        .await;
    let mut first = told(&mut client, 3).await;
    first[1..].sort();
    assert_eq!(first, ["INSERT 1 old", "INSERT 2 raw", "UPDATE 1 raw"]);
    let mut then = told(&mut client, 2).await;
    then.sort();
    assert_eq!(then, ["UPDATE 1 done", "UPDATE 2 done"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_is_told_after_what_it_follows_from() {
    let tree = "alter table t add foreign key (up) references t on delete cascade;
                insert into t values (1, 'a', null), (2, 'b', 1), (3, 'c', 2)";
    let (server, engine, mut client) = prepared(tree).await;
    server.sql("delete from t where id = 1; insert into t values (3, 'again')").await;
    assert_eq!(told(&mut client, 4).await, ["DELETE 1 null", "DELETE 2 null", "DELETE 3 null", "INSERT 3 again"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_partitions_are_told_before_what_their_triggers_change() {
    let server = Server::logical();
    let body = "update t set note = 'done' where id = new.id and note = 'raw';";
    server
        .sql(&format!(
            "create table t (id int primary key, note text) partition by range (id);
             create table low partition of t for values from (0) to (10);
             create table high partition of t for values from (10) to (20); {}",
            trigger("after insert or update", body)
        ))
        .await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ROWS);
    server.sql("begin; insert into t values (1, 'raw'); insert into low values (2, 'raw'); commit").await;
    let due = ["INSERT 1 raw", "UPDATE 1 done", "INSERT 2 raw", "UPDATE 2 done"];
    assert_eq!(told(&mut client, 4).await, due);
    server.sql("update t set id = id + 10, note = 'raw'").await;
    // Each was moved to another partition, which the replication stream tells as DELETE and INSERT.
    let mut last = std::collections::HashMap::new();
    while last.get("11").map(String::as_str) != Some("done") || last.get("12").map(String::as_str) != Some("done") {
        let next = told(&mut client, 1).await.remove(0);
        let mut words = next.split(' ').skip(1).map(str::to_owned);
        last.insert(words.next().unwrap(), words.next().unwrap());
    }
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}
