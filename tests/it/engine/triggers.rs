//! What triggers capture, whatever becomes of the tables: partitions, parents, other triggers, and triggers that are gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast::engine::Engine;
use tokio_postgres::Client as Session;

use crate::engine::client::{Client, PATIENCE, until};
use crate::engine::outbox::{IDS, engine_as, fields, prepared, serving};
use crate::postgres::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_partitions_are_the_roots_whichever_a_statement_names() {
    let server = Server::with(&["wal_level=replica"]);
    server
        .sql(
            "create table t (id int, note text, primary key (id)) partition by range (id);
             create table low (note text, id int not null primary key); alter table t attach partition low for values from (0) to (10);
             create table high partition of t for values from (10) to (20)",
        )
        .await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { operation row { id note } key { id } } }");
    server.sql("insert into low (id, note) values (1, 'leaf'); insert into t values (2, 'root')").await;
    server.sql("update t set id = id + 10 where id = 2; delete from high").await;
    let mut told = Vec::new();
    for _ in 0..5 {
        let event = client.next().await;
        told.push(format!("{} {} {}", event["operation"], event["row"]["note"], event["key"]["id"]));
    }
    assert_eq!(
        told,
        [
            "\"INSERT\" \"leaf\" 1",
            "\"INSERT\" \"root\" 2",
            "\"UPDATE\" null 2",
            "\"UPDATE\" \"root\" 12",
            "\"DELETE\" null 12"
        ]
    );
    engine.stop(PATIENCE).await;
}

/// Nothing would come of it any more, and nobody would know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_whose_triggers_are_taken_away_is_not_served_in_silence() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    for harm in ["drop trigger rowcast_update on t", "alter table t disable trigger all"] {
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", IDS);
        server.sql(harm).await;
        assert!(client.error().await.1.contains('t'), "{harm}");
        server.sql("select rowcast.watch('t', public => true)").await;
        until("the table to be served again", || engine.schema().unwrap().contains("TEvent")).await;
    }
    engine.stop(PATIENCE).await;
}

/// Names of the trigger's own variables among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_may_have_any_name() {
    let server = Server::with(&["wal_level=replica"]);
    let table = "create table t (id int primary key, shape text, watched oid, zone text, old text, new text, segment int, \
                 place int, image text, kind text, r int, s int, relation int)";
    server.sql(table).await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { operation row { id shape place } key { id } } }");
    server.sql("insert into t (id, shape) values (1, 'round'), (2, 'square'); update t set place = id").await;
    server.sql("update t set shape = 'flat' where id = 1; delete from t where id = 1").await;
    let mut told = Vec::new();
    for _ in 0..6 {
        let event = client.next().await;
        told.push(
            format!("{} {} {}", event["operation"], event["row"]["shape"], event["row"]["place"]).replace('"', ""),
        );
    }
    let due = [
        "INSERT round null",
        "INSERT square null",
        "UPDATE round 1",
        "UPDATE square 2",
        "UPDATE flat 1",
        "DELETE null null",
    ];
    assert_eq!(told, due);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_comes_later_is_told_through_its_root_and_one_that_was_detached_is_not() {
    let server = Server::with(&["wal_level=replica"]);
    let table = "create table t (id int primary key, note text) partition by range (id);
                 create table low partition of t for values from (0) to (10)";
    server.sql(table).await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("create table high partition of t for values from (10) to (20)").await;
    server.sql("insert into t values (1), (11)").await;
    assert_eq!(client.rows(2, "id").await, [1, 11]);
    server.sql("alter table t detach partition low; insert into low values (2)").await;
    assert_eq!(client.error().await.0, "GAP");
    client.subscribe("2", IDS);
    server.sql("insert into t values (12)").await;
    assert_eq!(client.rows(1, "id").await, [12]);
    server.sql("select rowcast.unwatch('t')").await;
    let left = "select count(*) from pg_trigger where tgname ~ 'rowcast'";
    assert_eq!(server.value(left).await.as_deref(), Some("0"));
    engine.stop(PATIENCE).await;
}

/// Statements that name the partition, and triggers that change what a statement has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_and_triggers_that_come_later_are_seen_to_by_the_engine() {
    let server = Server::with(&["wal_level=replica"]);
    server.sql("create table t (id int primary key, note text) partition by range (id)").await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { row { id note } } }");
    server
        .sql(
            "create table low partition of t for values from (0) to (10);
             create function work() returns trigger language plpgsql as $$
             begin update t set note = 'done' where id = new.id; return null; end $$;
             create trigger audit after insert on t for each row execute function work()",
        )
        .await;
    let missing = "select string_agg(distinct problem, ' ' order by problem) from rowcast.missing_trigger";
    assert_eq!(
        server.value(missing).await.as_deref(),
        Some("merge_not_captured order_not_captured partition_not_captured")
    );
    let deadline = Instant::now() + PATIENCE;
    while server.value(missing).await.is_some() {
        assert!(Instant::now() < deadline, "nobody sees to it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.sql("insert into low values (1, 'raw'); insert into t values (2, 'raw')").await;
    assert_eq!(client.rows(4, "note").await, ["raw", "done", "raw", "done"]);
    server.sql("select rowcast.stop_outbox()").await;
    let left = "select count(*) from pg_trigger where tgname ~ 'rowcast'";
    assert_eq!(server.value(left).await.as_deref(), Some("0"));
    engine.stop(PATIENCE).await;
}

/// Its triggers are there still, and what they need to print values they must not leave behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_to_a_partition_that_was_detached_changes_nothing_in_the_writers_session() {
    let server = Server::with(&["wal_level=replica"]);
    server
        .sql(
            "create table t (id int primary key, at timestamptz) partition by range (id);
             create table low partition of t for values from (0) to (10)",
        )
        .await;
    let engine = serving(&server).await;
    server.sql("alter table t detach partition low").await;
    let writer = server.admin().await;
    writer.batch_execute("set timezone = 'Asia/Tokyo'; begin").await.unwrap();
    for id in 1..3 {
        writer.batch_execute(&format!("insert into low values ({id}, '2024-01-01 00:00')")).await.unwrap();
    }
    writer.batch_execute("commit").await.unwrap();
    assert_eq!(server.value("select count(distinct at) from low").await.as_deref(), Some("1"));
    engine.stop(PATIENCE).await;
}

/// The copies of a root's triggers are made by whoever makes the partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_without_rights_on_rowcast_makes_and_detaches_partitions_as_before() {
    let server = Server::with(&["wal_level=replica"]);
    server
        .sql(
            "create role app login; grant create on schema public to app; set role app;
             create table t (id int primary key, note text) partition by range (id);
             create table low partition of t for values from (0) to (10);
             create function work() returns trigger language plpgsql as 'begin return new; end';
             create trigger work after insert on t for each row execute function work()",
        )
        .await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server
        .sql(
            "set role app; create table high partition of t for values from (10) to (20);
             create table more (id int primary key, note text); insert into t values (1), (11)",
        )
        .await;
    assert_eq!(client.rows(2, "id").await, [1, 11]);
    server
        .sql(
            "set role app; alter table t attach partition more for values from (20) to (30);
             alter table t detach partition low; insert into low select generate_series(2, 5);
             do 'begin for id in 6..9 loop insert into low values (id); end loop; end'",
        )
        .await;
    assert_eq!(client.error().await.0, "GAP");
    client.subscribe("2", IDS);
    server.sql("set role app; insert into t values (21)").await;
    assert_eq!(client.rows(1, "id").await, [21]);
    engine.stop(PATIENCE).await;
}

/// A statement that names the parent fires the parent's triggers alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_changed_through_a_parent_is_refused_and_not_served_in_silence() {
    let server = prepared(&["wal_level=replica"]).await;
    server.sql("create table root (id int not null, note text) partition by range (id)").await;
    server
        .sql("create table low partition of root for values from (0) to (10); create table parent (id int primary key); create table child () inherits (parent)")
        .await;
    let engine = serving(&server).await;
    for table in ["low", "child"] {
        let refused =
            server.admin().await.batch_execute(&format!("select rowcast.watch('{table}', public => true)")).await;
        let error = refused.unwrap_err();
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("RC001"), "{table}");
    }
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("alter table root attach partition t for values from (10) to (20)").await;
    assert!(client.error().await.1.contains('t'));
    let told = "select hint from rowcast.status() where name = 'table public.t'";
    assert!(server.value(told).await.unwrap().contains("Watch the root of the partitions"));
    server.sql("alter table root detach partition t").await;
    until("the table to be served again", || engine.schema().unwrap().contains("TEvent")).await;
    engine.stop(PATIENCE).await;
}

/// What is captured is not to stop because something else could be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_with_its_grants_alone_starts_although_a_partition_came_later() {
    let server = Server::with(&["wal_level=replica"]);
    server.sql("create table t (id int primary key, note text) partition by range (id)").await;
    let engine = serving(&server).await;
    engine.stop(PATIENCE).await;
    server.sql("create role weak login; select rowcast.grant_engine('weak')").await;
    server.sql("create table low partition of t for values from (0) to (10)").await;
    let engine = engine_as(&server, "weak");
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    let told = "select hint from rowcast.status() where name = 'table public.t'";
    assert!(server.value(told).await.unwrap().contains("statements that name the partition itself"));
    engine.stop(PATIENCE).await;
}

/// What triggers that come later have it lack, until the engine has seen to it. The lock is the engine's own, see
/// `sql/watch/watch.sql`: it does not look before a test has done its own statements.
async fn accompanied(server: &Server, tables: &[&str]) -> Session {
    let before_anybody_looks = server.admin().await;
    before_anybody_looks
        .batch_execute(
            "select pg_advisory_lock(1919907683, 1);
             create function work() returns trigger language plpgsql as 'begin return null; end'",
        )
        .await
        .unwrap();
    for table in tables {
        let trigger = format!("create trigger work after insert on {table} for each row execute function work()");
        before_anybody_looks.batch_execute(&trigger).await.unwrap();
    }
    before_anybody_looks
}

/// Waits until these are the tables that lack a trigger.
async fn until_missing(server: &Server, tables: Option<&str>) {
    let missing = "select string_agg(distinct relation::regclass::text, ' ') from rowcast.missing_trigger";
    let deadline = Instant::now() + PATIENCE;
    while server.value(missing).await.as_deref() != tables {
        assert!(Instant::now() < deadline, "{:?} and not {tables:?}: {}", server.value(missing).await, server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each is `(id int primary key)`.
async fn watching(server: &Server, tables: &[&str]) -> Arc<Engine> {
    let engine = serving(server).await;
    for table in tables {
        let watched =
            format!("create table {table} (id int primary key); select rowcast.watch('{table}', public => true)");
        server.sql(&watched).await;
    }
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_always_in_use_keeps_no_other_from_being_mended_and_is_when_it_is_free() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = watching(&server, &["busy", "free"]).await;
    let nobody_looks = accompanied(&server, &["busy", "free"]).await;
    let writer = server.admin().await;
    writer.batch_execute("begin; insert into busy values (1)").await.unwrap();
    drop(nobody_looks);
    until_missing(&server, Some("busy")).await;
    writer.batch_execute("commit").await.unwrap();
    until_missing(&server, None).await;
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_cannot_be_mended_keeps_no_other_from_being_mended() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = watching(&server, &["guarded", "free"]).await;
    let nobody_looks = accompanied(&server, &["guarded", "free"]).await;
    let guard = "create function guard() returns event_trigger language plpgsql as $$ begin
            if exists (select from pg_event_trigger_ddl_commands() where object_identity like '%guarded') then
                raise exception 'no more triggers here';
            end if;
        end $$;
        create event trigger guard on ddl_command_end when tag in ('CREATE TRIGGER') execute function guard()";
    nobody_looks.batch_execute(guard).await.unwrap();
    drop(nobody_looks);
    until_missing(&server, Some("guarded")).await;
    server.sql("drop event trigger guard").await;
    until_missing(&server, None).await;
    engine.stop(PATIENCE).await;
}

/// The owner of a root need not own what is below it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_an_owner_that_the_engine_is_not_is_left_to_somebody_else() {
    let server = Server::with(&["wal_level=replica"]);
    server
        .sql(
            "create role app login; create role other; grant create on database postgres to app;
             grant create on schema public to app, other;
             set role app; create table t (id int primary key, note text) partition by range (id);
             create table free (id int primary key)",
        )
        .await;
    let engine = engine_as(&server, "app");
    engine.start(&fields().to_string()).await.unwrap();
    server.sql("set role app; select rowcast.watch('free', public => true), rowcast.start_outbox()").await;
    let nobody_looks = accompanied(&server, &["free"]).await;
    let theirs = "create table low partition of t for values from (0) to (10); alter table low owner to other";
    nobody_looks.batch_execute(theirs).await.unwrap();
    drop(nobody_looks);
    until_missing(&server, Some("t")).await;
    let next = engine_as(&server, "app");
    next.start(&fields().to_string()).await.expect("what it cannot mend keeps it from nothing");
    next.stop(PATIENCE).await;
    assert!(!server.log().contains("must be owner") && !server.log().contains("permission denied"), "{}", server.log());
    engine.stop(PATIENCE).await;
}

/// Everybody may make a table with a trigger of ours, and set what our triggers keep account in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_tells_what_did_not_happen_or_hides_what_did() {
    let server = Server::with(&["wal_level=replica"]);
    server
        .sql(
            "create table t (id int primary key, note text);
             create role app login; grant create on schema public to app; grant insert on t to app",
        )
        .await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server
        .sql(
            "grant usage on schema rowcast to app; set role app;
             create table fake (id int, note text) partition by range (id);
             create table fake_all partition of fake default;
             do $$ begin execute format('create trigger \"~rowcast_merged_%1$s\" after insert on fake_all for each row
                 execute function rowcast.append_merged_row(%1$L)', 't'::regclass::oid); end $$;
             select set_config('rowcast.merges_' || 't'::regclass::oid, '{\"t:I1,:0:0:\"}', false);
             insert into fake values (66, 'never'); insert into t values (1, 'hidden?')",
        )
        .await;
    assert_eq!(client.rows(1, "id").await, [1]);
    client.is_quiet().await;
    engine.stop(PATIENCE).await;
}
