//! What is the outbox's own: how it wakes, orders, bounds and empties; everything else is promised for both ways to capture, and
//! held by the other modules (`ROWCAST_TEST_CAPTURE=outbox`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast::catalog::CaptureMode;
use rowcast::config::{Bus, PostgreSqlBus, Settings};
use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::{Value, json};

use crate::engine::client::{Client, PATIENCE, metric, until};
use crate::postgres::Server;

pub(super) const IDS: &str = "subscription { t { operation row { id } } }";

pub(super) fn fields() -> Value {
    json!([{ "table": "t", "public": true }])
}

/// Without logical replication.
pub(super) async fn prepared(settings: &[&str]) -> Server {
    let server = Server::with(settings);
    server.sql("create table t (id int primary key, note text)").await;
    server
}

async fn captured(server: &Server, capture: Option<CaptureMode>, settings: Settings) -> Arc<Engine> {
    let (url, slot, publication) = (Some(server.url()), None, "rowcast".to_owned());
    let bus = Bus::PostgreSql(PostgreSqlBus { url, slot, publication, capture });
    let engine = Arc::new(Engine::new(bus, settings));
    engine.start(&fields().to_string()).await.unwrap();
    engine
}

pub(super) async fn serving(server: &Server) -> Arc<Engine> {
    captured(server, None, Settings::default()).await
}

/// What a role may capture.
pub(super) fn engine_as(server: &Server, role: &str) -> Arc<Engine> {
    let url = Some(server.url_as(role, "postgres"));
    let (slot, publication) = (None, "rowcast".to_owned());
    let bus = Bus::PostgreSql(PostgreSqlBus { url, slot, publication, capture: None });
    Arc::new(Engine::new(bus, Settings::default()))
}

/// Readers that sleep until they are woken.
async fn sleepers(server: &Server) -> i64 {
    let locks = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1919907683 and objid = 3 \
                 and mode = 'ExclusiveLock' and granted";
    server.admin().await.query_one(locks, &[]).await.unwrap().get(0)
}

async fn until_asleep(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while sleepers(server).await != 1 {
        assert!(Instant::now() < deadline, "nobody sleeps");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_logical_replication_is_captured_by_triggers_unasked() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    assert_eq!(server.value("select count(*) from pg_replication_slots").await.as_deref(), Some("0"));
    engine.stop(PATIENCE).await;
}

/// Its poll would come after a second; most of ten are delivered long before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_sleeps_is_woken_by_a_commit() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    let mut waits = Vec::new();
    for id in 0..10 {
        until_asleep(&server).await;
        let began = Instant::now();
        server.sql(&format!("insert into t values ({id})")).await;
        assert_eq!(client.rows(1, "id").await, [id]);
        waits.push(began.elapsed());
    }
    waits.sort();
    eprintln!("woken within {waits:?}");
    assert!(waits[5] < Duration::from_millis(300), "{waits:?}");
    engine.stop(PATIENCE).await;
}

/// PREPARE TRANSACTION fails in a transaction that notifies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_can_still_be_prepared_and_are_told_when_they_commit() {
    let server = prepared(&["wal_level=replica", "max_prepared_transactions=5"]).await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    // Long enough to fall asleep where that is allowed.
    client.is_quiet().await;
    client.is_quiet().await;
    server.sql("begin; insert into t values (1); prepare transaction 'p'").await;
    server.sql("insert into t values (2)").await;
    assert_eq!(client.rows(1, "id").await, [2]);
    server.sql("commit prepared 'p'").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    assert_eq!(sleepers(&server).await, 0);
    engine.stop(PATIENCE).await;
}

/// By their numbers alone 'first' would be delivered before what it has overwritten, as long as a third is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_has_overwritten_is_told_before_it_however_long_others_are_open() {
    let server = prepared(&["wal_level=replica"]).await;
    server.sql("insert into t values (1, 'zero')").await;
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", "subscription { t { row { note } } }");
    let (first, open, second) = (server.admin().await, server.admin().await, server.admin().await);
    first.batch_execute("begin; select pg_current_xact_id()").await.unwrap();
    open.batch_execute("begin; insert into t values (9, 'open')").await.unwrap();
    second.batch_execute("update t set note = 'second' where id = 1").await.unwrap();
    first.batch_execute("update t set note = 'first' where id = 1; commit").await.unwrap();
    assert_eq!(client.rows(2, "note").await, ["second", "first"], "and the open one holds nothing back");
    open.batch_execute("commit").await.unwrap();
    assert_eq!(client.rows(1, "note").await, ["open"]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_engine_is_told_the_same_in_the_same_order_and_a_cursor_of_one_is_good_at_the_other() {
    let server = prepared(&["wal_level=replica"]).await;
    let (one, two) = (serving(&server).await, serving(&server).await);
    let mut clients = [Client::of(&one, "acme"), Client::of(&two, "acme")];
    for client in &clients {
        client.subscribe("1", IDS);
    }
    let mut writers = Vec::new();
    for writer in 0..4 {
        let admin = server.admin().await;
        writers.push(tokio::spawn(async move {
            for n in 0..25 {
                admin.batch_execute(&format!("insert into t values ({})", writer * 100 + n)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut told = Vec::new();
    for client in &mut clients {
        let mut frames = Vec::new();
        for _ in 0..100 {
            let frame = client.frame().await;
            let cursor = frame["payload"]["extensions"]["rowcast"]["cursor"].clone();
            frames.push((cursor, frame["payload"]["data"]["t"]["row"]["id"].clone()));
        }
        told.push(frames);
    }
    assert_eq!(told[0], told[1]);
    for (engine, at) in [(&one, 30), (&two, 60)] {
        let mut back = Client::of(engine, "acme");
        let extensions = json!({ "rowcast": { "after": told[0][at].0 } });
        back.send("1", &json!({ "query": IDS, "extensions": extensions }));
        let ids: Vec<Value> = told[0][at + 1..].iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(back.rows(99 - at, "id").await, ids);
    }
    one.stop(PATIENCE).await;
    server.sql("insert into t values (1000)").await;
    assert_eq!(clients[1].rows(1, "id").await, [1000], "the other takes over");
    two.stop(PATIENCE).await;
}

/// A reader that is stopped keeps its locks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poller_that_is_stopped_delays_the_others_for_a_moment_and_no_more() {
    let server = prepared(&["wal_level=replica"]).await;
    // The poller's locks, held by a session that does nothing.
    let stopped = server.admin().await;
    let engine = serving(&server).await;
    engine.stop(PATIENCE).await;
    stopped.batch_execute("select pg_advisory_lock(1919907683, 5)").await.unwrap();
    let engine = serving(&server).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    client.is_quiet().await;
    for id in 0..3 {
        server.sql(&format!("insert into t values ({id})")).await;
        assert_eq!(client.rows(1, "id").await, [id]);
    }
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_a_stream_is_of_another_history() {
    let server = prepared(&["wal_level=logical"]).await;
    let wal = captured(&server, Some(CaptureMode::Wal), Settings::default()).await;
    let mut client = Client::of(&wal, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    let cursor = client.frame().await["payload"]["extensions"]["rowcast"]["cursor"].clone();
    wal.stop(PATIENCE).await;
    let outbox = captured(&server, Some(CaptureMode::Outbox), Settings::default()).await;
    let mut client = Client::of(&outbox, "acme");
    client.send("1", &json!({ "query": IDS, "extensions": { "rowcast": { "after": cursor } } }));
    assert_eq!(client.error().await.0, "CURSOR_AHEAD");
    // From now on there is an outbox, and whoever does not say otherwise reads it.
    assert_eq!(server.value("select count(*) from rowcast.outbox_state").await.as_deref(), Some("1"));
    outbox.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_emptied_and_what_somebody_needs_is_kept() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = captured(&server, None, Settings { replay_window_s: 0.2, ..Settings::default() }).await;
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    let behind = "insert into rowcast.outbox_reader select 'behind', min(first), now() + interval '1 hour' from rowcast.outbox_window";
    server.sql(behind).await;
    let trim = || async {
        // What takes a minute in the field.
        server.sql("update rowcast.outbox_state set segment_since = now() - interval '1 hour'").await;
        let confirmed = metric(&engine, "confirmed_lsn");
        server.sql(&format!("select rowcast.trim_outbox('test', '0/0'::pg_lsn + {confirmed})")).await;
        server.sql("delete from rowcast.outbox_reader where name = 'test'").await;
        let kept = "select count(*) from rowcast.outbox where kind = 'I'";
        server.value(kept).await.unwrap().parse::<u32>().unwrap()
    };
    server.sql("insert into t select n from generate_series(1, 100) n").await;
    assert_eq!(client.rows(100, "id").await.len(), 100);
    until("the ring to let go", || metric(&engine, "replay_window_bytes") == 0).await;
    assert_eq!([trim().await, trim().await], [100, 100], "one reader has not read it");
    server.sql("delete from rowcast.outbox_reader where name = 'behind'").await;
    // The newest window stays, for whoever has seen all of it.
    server.sql("insert into t values (1000)").await;
    assert_eq!(client.rows(1, "id").await, [1000]);
    until("the ring to let go", || metric(&engine, "replay_window_bytes") == 0).await;
    let deadline = Instant::now() + PATIENCE;
    while trim().await > 1 {
        assert!(Instant::now() < deadline, "nothing is emptied");
    }
    server.sql("insert into t values (1001)").await;
    assert_eq!(client.rows(1, "id").await, [1001]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_windows_are_gone_tells_every_subscriber() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    let mut client = Client::connect(&engine, Principal::default());
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    // As if it had been stopped for long: others went on, and emptied what it had not read.
    server.sql("begin; select rowcast.close_window(); delete from rowcast.outbox_window; select rowcast.stop_outbox(); select rowcast.start_outbox(); commit").await;
    let (code, message) = client.error().await;
    assert_eq!(code, "GAP");
    assert!(message.contains("OUTBOX_TRIMMED"), "{message}");
    client.subscribe("2", IDS);
    server.sql("insert into t values (3)").await;
    assert_eq!(client.rows(1, "id").await, [3]);
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outbox_that_is_gone_or_tampered_with_ends_the_stream_with_its_code() {
    let tampered = "insert into rowcast.outbox (segment, relation, kind, new) values (0, 1, 'I', '(1)')";
    for (harm, code) in [("select rowcast.stop_outbox()", "OUTBOX_MISSING"), (tampered, "OUTBOX_MALFORMED")] {
        let server = prepared(&["wal_level=replica"]).await;
        let engine = serving(&server).await;
        let mut client = Client::of(&engine, "acme");
        client.subscribe("1", IDS);
        server.sql(harm).await;
        let told = client.error().await;
        assert_eq!(told.0, "CAPTURE_FAILED");
        assert!(told.1.contains(code), "{told:?} {}", server.log());
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_with_its_grants_alone_reads_what_an_administrator_has_started() {
    let server = prepared(&["wal_level=replica"]).await;
    let owner = captured(&server, Some(CaptureMode::Outbox), Settings::default()).await;
    owner.stop(PATIENCE).await;
    server.sql("create role reader login; select rowcast.grant_engine('reader')").await;
    let engine = engine_as(&server, "reader");
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("create role app; grant insert on t to app; set role app; insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1], "whoever writes needs no right on the outbox");
    engine.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_may_not_start_an_outbox_is_told_who_may() {
    let server = prepared(&["wal_level=replica"]).await;
    let mut admin = server.admin().await;
    rowcast::store::migrate(&mut admin).await.unwrap();
    admin.batch_execute("select rowcast.watch('t', public => true)").await.unwrap();
    admin.batch_execute("create role reader login; select rowcast.grant_engine('reader')").await.unwrap();
    let error = engine_as(&server, "reader").start(&fields().to_string()).await.unwrap_err();
    assert_eq!(error.code(), "PERMISSION_DENIED");
    assert!(error.to_string().contains("As postgres, run: select rowcast.start_outbox()"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_the_same_time_all_read_one_outbox() {
    let server = Arc::new(prepared(&["wal_level=replica"]).await);
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move { serving(&server).await })
        })
        .collect();
    let mut clients = Vec::new();
    let mut engines = Vec::new();
    for engine in starting {
        let engine = engine.await.unwrap();
        let client = Client::of(&engine, "acme");
        client.subscribe("1", IDS);
        clients.push(client);
        engines.push(engine);
    }
    server.sql("insert into t values (1)").await;
    for client in &mut clients {
        assert_eq!(client.rows(1, "id").await, [1]);
    }
    for engine in engines {
        engine.stop(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_would_overlook_what_others_have_committed_refuse_to_run() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    let admin = server.admin().await;
    for call in ["close_window()", "trim_outbox('r', '0/0')"] {
        let call = format!("begin isolation level repeatable read; select rowcast.{call}");
        let error = admin.batch_execute(&call).await.unwrap_err();
        assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("RC005"));
        admin.batch_execute("rollback").await.unwrap();
    }
    engine.stop(PATIENCE).await;
}

/// A reader that takes up the stream again waits here, and not at its end.
const DOORKEEPER: &str = "
    create function wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(42); return new; end';
    create trigger doorkeeper before insert on rowcast.outbox_reader for each row execute function wait();
    grant execute on function wait() to public; select pg_advisory_lock(42)";

/// Nothing waits for its entry, which keeps everything that is written while it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_stopped_while_it_takes_up_its_stream_again_has_left_the_outbox() {
    let server = prepared(&["wal_level=replica"]).await;
    let engine = serving(&server).await;
    let readers = "select count(*) from rowcast.outbox_reader";
    assert_eq!(server.value(readers).await.as_deref(), Some("1"));
    let doorkeeper = server.admin().await;
    doorkeeper.batch_execute(DOORKEEPER).await.unwrap();
    // As if what it had not read were emptied.
    server.sql("update rowcast.outbox_window set previous = last + 1, first = last + 2, last = last + 2").await;
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory' and query like '%open_outbox%'";
    let deadline = Instant::now() + PATIENCE;
    while server.value(waiting).await.as_deref() != Some("1") {
        assert!(Instant::now() < deadline, "the stream is not taken up again: {}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine.stop(PATIENCE).await;
    assert_eq!(server.value(readers).await.as_deref(), Some("0"));
    drop(doorkeeper);
}

/// As administrators set it for roles that are to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_whose_transactions_are_read_only_by_default_reads_and_trims_and_leaves() {
    let server = prepared(&["wal_level=replica"]).await;
    let owner = captured(&server, Some(CaptureMode::Outbox), Settings::default()).await;
    owner.stop(PATIENCE).await;
    server
        .sql(
            "create role reader login; select rowcast.grant_engine('reader');
             alter role reader set default_transaction_read_only = on",
        )
        .await;
    let engine = engine_as(&server, "reader");
    engine.start(&fields().to_string()).await.unwrap();
    let mut client = Client::of(&engine, "acme");
    client.subscribe("1", IDS);
    server.sql("insert into t values (1)").await;
    assert_eq!(client.rows(1, "id").await, [1]);
    let known = "select string_agg(name || confirmed || seen_at, ' ') from rowcast.outbox_reader";
    let opened = server.value(known).await;
    assert!(opened.is_some());
    let deadline = Instant::now() + PATIENCE;
    while server.value(known).await == opened {
        assert!(Instant::now() < deadline, "nothing is trimmed: {}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    engine.stop(PATIENCE).await;
    assert_eq!(server.value(known).await, None);
}
