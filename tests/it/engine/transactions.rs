//! The changes of one commit are delivered together, whole, and only to the subscribers that may see them.

use std::sync::Arc;

use rowcast::engine::{Engine, Outcome};
use rowcast::payload::resolved_body;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, metric, serving, until};
use crate::postgres::Server;

const CHANGES: &str = "subscription { t { begin changes { operation key { id } } end cursor committedAt } }";

fn fields() -> Value {
    json!([
        { "table": "t", "tenant": "tenant", "transactions": true },
        { "table": "t", "tenant": "tenant", "name": "each" },
    ])
}

async fn prepared() -> (Server, Arc<Engine>) {
    let server = Server::logical();
    server.sql("create table t (id int primary key, tenant text not null default 'acme', note text)").await;
    let engine = serving(&server, &fields()).await;
    (server, engine)
}

/// A part of a transaction, as a client reads it.
#[derive(Debug, PartialEq)]
struct Part {
    begin: bool,
    end: bool,
    ids: Vec<i64>,
}

fn part(begin: bool, end: bool, ids: impl IntoIterator<Item = i64>) -> Part {
    Part { begin, end, ids: ids.into_iter().collect() }
}

async fn next(client: &mut Client) -> (Part, Value) {
    let frame = client.frame().await;
    assert_eq!(frame["type"], "next", "{frame}");
    let extension = &frame["payload"]["extensions"]["rowcast"];
    let told = &frame["payload"]["data"]["t"];
    assert_eq!((&extension["operation"], &extension["cursor"]), (&json!("TRANSACTION"), &told["cursor"]));
    assert_eq!(extension["committedAt"], told["committedAt"]);
    let ids = told["changes"].as_array().unwrap().iter().map(|change| change["key"]["id"].as_i64().unwrap());
    let flag = |name: &str| told[name].as_bool().unwrap();
    (part(flag("begin"), flag("end"), ids), told["cursor"].clone())
}

/// To its end, in parts within bounds.
async fn whole(client: &mut Client) -> Vec<i64> {
    let (mut ids, mut first) = (Vec::new(), true);
    loop {
        let (part, _) = next(client).await;
        assert_eq!(part.begin, first);
        assert!(part.ids.len() <= 1024, "{}", part.ids.len());
        first = false;
        ids.extend(part.ids);
        if part.end {
            return ids;
        }
    }
}

fn after(query: &str, cursor: &Value) -> Value {
    json!({ "query": query, "extensions": { "rowcast": { "after": cursor } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_commit_changed_is_one_frame() {
    let (server, engine) = prepared().await;
    let (mut client, mut each) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    client.subscribe("1", CHANGES);
    each.subscribe("1", "subscription { each { key { id } } }");
    server
        .sql(
            "begin; insert into t select generate_series(1, 3); insert into t values (9, 'globex'); savepoint s; \
             insert into t values (4); rollback to s; update t set note = 'x' where id = 2; commit",
        )
        .await;
    server.sql("begin; insert into t values (8, 'globex'); commit").await;
    server.sql("delete from t where id = 1").await;
    assert_eq!(next(&mut client).await.0, part(true, true, [1, 2, 3, 2]));
    assert_eq!(
        next(&mut client).await.0,
        part(true, true, [1]),
        "of a commit that it sees nothing of it hears nothing"
    );
    for id in [1, 2, 3, 2, 1] {
        assert_eq!(each.next().await["key"]["id"], id, "another field tells each change");
    }
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_comes_in_parts_and_the_last_says_so() {
    let (server, engine) = prepared().await;
    let (mut client, mut wide) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    client.subscribe("1", CHANGES);
    wide.subscribe("1", "subscription { t { changes { row { note } } end } }");
    server.sql("insert into t select generate_series(1, 5000)").await;
    assert_eq!(whole(&mut client).await, (1..=5000).collect::<Vec<_>>());
    server.sql("insert into t select n, 'acme', repeat('x', 100000) from generate_series(6001, 6010) n").await;
    assert_eq!(whole(&mut client).await, (6001..=6010).collect::<Vec<_>>());
    let (mut sizes, mut ends) = (Vec::new(), 0);
    while ends < 2 {
        let told = wide.next().await;
        ends += usize::from(told["end"] == true);
        sizes.push(told["changes"].as_array().unwrap().len());
    }
    assert_eq!(sizes.iter().sum::<usize>(), 5010);
    assert!(sizes[5..].iter().all(|size| *size <= 3), "wide rows make small parts: {sizes:?}");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_is_told_transactions_and_the_rest_of_one() {
    let (server, engine) = prepared().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", CHANGES);
    server.sql("insert into t select generate_series(1, 1500)").await;
    let (first, middle) = next(&mut client).await;
    assert_eq!(first, part(true, false, 1..=1024));
    let (rest, end) = next(&mut client).await;
    assert_eq!(rest, part(false, true, 1025..=1500));
    server.sql("begin; insert into t values (2001), (2002); commit").await;
    server.sql("begin; insert into t values (2003), (2004); commit").await;

    let mut back = Client::of(&engine, "acme");
    back.send("1", &after(CHANGES, &middle));
    for due in [rest, part(true, true, [2001, 2002]), part(true, true, [2003, 2004])] {
        assert_eq!(next(&mut back).await.0, due);
    }
    let mut back = Client::of(&engine, "acme");
    back.send("1", &after(CHANGES, &end));
    assert_eq!(next(&mut back).await.0, part(true, true, [2001, 2002]));
    assert_eq!(next(&mut back).await.0, part(true, true, [2003, 2004]));
    server.sql("begin; insert into t values (2005), (2006); commit").await;
    assert_eq!(next(&mut back).await.0, part(true, true, [2005, 2006]));
    back.is_quiet().await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_while_a_transaction_streams_is_told_it_whole() {
    let (server, engine) = prepared().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", CHANGES);
    server.sql("insert into t values (0)").await;
    let (_, cursor) = next(&mut client).await;
    let writer = tokio::spawn({
        let admin = server.admin().await;
        async move { admin.batch_execute("insert into t select generate_series(1, 100000)").await.unwrap() }
    });
    until("the transaction to stream", || metric(&engine, "events_total") > 1_000).await;
    let mut back = Client::of(&engine, "acme");
    back.send("1", &after(CHANGES, &cursor));
    let all: Vec<_> = (1..=100_000).collect();
    assert_eq!(whole(&mut back).await, all);
    assert_eq!(whole(&mut client).await, all);
    writer.await.unwrap();
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_are_asked_and_resolvers_keep_transactions_whole() {
    let server = Server::logical();
    server
        .sql(
            "create role app; create table t (id int primary key, owner text not null default 'ann'); \
             grant select on t to app; alter table t enable row level security; \
             create function readable(r t) returns boolean language sql stable as $$ select r.owner = 'ann' $$; \
             create policy own on t using (readable(t.*))",
        )
        .await;
    let resolver = json!({ "index": 0, "returns": { "type": "Int!" } });
    let fields = json!([
        { "table": "t", "transactions": true },
        { "table": "t", "transactions": true, "name": "doubled", "resolver": resolver },
    ]);
    let engine = serving(&server, &fields).await;
    let principal = || rowcast::model::Principal { role: Some("app".into()), ..rowcast::model::Principal::default() };
    let (mut client, mut doubled) = (Client::connect(&engine, principal()), Client::connect(&engine, principal()));
    client.subscribe("1", CHANGES);
    doubled.subscribe("1", "subscription { doubled { begin changes end } }");
    server
        .sql("begin; insert into t values (1), (2); insert into t values (3, 'bob'); insert into t values (4); commit")
        .await;
    server.sql("insert into t values (5)").await;
    assert_eq!(next(&mut client).await.0, part(true, true, [1, 2, 4]));
    assert_eq!(next(&mut client).await.0, part(true, true, [5]));

    let mut calls = Vec::new();
    until("the resolver to be called", || {
        calls.extend(engine.take_calls(10));
        calls.len() == 4
    })
    .await;
    for (at, call) in calls.iter().enumerate().rev() {
        if at == 1 {
            call.fail("it failed", "RESOLVER_FAILED");
            continue;
        }
        let body = |plan: &_| resolved_body(plan, Some(format!("{at}").as_bytes()), Vec::new(), &call.meta());
        let bodies = call.plans().into_iter().map(|plan| (Arc::clone(&plan), body(&plan))).collect();
        call.settle(Outcome::Bodies(bodies));
    }
    let told = doubled.frame().await["payload"].take();
    assert_eq!(told["data"]["doubled"], json!({ "begin": true, "changes": [0, null, 2], "end": true }));
    let error = &told["errors"][0];
    assert_eq!(
        (&error["path"], &error["extensions"]["code"]),
        (&json!(["doubled", "changes", 1]), &json!("RESOLVER_FAILED"))
    );
    assert_eq!(doubled.next().await, json!({ "begin": true, "changes": [3], "end": true }));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_alone_may_be_selected_and_changes_under_one_name() {
    let (server, engine) = prepared().await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { a: begin end __typename } }");
    client.subscribe("2", "subscription { t { changes { operation } more: changes { operation } } }");
    assert_eq!(client.error().await.0, "GRAPHQL_VALIDATION_FAILED");
    server.sql("insert into t values (1), (2)").await;
    assert_eq!(client.next().await, json!({ "a": true, "end": true, "__typename": "TTransaction" }));
    engine.stop(PATIENCE).await;
}
