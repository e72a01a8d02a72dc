//! Changes that were not captured are never skipped in silence: an altered publication, partitions that come and go.

use std::sync::Arc;

use rowcast::catalog::CaptureMode;
use rowcast::engine::Engine;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, capture, serving, skips_outbox, until};
use crate::postgres::Server;

const T: &str = "subscription { t { row { id } cursor } }";
const P: &str = "subscription { p { row { id } cursor } }";
const KEPT: &str = "subscription { p(snapshot: true) { operation row { id } } }";

const TABLES: &str = "
    create table t (id int primary key, a text, n int, g int generated always as (id) stored); create table u (id int primary key);
    create table p (id int primary key, v int) partition by range (id);
    create table p1 partition of p for values from (0) to (10);
    create table p2 partition of p for values from (10) to (20);
    create table q (id int primary key, v int); insert into q values (25); create table r (id int primary key, v int)";

async fn prepared(has_triggers: bool) -> (Server, Arc<Engine>) {
    let server = Server::with(&["wal_level=logical", "max_prepared_transactions=5"]);
    server.sql(TABLES).await;
    let engine = serving(&server, &fields()).await;
    if !has_triggers {
        server.sql("select rowcast.remove_event_trigger()").await;
    }
    (server, engine)
}

fn fields() -> Value {
    json!([{ "table": "t", "public": true }, { "table": "u", "public": true }, { "table": "p", "public": true }])
}

fn serves(engine: &Engine, field: &str) -> bool {
    engine.schema().unwrap().contains(&format!("  {field}("))
}

/// The cursor of an event of the table.
async fn cursor(server: &Server, client: &mut Client, document: &str, insert: &str) -> String {
    client.subscribe("first", document);
    server.sql(insert).await;
    let cursor = client.next().await["cursor"].as_str().unwrap().to_owned();
    client.complete("first");
    cursor
}

fn after(document: &str, cursor: &str) -> String {
    document.replacen(" t {", &format!(" t(after: \"{cursor}\") {{"), 1)
}

/// Ends with an error, and the cursor from before is refused once the table is served again.
async fn an_altered_publication_is_never_silent(has_triggers: bool, alteration: &str) {
    let (server, engine) = prepared(has_triggers).await;
    let mut client = Client::of(&engine, "acme");
    let cursor = cursor(&server, &mut client, T, "insert into t values (1)").await;
    client.subscribe("t", T);
    server.sql(alteration).await;
    server.sql("insert into t values (7); update t set a = 'x'").await;
    loop {
        let frame = client.frame().await;
        if frame["type"] == "error" {
            let code = frame["payload"][0]["extensions"]["code"].as_str().unwrap();
            assert!(["GAP", "TABLE_NOT_SERVED"].contains(&code), "{alteration}: {frame}");
            break;
        }
    }
    let mended = "select bool_and(problems = '{}')::text from rowcast.tables";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.value(mended).await.as_deref() != Some("true") {
        assert!(tokio::time::Instant::now() < deadline, "not mended: {alteration}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    until("the table to be served", || serves(&engine, "t")).await;
    client.subscribe("again", &after(T, &cursor));
    assert_eq!(client.error().await.0, "CURSOR_EXPIRED", "{alteration}");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_publication_ends_subscriptions_and_cursors_and_is_mended_with_event_triggers() {
    if skips_outbox("an outbox needs no publication") {
        return;
    }
    for alteration in [
        "alter publication rowcast drop table t",
        "alter publication rowcast set table u",
        "alter publication rowcast set (publish = 'insert')",
        "alter publication rowcast set table t where (id < 5), u, p",
    ] {
        an_altered_publication_is_never_silent(true, alteration).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_altered_publication_ends_subscriptions_and_cursors_and_is_mended_without_event_triggers() {
    if skips_outbox("an outbox needs no publication") {
        return;
    }
    for alteration in [
        "alter publication rowcast drop table t",
        "alter publication rowcast set (publish = 'insert')",
        "alter publication rowcast set (publish = 'insert'); \
         alter publication rowcast set (publish = 'insert, update, delete, truncate')",
    ] {
        an_altered_publication_is_never_silent(false, alteration).await;
    }
}

/// It happened while no engine ran, and it was taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_was_altered_while_no_engine_ran_expires_cursors_and_no_others_do() {
    if skips_outbox("an outbox needs no publication") {
        return;
    }
    let (server, engine) = prepared(false).await;
    let mut client = Client::of(&engine, "acme");
    let cursor = cursor(&server, &mut client, T, "insert into t values (1)").await;
    engine.stop(PATIENCE).await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("same", &after(T, &cursor));
    server.sql("insert into t values (2)").await;
    assert_eq!(client.rows(1, "id").await, [2], "nothing was altered");
    engine.stop(PATIENCE).await;

    server.sql("alter publication rowcast drop table t; insert into t values (3)").await;
    server.sql("alter publication rowcast add table t").await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("lost", &after(T, &cursor));
    assert_eq!(client.error().await.0, "CURSOR_EXPIRED");
    engine.stop(PATIENCE).await;

    server.sql("alter publication rowcast set (publish = 'insert')").await;
    let engine = serving(&server, &fields()).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("t", T);
    server.sql("update t set a = 'x' where id = 1").await;
    assert_eq!(client.rows(1, "id").await, [1], "the start has mended it");
    engine.stop(PATIENCE).await;
}

/// Waits until this has another value than before.
async fn moves_on(server: &Server, question: &str, before: Option<&str>) -> Option<String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = server.value(question).await;
        if now.as_deref() != before {
            return now;
        }
        assert!(tokio::time::Instant::now() < deadline, "still {before:?}: {question}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// ALTER PUBLICATION does not wait for writers, so a transaction can have written while its table was not published and
/// commit when it is again. None holds back the loss of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_open_while_its_table_was_not_published_is_a_gap_when_it_has_ended() {
    if skips_outbox("what alters triggers waits for writers") {
        return;
    }
    for has_triggers in [true, false] {
        let (server, engine) = prepared(has_triggers).await;
        let mut client = Client::of(&engine, "acme");
        let (prepared, open) = (server.admin().await, server.admin().await);
        prepared.batch_execute("begin; insert into t values (1)").await.unwrap();
        open.batch_execute("begin; insert into t values (2)").await.unwrap();
        server.sql("alter publication rowcast drop table t").await;
        prepared.batch_execute("insert into t values (3); prepare transaction 'it'").await.unwrap();
        open.batch_execute("insert into t values (4)").await.unwrap();
        let whole = "select case when problems = '{}' then whole_since::text end from rowcast.tables
                     join rowcast.watched on relation = oid where relation = 't'::regclass";
        let mended = "select (problems = '{}' and w.coverage = c.coverage)::text
                      from rowcast.tables join rowcast.watched w on w.relation = oid join rowcast.coverage c using (relation)
                      where relation = 't'::regclass";
        while server.value(mended).await.as_deref() != Some("true") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut since = server.value(whole).await;
        for (id, session, end) in [(5, &prepared, "commit prepared 'it'"), (6, &open, "commit")] {
            let behind = heard(&server, &mut client, id).await;
            session.batch_execute(end).await.unwrap();
            since = moves_on(&server, whole, since.as_deref()).await;
            while client.frame().await["type"] == "next" {}
            client.subscribe("again", &after(T, &behind));
            assert_eq!(client.error().await.0, "CURSOR_EXPIRED", "{end}");
        }
        heard(&server, &mut client, 7).await;
        client.is_quiet().await;
        engine.stop(PATIENCE).await;
    }
}

/// The cursor of a row that a subscription delivers, which is open then; it begins again while a loss ends it.
async fn heard(server: &Server, client: &mut Client, id: i32) -> String {
    client.subscribe("t", T);
    let change = format!("insert into t values ({id}) on conflict (id) do update set a = 'x'");
    loop {
        server.sql(&change).await;
        let mut frame = client.frame().await;
        if frame["type"] == "next" {
            return frame["payload"]["data"]["t"]["cursor"].take().as_str().unwrap().to_owned();
        }
        client.subscribe("t", T);
    }
}

/// So no transaction is captured in part by an outbox: neither begins nor ends what a trigger leaves out while it is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn triggers_of_the_outbox_are_not_altered_while_a_transaction_that_wrote_is_open() {
    if capture() == CaptureMode::Wal {
        return;
    }
    let (server, engine) = prepared(true).await;
    for role in ["origin", "replica"] {
        let (writer, administrator) = (server.admin().await, server.admin().await);
        let write = format!("begin; set local session_replication_role = {role}; insert into p values (1), (11)");
        writer.batch_execute(&write).await.unwrap();
        for alteration in [
            "alter table p disable trigger rowcast_insert",
            "alter table p1 enable trigger rowcast_insert",
            "alter table p1 enable always trigger rowcast_insert",
            "alter trigger rowcast_insert on p rename to mine",
            "drop trigger rowcast_insert on p1",
        ] {
            let refused = administrator.batch_execute(&format!("set lock_timeout = '50ms'; {alteration}")).await;
            let code = refused.unwrap_err().code().cloned();
            assert_eq!(code, Some(tokio_postgres::error::SqlState::LOCK_NOT_AVAILABLE), "{role}: {alteration}");
        }
        writer.batch_execute("rollback").await.unwrap();
    }
    engine.stop(PATIENCE).await;
}

/// The engine that noted the loss had read where it happened before it said so: what another worker delivers in between
/// was not captured whole either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_from_before_the_announcement_of_a_loss_has_expired_also_after_a_restart() {
    let (server, engine) = prepared(false).await;
    let (mut client, noter) = (Client::of(&engine, "acme"), server.admin().await);
    noter
        .batch_execute(
            "begin; update rowcast.watched set coverage = null where relation = 't'::regclass; select rowcast.note_coverage()",
        )
        .await
        .unwrap();
    let between = cursor(&server, &mut client, T, "insert into t values (1)").await;
    noter.batch_execute("commit").await.unwrap();
    client.subscribe("lost", T);
    let behind = loop {
        server.sql("insert into t values (2) on conflict (id) do update set a = 'x'").await;
        let frame = client.frame().await;
        match frame["type"].as_str() {
            Some("next") => break frame["payload"]["data"]["t"]["cursor"].as_str().unwrap().to_owned(),
            _ => client.subscribe("lost", T),
        }
    };
    let mut engine = engine;
    for run in ["running", "restarted"] {
        let mut client = Client::of(&engine, "acme");
        client.subscribe("between", &after(T, &between));
        assert_eq!(client.error().await.0, "CURSOR_EXPIRED", "{run}");
        client.subscribe("behind", &after(T, &behind));
        server.sql("update t set a = 'y' where id = 2").await;
        assert_eq!(client.rows(1, "id").await, [2], "{run}");
        engine.stop(PATIENCE).await;
        engine = serving(&server, &fields()).await;
    }
    engine.stop(PATIENCE).await;
}

/// A client may resume at a worker whose stream has not come to the announcement yet, though its catalog has the loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_resumed_before_the_announcement_is_read_ends_with_gap() {
    let (server, engine) = prepared(false).await;
    let (mut client, noter) = (Client::of(&engine, "acme"), server.admin().await);
    let before = cursor(&server, &mut client, T, "insert into t values (1)").await;
    client.subscribe("fresh", T);
    client.subscribe("resumed", &after(T, &before));
    server.sql("insert into t values (2)").await;
    assert_eq!(client.rows(2, "id").await, [2, 2]);
    // The announcement alone, as of a loss that this engine has read from the catalog already.
    noter.batch_execute("select rowcast.announce('coverage', 't'::regclass)").await.unwrap();
    let (code, _) = client.error().await;
    assert_eq!(code, "GAP");
    server.sql("insert into t values (3)").await;
    assert_eq!(client.rows(1, "id").await, [3], "one that did not resume from before it goes on");
    engine.stop(PATIENCE).await;
}

/// Statements after which rows are at clients that are not in the table any more, or the other way round; and the rows then.
const MOVES: [(&str, &[i32]); 6] = [
    ("alter table p detach partition p1", &[11]),
    ("alter table p detach partition p1 concurrently", &[11]),
    ("drop table p1", &[11]),
    ("truncate p1", &[11]),
    ("alter table p attach partition q for values from (20) to (30)", &[1, 2, 11, 25]),
    (
        "begin; alter table p detach partition p1; delete from p1 where id = 1; \
         alter table p attach partition p1 for values from (0) to (10); commit",
        &[2, 11],
    ),
];

async fn a_moved_partition_is_a_gap(has_triggers: bool, (statement, remaining): (&str, &[i32])) {
    let (server, engine) = prepared(has_triggers).await;
    let (mut client, mut keeper) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    let mut other = Client::of(&engine, "acme");
    client.subscribe("p", P);
    other.subscribe("u", "subscription { u { row { id } } }");
    server.sql("insert into p values (1), (11)").await;
    assert_eq!(client.rows(2, "id").await, [1, 11]);
    keeper.subscribe("p", KEPT);
    assert_eq!(keeper.rows(2, "id").await, [1, 11]);
    assert_eq!(keeper.next().await["operation"], "SNAPSHOT_END");
    server.sql("insert into p values (2)").await;
    assert_eq!((client.next().await["row"]["id"].clone(), keeper.rows(1, "id").await), (json!(2), vec![json!(2)]));
    server.sql(statement).await;
    assert_eq!(client.error().await.0, "GAP", "{statement}");
    let mut rows = Vec::new();
    loop {
        let event = keeper.next().await;
        if event["operation"] == "SNAPSHOT_END" {
            break;
        }
        rows.push(event["row"]["id"].clone());
    }
    assert_eq!(rows, remaining, "{statement}");
    server.sql("insert into p values (12); insert into u values (1)").await;
    assert_eq!(keeper.rows(1, "id").await, [12]);
    assert_eq!(other.rows(1, "id").await, [1], "another table goes on");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_come_or_go_with_a_partition_are_a_gap_with_event_triggers() {
    for moved in MOVES {
        a_moved_partition_is_a_gap(true, moved).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_come_or_go_with_a_partition_are_a_gap_without_event_triggers() {
    for moved in [MOVES[0], MOVES[2], MOVES[4], MOVES[5]] {
        a_moved_partition_is_a_gap(false, moved).await;
    }
}

/// Statements that rewrite every row of `t`, or of `p` through its root, without an event.
const REWRITES: [(&str, &str); 3] = [
    ("t", "alter table t alter column a type text using upper(a)"),
    ("t", "alter table t alter column n type bigint"),
    ("p", "alter table p alter column v type int using v + 1"),
];

/// An engine that cannot note a loss takes every change for one, and a test would pass for that.
async fn is_noted(server: &Server, table: &str) {
    let noted = format!(
        "select (w.coverage = c.coverage)::text from rowcast.watched w join rowcast.coverage c using (relation)
         where relation = '{table}'::regclass"
    );
    assert_eq!(server.value(&noted).await.as_deref(), Some("true"), "{table}");
}

async fn a_rewrite_is_a_gap(has_triggers: bool, (table, statement): (&str, &str)) {
    let (server, engine) = prepared(has_triggers).await;
    let mut client = Client::of(&engine, "acme");
    let document = format!("subscription {{ {table} {{ row {{ id }} cursor }} }}");
    let before = cursor(&server, &mut client, &document, &format!("insert into {table} values (1)")).await;
    client.subscribe("open", &document);
    server.sql(statement).await;
    assert_eq!(client.error().await.0, "GAP", "{statement}");
    is_noted(&server, table).await;
    until("the table to be served", || serves(&engine, table)).await;
    let resumed = document.replacen(&format!("{table} {{"), &format!("{table}(after: \"{before}\") {{"), 1);
    client.subscribe("resumed", &resumed);
    assert_eq!(client.error().await.0, "CURSOR_EXPIRED", "{statement}");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_a_rewriting_alter_table_changes_are_a_gap_with_and_without_event_triggers() {
    for rewrite in REWRITES {
        a_rewrite_is_a_gap(true, rewrite).await;
    }
    for rewrite in [REWRITES[0], REWRITES[2]] {
        a_rewrite_is_a_gap(false, rewrite).await;
    }
}

/// The expression of a generated column can be changed since PostgreSQL 17.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_column_whose_expression_is_changed_is_a_gap() {
    let (server, engine) = prepared(true).await;
    if server.value("select (current_setting('server_version_num')::int < 170000)::text").await.as_deref()
        == Some("true")
    {
        eprintln!("skipped: needs PostgreSQL 17");
        return engine.stop(PATIENCE).await;
    }
    let mut client = Client::of(&engine, "acme");
    client.subscribe("t", T);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    server.sql("alter table t alter column g set expression as (id + 1)").await;
    assert_eq!(client.error().await.0, "GAP");
    engine.stop(PATIENCE).await;
}

/// The only one, or each of several, by name: that is not in the stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncate_that_names_every_partition_in_turn_is_a_gap() {
    for (prepare, statements) in
        [("drop table p2", vec!["truncate p1"]), ("select 1", vec!["truncate p1", "truncate p2"])]
    {
        let server = Server::logical();
        server.sql(TABLES).await;
        server.sql(prepare).await;
        let engine = serving(&server, &fields()).await;
        let mut client = Client::of(&engine, "acme");
        client.subscribe("p", P);
        server.sql("insert into p values (1)").await;
        assert_eq!(client.rows(1, "id").await, [1]);
        for statement in &statements {
            server.sql(statement).await;
        }
        assert_eq!(client.error().await.0, "GAP", "{statements:?}");
        is_noted(&server, "p").await;
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_joins_empty_is_not_a_gap() {
    let (server, engine) = prepared(true).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("p", P);
    server.sql("create table p3 partition of p for values from (20) to (30); insert into p values (21)").await;
    assert_eq!(client.rows(1, "id").await, [21]);
    server.sql("alter table p attach partition r for values from (30) to (40)").await;
    let noted = "select (coverage -> 'partitions' ? 'r'::regclass::oid::text)::text from rowcast.watched where relation = 'p'::regclass";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.value(noted).await.as_deref() != Some("true") {
        assert!(tokio::time::Instant::now() < deadline, "not noted");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    server.sql("insert into p values (31)").await;
    assert_eq!(client.rows(1, "id").await, [31]);
    engine.stop(PATIENCE).await;
}

/// A partition that is rewritten is a gap, because in the catalog it looks like a TRUNCATE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_maintenance_is_not_a_gap() {
    let (server, engine) = prepared(true).await;
    let (mut t, mut p) = (Client::of(&engine, "acme"), Client::of(&engine, "acme"));
    t.subscribe("t", T);
    p.subscribe("p", P);
    server.sql("insert into t values (1); insert into p values (1)").await;
    assert_eq!((t.rows(1, "id").await, p.rows(1, "id").await), (vec![json!(1)], vec![json!(1)]));
    let whole = "select string_agg(whole_since::text, ' ' order by relation) from rowcast.watched where relation::text in ('t', 'p')";
    let since = server.value(whole).await;
    assert!(since.is_some());
    for statement in [
        "vacuum full t",
        "cluster t using t_pkey",
        "alter table t add column b int not null default 1",
        "alter table t drop column b",
        "alter table t add column b float default random(), add column c int generated always as (id) stored",
        "alter table p add column b timestamptz default clock_timestamp()",
        "truncate u",
        "truncate p",
        "vacuum analyze p",
        "vacuum p1",
        "reindex table p1",
        "create index on p (id)",
        "create role keeper; alter table p owner to keeper; alter table p1 owner to keeper",
        "alter table p add column c int default 2; alter table p drop column c",
        "alter table p enable row level security; alter table p disable row level security",
        "select rowcast.watch('r', public => true)",
        "alter publication rowcast add table q",
    ] {
        server.sql(statement).await;
        server.sql("select rowcast.note_coverage()").await;
        assert_eq!(server.value(whole).await, since, "{statement}");
    }
    server.sql("insert into t values (2); insert into p values (2)").await;
    let truncated = serde_json::Value::Null;
    assert_eq!((t.rows(1, "id").await, p.rows(2, "id").await), (vec![json!(2)], vec![truncated, json!(2)]));
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_of_a_partition_that_was_disabled_is_a_gap_over_the_outbox() {
    if capture() == CaptureMode::Wal {
        return;
    }
    let (server, engine) = prepared(true).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("p", P);
    server.sql("insert into p1 values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    server.sql("alter table p1 disable trigger rowcast_insert; insert into p1 values (2)").await;
    server.sql("alter table p1 enable always trigger rowcast_insert").await;
    assert_eq!(client.error().await.0, "GAP");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_renamed_ends_its_subscriptions_with_schema_changed_with_and_without_event_triggers() {
    for has_triggers in [true, false] {
        let (server, engine) = prepared(has_triggers).await;
        let mut client = Client::of(&engine, "acme");
        client.subscribe("t", T);
        server.sql("create table t_new (id int primary key, a text)").await;
        server.sql("begin; alter table t rename to t_old; alter table t_new rename to t; commit").await;
        assert_eq!(client.error().await.0, "SCHEMA_CHANGED");
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attribute_that_joins_a_composite_type_is_delivered_without_event_triggers() {
    let server = Server::logical();
    server.sql("create type place as (street text); create table t (id int primary key, at place)").await;
    let engine = serving(&server, &json!([{ "table": "t", "public": true }])).await;
    server.sql("select rowcast.remove_event_trigger(); alter type place add attribute town text").await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("t", "subscription { t { row { at } } }");
    let mut id = 1;
    // Noticed within two seconds: until then the value is malformed.
    loop {
        server.sql(&format!("insert into t values ({id}, ('Hill', 'Ayr'))")).await;
        let result = client.frame().await["payload"].take();
        if result["errors"].is_null() {
            assert_eq!(result["data"]["t"]["row"]["at"], json!({ "street": "Hill", "town": "Ayr" }));
            break;
        }
        assert_eq!(result["errors"][0]["extensions"]["code"], "VALUE_MALFORMED");
        id += 1;
        assert!(id < 1000, "not noticed");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    engine.stop(PATIENCE).await;
}
