//! Outages: nothing is lost and nothing is handled twice, and what cannot be bridged is said.

use std::time::Duration;

use rowcast::capture::{Capture, WalSettings};
use rowcast::postgres::Conninfo;
use tokio_postgres::Client;

use crate::capture::reader::{Reader, prepared, settings, start};
use crate::postgres::{Server, Stop};

async fn insert(client: &Client, ids: std::ops::RangeInclusive<i32>) {
    for id in ids {
        client.batch_execute(&format!("insert into t values ({id})")).await.unwrap();
    }
}

fn all(last: i32) -> Vec<i32> {
    (1..=last).collect()
}

#[tokio::test]
async fn a_terminated_session_goes_on_without_loss_or_repeat() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    let admin = server.admin().await;
    for round in 0..5_usize {
        let first = i32::try_from(round * 20).unwrap();
        insert(&admin, first + 1..=first + 10).await;
        admin.batch_execute("select pg_terminate_backend(active_pid) from pg_replication_slots").await.unwrap();
        insert(&admin, first + 11..=first + 20).await;
        reader.until("the round", |reader| reader.events.len() == (round + 1) * 20).await;
        reader.until("its outage", |reader| reader.resumed == round + 1).await;
    }
    assert_eq!(reader.ids(), all(100));
    assert_eq!(reader.interruptions.len(), 5);
    assert!(reader.interruptions.iter().all(|code| *code == "SERVER_UNAVAILABLE"), "{:?}", reader.interruptions);
}

async fn survives(how: Stop) {
    let mut server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    insert(&server.admin().await, 1..=50).await;
    reader.until("half of the rows", |reader| reader.events.len() >= 25).await;
    // A fast shutdown waits until what was sent is acknowledged: the consumer has to go on reading.
    let stopping = tokio::task::spawn_blocking(move || (server.stop(how), server));
    reader.until("the outage", |reader| reader.interruptions.len() == 1).await;
    let (took, mut server) = stopping.await.unwrap();
    assert!(took < Duration::from_secs(10), "{took:?}\n{}", server.log());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let server = tokio::task::spawn_blocking(move || {
        server.start();
        server
    })
    .await
    .unwrap();
    insert(&server.admin().await, 51..=100).await;
    reader.until("all rows", |reader| reader.events.len() == 100).await;
    assert_eq!(reader.ids(), all(100));
    assert_eq!((reader.interruptions.len(), reader.resumed), (1, 1), "one outage is reported once");
    reader.capture.stop().await;
}

#[tokio::test]
async fn a_killed_server_that_comes_back_is_followed_on() {
    survives(Stop::Kill).await;
}

#[tokio::test]
async fn a_restarted_server_is_followed_on() {
    survives(Stop::Fast).await;
}

#[tokio::test]
async fn a_transaction_torn_by_an_outage_comes_whole() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let settings = WalSettings { buffer_bytes: 16 << 10, ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, settings, None).await.unwrap());
    server.sql("insert into t select n, repeat('x', 300) from generate_series(1, 30000) n").await;
    reader.until("a part", |reader| reader.events.len() == 100).await;
    server.sql("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    reader.until("all", |reader| reader.events.len() == 30_000).await;
    assert_eq!(reader.ids(), all(30_000));
    assert!(reader.repeated >= 100, "the transaction came again from its beginning: {}", reader.repeated);
}

#[tokio::test]
async fn a_slot_dropped_in_an_outage_is_a_loss_and_never_made_anew() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.live_for(Duration::from_millis(50)).await;
    let drop = "do $$ begin
        perform pg_terminate_backend(active_pid) from pg_replication_slots;
        for i in 1..1000 loop
            begin perform pg_drop_replication_slot('feed'); exit; exception when object_in_use then perform pg_sleep(0.001); end;
        end loop; end $$";
    server.sql(drop).await;
    let error = reader.until_failed().await;
    assert_eq!(error.code(), "SLOT_LOST", "{error}");
    assert_eq!(server.value("select count(*) from pg_replication_slots").await.as_deref(), Some("0"));
    assert_eq!(reader.until_failed().await.code(), "SLOT_LOST", "it stays failed");
}

#[tokio::test]
async fn a_temporary_slot_cannot_bridge_an_outage_and_says_so() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let settings = WalSettings { temporary: true, ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, settings, None).await.unwrap());
    server.sql("select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    assert_eq!(reader.until_failed().await.code(), "SLOT_LOST");
    assert_eq!(reader.interruptions, ["SERVER_UNAVAILABLE"]);
}

#[tokio::test]
async fn an_invalidated_slot_is_told_as_lost_and_not_as_an_outage() {
    let server = prepared(&["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=48MB"]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.acknowledges = false;
    server.sql("create table filler (x text)").await;
    for _ in 0..12 {
        server.sql("insert into filler select repeat('x', 1000) from generate_series(1, 8000); select pg_switch_wal(); checkpoint").await;
    }
    let error = reader.until_failed().await;
    assert_eq!(error.code(), "SLOT_LOST", "{error}");
    let again = start(&server.url()).await.unwrap_err();
    assert_eq!(again.code(), "SLOT_LOST", "{again}");
}

#[tokio::test]
async fn a_slot_that_somebody_moved_on_is_a_loss() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.live_for(Duration::from_millis(50)).await;
    let advance = "do $$ begin
        perform pg_terminate_backend(active_pid) from pg_replication_slots;
        insert into t values (1);
        end $$;
        do $$ begin
        for i in 1..1000 loop
            begin perform pg_replication_slot_advance('feed', pg_current_wal_lsn()); exit;
            exception when object_in_use then perform pg_sleep(0.0005); end;
        end loop; end $$";
    // The first one has the slot; the advance wins often, and then it must not pass in silence.
    server.sql(advance).await;
    let seen = tokio::time::timeout(Duration::from_secs(3), async {
        loop {
            let next = reader.capture.next().await;
            if let Err(error) = reader.take(next) {
                break Some(error.code());
            }
            if reader.ids() == [1] {
                break None;
            }
        }
    });
    match seen.await.expect("the row or the loss") {
        None => assert_eq!(reader.ids(), [1]),
        Some(code) => assert_eq!(code, "SLOT_LOST"),
    }
}

#[tokio::test]
async fn another_cluster_at_the_same_place_is_not_followed() {
    let mut server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.live_for(Duration::from_millis(50)).await;
    server.stop(Stop::Immediate);
    let _other = Server::another_at(server.port(), &["wal_level=logical"]);
    let error = reader.until_failed().await;
    assert_eq!(error.code(), "SERVER_REPLACED", "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_and_followed_on_when_it_speaks_again() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let settings = WalSettings { liveness: Duration::from_secs(1), ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, settings, None).await.unwrap());
    server.sql("insert into t values (1)").await;
    reader.until("the row", |reader| reader.ids() == [1]).await;
    reader.live_for(Duration::from_secs(3)).await;
    assert!(reader.interruptions.is_empty(), "an idle server answers when it is asked");

    let walsender = server.value("select active_pid from pg_replication_slots").await.unwrap();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &walsender]).status();
        assert!(status.unwrap().success());
    };
    signal("-STOP");
    reader.until("the silence", |reader| reader.interruptions == ["CONNECTION_LOST"]).await;
    server.sql("insert into t values (2)").await;
    // The slot is still held by the walsender that does not move: not a reason to give up.
    reader.live_for(Duration::from_millis(500)).await;
    signal("-CONT");
    reader.until("the second row", |reader| reader.ids() == [1, 2]).await;
    assert_eq!((reader.interruptions.len(), reader.resumed), (1, 1));
}

#[tokio::test]
async fn a_publication_gone_after_an_outage_is_told_and_not_retried() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let unwatched = WalSettings { publication_check: Duration::from_hours(1), ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, unwatched, None).await.unwrap());
    server.sql("drop publication feed; select pg_terminate_backend(active_pid) from pg_replication_slots").await;
    let error = reader.until_failed().await;
    assert_eq!(error.code(), "PUBLICATION_MISSING", "{error}");
}
