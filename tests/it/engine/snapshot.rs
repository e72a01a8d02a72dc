//! A snapshot delivers the rows that are there, once, and then exactly what follows.

mod ends;
mod fold;
mod storm;

use std::collections::BTreeMap;
use std::sync::Arc;

use rowcast::config::Settings;
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};

use fold::Fold;

use crate::engine::client::{Client, PATIENCE, bus, in_memory, metric, serving, skips_outbox, until};
use crate::postgres::Server;

const ALL: &str = "subscription { t(snapshot: true) { operation transition row { id v } key { id } changed cursor } }";

fn fields() -> Value {
    json!([{ "table": "t", "tenant": "tenant" }, { "topic": "alerts", "public": true }])
}

async fn prepared() -> Server {
    prepared_with(&["wal_level=logical"]).await
}

async fn prepared_with(settings: &[&str]) -> Server {
    let server = Server::with(settings);
    server.sql("create table t (id int primary key, tenant text not null default 'acme', v int, pad text)").await;
    server
}

fn id(frame: &Value) -> (String, Option<i64>) {
    let event = &frame["payload"]["data"]["t"];
    assert_eq!(frame["type"], "next", "{frame}");
    (event["operation"].as_str().unwrap().to_owned(), event["key"]["id"].as_i64())
}

/// Operations and keys up to the end of the snapshot, and the cursor that comes with it.
async fn to_the_end(client: &mut Client) -> (Vec<(String, i64)>, Value) {
    let mut told = Vec::new();
    loop {
        let frame = client.frame().await;
        match id(&frame) {
            (operation, Some(key)) => told.push((operation, key)),
            (operation, None) => {
                assert_eq!(operation, "SNAPSHOT_END");
                return (told, frame["payload"]["extensions"]["rowcast"]["cursor"].clone());
            }
        }
    }
}

fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<(String, i64)> {
    ids.into_iter().map(|id| ("SNAPSHOT".to_owned(), id)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_come_first_then_the_end_with_a_cursor_then_what_is_new() {
    let server = prepared().await;
    server
        .sql("insert into t select n, 'acme', n from generate_series(3, 1, -1) n; insert into t values (9, 'globex')")
        .await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    let first = client.frame().await;
    let due = json!({ "operation": "SNAPSHOT", "transition": "ENTER", "row": { "id": 1, "v": 1 }, "key": { "id": 1 },
                      "changed": [], "cursor": "" });
    assert_eq!(first["payload"]["data"]["t"], due, "{first}");
    let rowcast = &first["payload"]["extensions"]["rowcast"];
    assert_eq!(
        (&rowcast["cursor"], &rowcast["operation"]),
        (&Value::Null, &json!("SNAPSHOT")),
        "no place to go on from"
    );
    assert!(rowcast["committedAt"].is_string());
    assert_eq!([id(&client.frame().await), id(&client.frame().await)].map(|(_, id)| id), [Some(2), Some(3)]);
    let end = client.frame().await;
    let cursor = end["payload"]["extensions"]["rowcast"]["cursor"].clone();
    let due = json!({ "operation": "SNAPSHOT_END", "transition": "STAY", "row": null, "key": null, "changed": [],
                      "cursor": cursor });
    assert_eq!(end["payload"]["data"]["t"], due, "{end}");

    server.sql("update t set v = 7 where id = 2; delete from t where id = 9").await;
    let next = client.next().await;
    assert_eq!((&next["operation"], &next["row"]["v"]), (&json!("UPDATE"), &json!(7)));
    client.is_quiet().await;
    let mut back = Client::of(&engine, "acme");
    back.send("1", &json!({ "query": ALL, "extensions": { "rowcast": { "after": cursor } } }));
    assert_eq!(back.next().await["operation"], "UPDATE", "the end's cursor is one like any other");
    back.is_quiet().await;
    assert_eq!((metric(&engine, "snapshots_total"), metric(&engine, "snapshot_rows_total")), (1, 3));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_hold_and_what_is_empty_ends_at_once() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n from generate_series(1, 2000) n; create table keyless (tenant text, v numeric)").await;
    server.sql("insert into keyless values ('acme', 1.50), ('acme', null), ('globex', 2)").await;
    let declared = json!([{ "table": "t", "tenant": "tenant" }, { "table": "keyless", "tenant": "tenant" }]);
    let engine = serving(&server, &declared).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(snapshot: true, where: {v: {gt: 1990}}) { operation key { id } } }");
    assert_eq!(to_the_end(&mut client).await.0, rows(1991..=2000));
    client.complete("1");
    client.subscribe("1", "subscription { t(snapshot: true, where: {v: {gt: 5000}}) { operation key { id } } }");
    assert_eq!(to_the_end(&mut client).await.0, []);
    client.complete("1");
    let extension = json!({ "query": "subscription { keyless { operation row { v } } }",
                            "extensions": { "rowcast": { "snapshot": true } } });
    client.send("1", &extension);
    let mut values = vec![client.next().await["row"]["v"].clone(), client.next().await["row"]["v"].clone()];
    values.sort_by_key(Value::is_null);
    assert_eq!(values, [json!("1.50"), Value::Null]);
    assert_eq!(client.next().await["operation"], "SNAPSHOT_END");
    engine.stop(PATIENCE).await;
}

/// A cast to a length would cut `abcdef` to the tenant that is there, and `char` alone is one character.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_column_with_a_length_has_the_same_rows_in_the_snapshot_as_live() {
    let server = Server::logical();
    server
        .sql("create domain code as char(4); create domain short_code as code; create domain word as varchar(4)")
        .await;
    let types = ["char(4)", "bpchar", "code", "short_code", "varchar(4)", "word", "name"];
    let names: Vec<_> = (0..types.len()).map(|at| format!("t{at}")).collect();
    for (name, type_name) in names.iter().zip(types) {
        server.sql(&format!("create table {name} (id int primary key, tenant {type_name}, v int)")).await;
        server.sql(&format!("insert into {name} values (1, 'ab'), (2, 'abcd'), (3, 'a')")).await;
    }
    let declared: Vec<_> = names.iter().map(|name| json!({ "table": name, "tenant": "tenant" })).collect();
    let engine = serving(&server, &json!(declared)).await;
    for (tenant, row) in [("ab", Some(1)), ("abcd", Some(2)), ("abcdef", None)] {
        let mut client = Client::of(&engine, tenant);
        for name in &names {
            client.subscribe(name, &format!("subscription {{ {name}(snapshot: true) {{ operation key {{ id }} }} }}"));
            let mut told = Vec::new();
            while let event @ Value::Object(_) = client.next().await
                && event["operation"] == "SNAPSHOT"
            {
                told.push(event["key"]["id"].as_i64().unwrap());
            }
            assert_eq!(told, Vec::from_iter(row), "{name} in the snapshot of {tenant}");
            server.sql(&format!("update {name} set v = coalesce(v, 0) + 1")).await;
            if let Some(row) = row {
                assert_eq!(client.next().await["key"]["id"], row, "{name} live of {tenant}");
            }
            client.complete(name);
        }
        client.is_quiet().await;
    }
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_given_is_refused_with_a_reason() {
    let server = prepared().await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    for (payload, code) in [
        (
            json!({ "query": "subscription { alerts { payload } }", "extensions": { "rowcast": { "snapshot": true } } }),
            "SNAPSHOT_UNSUPPORTED",
        ),
        (json!({ "query": ALL, "extensions": { "rowcast": { "snapshot": 1 } } }), "SNAPSHOT_INVALID"),
        (json!({ "query": "subscription { t(operations: [INSERT, SNAPSHOT]) { operation } }" }), "BAD_USER_INPUT"),
        (json!({ "query": "subscription { t(snapshot: true, after: \"x\") { operation } }" }), "CURSOR_INVALID"),
    ] {
        client.send("1", &payload);
        assert_eq!(client.error().await.0, code, "{payload}");
    }
    engine.stop(PATIENCE).await;
    let engine = in_memory(json!({}), &json!([{ "topic": "alerts", "public": true }])).await;
    let mut client = Client::of(&engine, "acme");
    client.send(
        "1",
        &json!({ "query": "subscription { alerts { payload } }",
                              "extensions": { "rowcast": { "snapshot": true } } }),
    );
    assert_eq!(client.error().await.0, "SNAPSHOT_UNSUPPORTED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_honoured_if_it_can_be_and_otherwise_the_rows_come_again() {
    let server = prepared().await;
    let settings = Settings { replay_window_bytes: 2_000, ..Settings::default() };
    let engine = Engine::new(bus(&server), settings);
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    let (_, early) = to_the_end(&mut client).await;
    server.sql("insert into t select generate_series(1, 50)").await;
    let mut late = Value::Null;
    for _ in 0..50 {
        late = client.frame().await["payload"]["extensions"]["rowcast"]["cursor"].clone();
    }
    client.complete("1");
    let after = |cursor: &Value| json!({ "query": ALL, "extensions": { "rowcast": { "after": cursor } } });
    client.send("2", &after(&late));
    server.sql("insert into t values (51)").await;
    assert_eq!(id(&client.frame().await), ("INSERT".to_owned(), Some(51)), "no row comes again");
    client.complete("2");
    let mut elsewhere = serde_json::from_value::<String>(late).unwrap();
    elsewhere.replace_range(..4, "AAAA");
    for cursor in [early, json!(elsewhere), Value::Null, json!("")] {
        client.send("3", &after(&cursor));
        assert_eq!(to_the_end(&mut client).await.0, rows(1..=51), "{cursor}");
        client.complete("3");
    }
    engine.stop(PATIENCE).await;
}

/// Commits that ask for it wait for a standby that never comes.
const STANDBY: [&str; 3] = ["wal_level=logical", "synchronous_standby_names=nobody", "synchronous_commit=local"];

/// A transaction whose commit waits for a standby is in the stream, and no other session sees it.
async fn insert_that_hangs(server: &Server) -> tokio::task::JoinHandle<()> {
    let waiting = server.admin().await;
    tokio::spawn(async move {
        let _ = waiting.batch_execute("set synchronous_commit = on; insert into t values (3)").await;
    })
}

/// Without a single row the snapshot is what has changed since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forgets_at_the_beginning_of_a_snapshot_without_rows_keeps_what_it_is_told_in_it() {
    if skips_outbox("an outbox delivers nothing that a snapshot would not see") {
        return;
    }
    let server = prepared_with(&STANDBY).await;
    let engine = serving(&server, &fields()).await;
    let mut witness = Client::of(&engine, "acme");
    witness.subscribe("1", ALL);
    assert_eq!(to_the_end(&mut witness).await.0, []);
    let hangs = insert_that_hangs(&server).await;
    assert_eq!(id(&witness.frame().await), ("INSERT".to_owned(), Some(3)));
    assert_eq!(server.value("select count(*) from t").await.as_deref(), Some("0"), "the commit did not wait");
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", ALL);
    let mut fold = Fold::default();
    while fold.cursor.is_null() {
        fold.take(&client.frame().await);
    }
    assert_eq!((fold.told, fold.rows.into_keys().collect()), (2, vec![3]));
    hangs.abort();
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_before_the_snapshot_sees_it_is_told_to_its_subscriber_as_well() {
    if skips_outbox("an outbox delivers nothing that a snapshot would not see") {
        return;
    }
    let server = prepared_with(&STANDBY).await;
    server.sql("insert into t values (1), (2)").await;
    let engine = serving(&server, &fields()).await;
    let mut witness = Client::of(&engine, "acme");
    witness.subscribe("1", ALL);
    assert_eq!(to_the_end(&mut witness).await.0.len(), 2);
    let hangs = insert_that_hangs(&server).await;
    assert_eq!(id(&witness.frame().await), ("INSERT".to_owned(), Some(3)));
    server.sql("update t set v = 1 where id = 1").await;
    assert_eq!(id(&witness.frame().await), ("UPDATE".to_owned(), Some(1)));
    if server.value("select count(*) from t").await.as_deref() == Some("2") {
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", ALL);
        let due = [rows(1..=2), vec![("INSERT".to_owned(), 3)]].concat();
        assert_eq!(to_the_end(&mut client).await.0, due);
    } else {
        panic!("the commit did not wait");
    }
    hangs.abort();
    engine.stop(PATIENCE).await;
}

fn user(user: &str) -> Principal {
    Principal {
        role: Some("app".into()),
        settings: BTreeMap::from([("app.user".to_owned(), user.to_owned())]),
        ..Principal::default()
    }
}

const DOCS: &str = "subscription { docs(snapshot: true) { operation row { id } key { id } } }";

async fn docs(policy: &str) -> (Server, Arc<Engine>) {
    let server = Server::logical();
    server
        .sql(&format!(
            "create role app; create table docs (id int primary key, owner text not null, seen timestamptz);
             alter table docs enable row level security; grant select on docs to app; {policy};
             insert into docs select n, case when n % 2 = 0 then 'ann' else 'bob' end from generate_series(1, 1000) n"
        ))
        .await;
    let engine = serving(&server, &json!([{ "table": "docs" }])).await;
    (server, engine)
}

async fn ids(client: &mut Client) -> Vec<i64> {
    let mut ids = Vec::new();
    loop {
        let event = client.next().await;
        match event["row"]["id"].as_i64() {
            Some(id) => ids.push(id),
            None => return ids,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_told_its_own_rows_alone() {
    for policy in [
        "create policy own on docs using (owner = current_setting('app.user'))",
        "create function readable(d docs) returns boolean language sql stable
         as $$ select d.owner = current_setting('app.user') $$;
         create policy own on docs using (readable(docs.*))",
    ] {
        let (server, engine) = docs(policy).await;
        let mut ann = Client::connect(&engine, user("ann"));
        ann.subscribe("1", DOCS);
        assert_eq!(ids(&mut ann).await, (1..=500).map(|n| 2 * n).collect::<Vec<_>>(), "{policy}");
        server.sql("insert into docs values (1001, 'bob'), (1002, 'ann')").await;
        assert_eq!(ann.next().await["row"]["id"], 1002);
        ann.is_quiet().await;
        assert_eq!(metric(&engine, "gate_refusals_total"), 0);
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_depend_on_what_the_role_may_not_read_are_not_given() {
    let (server, engine) = docs("create policy own on docs using (owner = current_setting('app.user'))").await;
    server.sql("revoke select on docs from app; grant select (id) on docs to app").await;
    let mut ann = Client::connect(&engine, user("ann"));
    until("the grants to be known", || metric(&engine, "catalog_stale") == 0).await;
    server.sql("insert into docs values (2000, 'ann')").await;
    loop {
        ann.subscribe("1", DOCS);
        let frame = ann.frame().await;
        match frame["payload"][0]["extensions"]["code"].as_str() {
            Some("SNAPSHOT_FORBIDDEN") => break,
            // PostgreSQL knew of it first.
            code => assert!(matches!(code, None | Some("POLICY_UNANSWERABLE")), "{frame}"),
        }
        ann = Client::connect(&engine, user("ann"));
    }
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_the_ring_has_passed_says_so() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 1000) from generate_series(1, 5000) n").await;
    let settings = Settings {
        replay_window_bytes: 10_000,
        queue_bytes_max: 1 << 20,
        queue_age_max_s: 600.0,
        ..Settings::default()
    };
    let engine = Arc::new(Engine::new(bus(&server), settings));
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(snapshot: true) { operation key { id } row { pad } } }");
    assert_eq!(id(&client.frame().await).1, Some(1));
    server.sql("update t set v = 0 where id between 1 and 200").await;
    until("the stream to have come", || metric(&engine, "events_total") >= 200).await;
    let mut told = 1;
    let error = loop {
        let frame = client.frame().await;
        if frame["type"] == "error" {
            break frame;
        }
        told += 1;
    };
    assert_eq!(told, 5000);
    assert_eq!(error["payload"][0]["extensions"]["code"], "SNAPSHOT_EXPIRED", "{error}");
    assert!(error["payload"][0]["extensions"]["rowcast"].is_null(), "nobody can go on from inside: {error}");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_the_role_may_not_read_are_not_read() {
    let (_server, engine) = docs(
        "create policy own on docs using (owner = current_setting('app.user'));
         revoke select on docs from app; grant select (id, owner) on docs to app",
    )
    .await;
    let mut ann = Client::connect(&engine, user("ann"));
    ann.subscribe("1", "subscription { docs(snapshot: true) { row { id seen } } }");
    let (code, _) = ann.error().await;
    assert_eq!(code, "COLUMN_FORBIDDEN");
    ann.subscribe("2", DOCS);
    assert_eq!(ids(&mut ann).await, (1..=500).map(|n| 2 * n).collect::<Vec<_>>(), "and the others are");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_are_told_rows_at_a_time_and_the_fifth_waits_for_its_turn() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 1000) from generate_series(1, 5000) n").await;
    let settings = Settings { queue_bytes_max: 1 << 20, queue_age_max_s: 600.0, ..Settings::default() };
    let engine = Arc::new(Engine::new(bus(&server), settings));
    engine.start(&fields().to_string()).await.unwrap();
    let mut clients: Vec<_> = (0..5).map(|_| Client::of(&engine, "acme")).collect();
    for client in &mut clients[..4] {
        client.subscribe("1", "subscription { t(snapshot: true) { operation key { id } row { pad } } }");
        assert_eq!(id(&client.frame().await).1, Some(1));
    }
    clients[4].subscribe("1", ALL);
    clients[4].is_quiet().await;
    let reading = "select count(*) from pg_stat_activity where backend_xmin is not null and state like 'idle in%'";
    assert_eq!(server.value(reading).await.as_deref(), Some("4"));
    clients[0].complete("1");
    assert_eq!(to_the_end(&mut clients[4]).await.0, rows(1..=5000));
    engine.stop(PATIENCE).await;
}

/// A busy stream has let go of old transactions, and does not need them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_has_come_far_takes_nothing_from_a_snapshot() {
    const FAR: u64 = 66_000;
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 1000) from generate_series(1, 5000) n").await;
    server.sql("insert into t values (0)").await;
    let settings = Settings {
        replay_window_bytes: 20_000,
        queue_bytes_max: 1 << 20,
        queue_age_max_s: 600.0,
        ..Settings::default()
    };
    let engine = Arc::new(Engine::new(bus(&server), settings));
    engine.start(&fields().to_string()).await.unwrap();
    let writer = server.admin().await;
    writer.batch_execute("set synchronous_commit = off").await.unwrap();
    let commits =
        format!("do $$ begin for n in 1..{FAR} loop update t set v = n where id = 0; commit; end loop; end $$");
    writer.batch_execute(&commits).await.unwrap();
    until("the stream to have come", || metric(&engine, "events_total") >= FAR).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(snapshot: true) { operation key { id } row { pad } } }");
    assert_eq!(id(&client.frame().await).1, Some(0));
    let seen = metric(&engine, "events_total");
    for n in 10_001..=10_003 {
        server.sql(&format!("insert into t values ({n})")).await;
    }
    until("the stream to have come", || metric(&engine, "events_total") >= seen + 3).await;
    let (told, _) = to_the_end(&mut client).await;
    let due = (10_001..=10_003).map(|id| ("INSERT".to_owned(), id));
    assert!(told == rows(1..=5000).into_iter().chain(due).collect::<Vec<_>>(), "{:?}", &told[4990..]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_in_the_middle_frees_the_session_that_read_for_it() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 1000) from generate_series(1, 20000) n").await;
    let engine = serving(&server, &fields()).await;
    let reading = "select count(*) from pg_stat_activity where backend_xmin is not null and state like 'idle in%'";
    let query = "subscription { t(snapshot: true) { operation key { id } row { pad } } }";
    let mut clients: Vec<_> = (0..6).map(|_| Client::of(&engine, "acme")).collect();
    // Two of the others wait for a turn. Had all come at once, any two of the six would.
    for client in &mut clients[..3] {
        client.subscribe("1", query);
        client.frame().await;
    }
    for client in &mut clients[3..] {
        client.subscribe("1", query);
    }
    for client in &clients {
        client.complete("1");
    }
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.value(reading).await.as_deref() != Some("0") {
        assert!(tokio::time::Instant::now() < deadline, "a transaction is still open");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(snapshot: true, where: {v: {lte: 3}}) { operation key { id } } }");
    assert_eq!(to_the_end(&mut client).await.0, rows(1..=3), "there is a session for the next one");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_transactions_a_snapshot_is_one_and_so_is_each_commit_behind_it() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n from generate_series(1, 1500) n").await;
    let engine = serving(&server, &json!([{ "table": "t", "tenant": "tenant", "transactions": true }])).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t(snapshot: true) { begin changes { operation } end cursor } }");
    let mut parts = Vec::new();
    while parts.last().is_none_or(|part: &Value| part["end"] == false) {
        parts.push(client.next().await);
    }
    let count = |part: &Value| part["changes"].as_array().unwrap().len();
    let marks: Vec<_> = parts.iter().map(|part| (part["begin"] == true, count(part), part["end"] == true)).collect();
    assert_eq!(marks, [(true, 1024, false), (false, 477, true)]);
    assert_eq!((&parts[0]["cursor"], &parts[1]["changes"][476]["operation"]), (&json!(""), &json!("SNAPSHOT_END")));
    server.sql("begin; delete from t where id = 1; delete from t where id = 2; commit").await;
    let next = client.next().await;
    assert_eq!((&next["begin"], count(&next), &next["end"]), (&json!(true), 2, &json!(true)));
    let mut back = Client::of(&engine, "acme");
    let query = "subscription { t(snapshot: true) { changes { operation } end } }";
    back.send("1", &json!({ "query": query, "extensions": { "rowcast": { "after": parts[1]["cursor"] } } }));
    assert_eq!(count(&back.next().await), 2, "the end's cursor is one like any other");
    engine.stop(PATIENCE).await;
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_rows_need_no_more_memory_than_a_page() {
    let server = prepared().await;
    server.sql("insert into t select n, 'acme', n, repeat('x', 1000) from generate_series(1, 200000) n").await;
    let settings = Settings { queue_bytes_max: 256 * 1024, pong_timeout_s: 600.0, ..Settings::default() };
    let engine = Arc::new(Engine::new(bus(&server), settings));
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    let (before, mut most, mut due) = (resident_bytes(), 0, 1);
    client.subscribe("1", "subscription { t(snapshot: true) { operation key { id } row { pad } } }");
    loop {
        let (operation, key) = id(&client.frame().await);
        let Some(key) = key else {
            assert_eq!(operation, "SNAPSHOT_END");
            break;
        };
        assert_eq!(key, due);
        due += 1;
        if due % 1000 == 0 {
            most = most.max(resident_bytes().saturating_sub(before));
        }
    }
    assert_eq!(due, 200_001);
    eprintln!("200 MB of rows took {} KiB", most / 1024);
    assert!(most < 100 << 20, "{most} bytes");
    engine.stop(PATIENCE).await;
}
