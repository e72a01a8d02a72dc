//! What a capture promises while nothing goes wrong.

use std::time::{Duration, Instant};

use crate::capture::reader::{PATIENCE, Reader, prepared, settings, start};
use crate::postgres::{Server, Stop};
use rowcast::capture::{Capture, Captured, WalSettings};
use rowcast::model::Lsn;
use rowcast::postgres::Conninfo;

async fn confirmed(server: &Server) -> Lsn {
    let text = server.value("select confirmed_flush_lsn from pg_replication_slots where slot_name = 'feed'").await;
    text.unwrap().parse().unwrap()
}

#[tokio::test]
async fn changes_and_messages_arrive_in_order() {
    let server = prepared(&[]).await;
    let capture = start(&server.url()).await.unwrap();
    assert!(capture.created_slot());
    let system = server.value("select system_identifier from pg_control_system()").await.unwrap();
    assert_eq!(capture.identity().system_id.to_string(), system);
    let mut reader = Reader::new(capture);
    server.sql("insert into t values (1, 'a'), (2, 'b')").await;
    server.sql("begin; update t set note = 'c' where id = 2; select pg_logical_emit_message(true, 'hello', 'x'); delete from t where id = 1; commit").await;
    reader.until("five events", |reader| reader.events.len() == 5).await;
    assert_eq!(reader.events, ["I:1", "I:2", "U:2", "M:hello", "D:1"]);
    reader.capture.stop().await;
}

#[tokio::test]
async fn a_session_prints_values_the_same_whatever_the_role_prefers() {
    let server = prepared(&[]).await;
    server
        .sql(
            "alter role postgres set datestyle = 'SQL, DMY'; alter role postgres set timezone = 'Asia/Tokyo'; \
              alter role postgres set extra_float_digits = -3; alter role postgres set statement_timeout = '50ms'",
        )
        .await;
    server.sql("create table v (at timestamptz, f float8); alter publication feed add table v").await;
    let mut capture = start(&server.url()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.sql("insert into v values ('2026-11-23 09:00:00+00', 0.1::float8 + 0.2::float8)").await;
    let row = loop {
        if let Captured::Data { body, .. } = capture.next().await
            && body[0] == b'I'
        {
            break String::from_utf8_lossy(&body).into_owned();
        }
    };
    assert!(row.contains("2026-11-23 09:00:00+00") && row.contains("0.30000000000000004"), "{row}");
}

#[tokio::test]
async fn a_slot_is_taken_up_where_the_acknowledgement_left_it() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t values (1)").await;
    server.sql("insert into t values (2)").await;
    reader.until("two rows", |reader| reader.ids() == [1, 2]).await;
    reader.until("their commit", |reader| !reader.open).await;
    let acknowledged = reader.capture.acknowledged();
    reader.capture.stop().await;
    assert_eq!(confirmed(&server).await, acknowledged, "the last acknowledgement goes out on stop");

    server.sql("insert into t values (3)").await;
    let capture = start(&server.url()).await.unwrap();
    assert!(!capture.created_slot());
    assert_eq!(capture.begins_at(), acknowledged);
    let mut reader = Reader::new(capture);
    reader.until("the third row", |reader| !reader.events.is_empty()).await;
    assert_eq!(reader.ids(), [3]);
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_a_resume_position_is_honoured() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.acknowledges = false;
    server.sql("insert into t values (1)").await;
    reader.until("the row", |reader| reader.ids() == [1]).await;
    reader.capture.stop().await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    reader.acknowledges = false;
    reader.until("the row again", |reader| reader.ids() == [1]).await;
    reader.capture.stop().await;

    let here: Lsn = server.value("select pg_current_wal_lsn()").await.unwrap().parse().unwrap();
    server.sql("insert into t values (2)").await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let mut reader = Reader::new(Capture::wal(conninfo, settings(), Some(here)).await.unwrap());
    assert_eq!(reader.capture.begins_at(), here);
    reader.until("the second row", |reader| !reader.events.is_empty()).await;
    assert_eq!(reader.ids(), [2]);
}

#[tokio::test]
async fn an_acknowledgement_is_told_promptly_and_an_idle_database_pins_no_wal() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t values (1)").await;
    reader.until("the row", |reader| reader.ids() == [1] && !reader.open).await;
    let acknowledged = reader.capture.acknowledged();
    reader.live_for(Duration::from_millis(500)).await;
    assert!(confirmed(&server).await >= acknowledged);
    // Work that is not published moves the WAL on; a keepalive tells, and the slot follows.
    server.sql("create table other as select generate_series(1, 1000) as n").await;
    let here: Lsn = server.value("select pg_current_wal_lsn()").await.unwrap().parse().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while confirmed(&server).await < here {
        assert!(Instant::now() < deadline, "the slot stays at {} before {here}", confirmed(&server).await);
        reader.live_for(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_fast_shutdown_of_the_server_is_not_held_up() {
    let mut server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t select n from generate_series(1, 100) n").await;
    reader.until("the rows", |reader| reader.events.len() == 100).await;
    let reading = tokio::spawn(async move {
        reader.until("the end", |reader| !reader.interruptions.is_empty()).await;
        reader
    });
    let (took, server) = tokio::task::spawn_blocking(move || (server.stop(Stop::Fast), server)).await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}\n{}", server.log());
    let reader = reading.await.unwrap();
    assert_eq!(reader.interruptions, ["CONNECTION_LOST"]);
}

#[tokio::test]
async fn a_consumer_that_sleeps_longer_than_the_server_waits_survives() {
    let server = prepared(&["wal_sender_timeout=2s"]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let settings = WalSettings { buffer_bytes: 64 << 10, ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, settings, None).await.unwrap());
    // Far more than the buffer and the sockets hold.
    server.sql("insert into t select n, repeat('x', 500) from generate_series(1, 60000) n").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    reader.until("all rows", |reader| reader.events.len() == 60_000).await;
    assert_eq!((reader.interruptions.len(), reader.repeated), (0, 0));
}

#[tokio::test]
async fn everything_that_is_here_can_be_taken_without_waiting() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t select n from generate_series(1, 1000) n").await;
    let mut waits = 0;
    while reader.events.len() < 1000 {
        waits += 1;
        let next = reader.capture.next().await;
        reader.take(next).unwrap();
        while let Some(next) = reader.capture.try_next() {
            reader.take(next).unwrap();
        }
    }
    assert!(waits < 500, "{waits} waits for 1000 rows");
}

#[tokio::test]
async fn a_unix_socket_and_a_key_value_string_serve_as_well() {
    let server = prepared(&[]).await;
    let text =
        format!("host={} port={} user=postgres dbname=postgres", server.socket_folder().display(), server.port());
    let mut reader = Reader::new(start(&text).await.unwrap());
    server.sql("insert into t values (7)").await;
    reader.until("the row", |reader| reader.ids() == [7]).await;
    let pool = deadpool_postgres::Pool::builder(Conninfo::resolve(Some(&text)).unwrap().manager()).build().unwrap();
    let row = pool.get().await.unwrap().query_one("select current_setting('application_name')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "rowcast");
}

#[tokio::test]
async fn a_temporary_slot_ends_with_its_capture() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let settings = WalSettings { temporary: true, ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, settings, None).await.unwrap());
    server.sql("insert into t values (1)").await;
    reader.until("the row", |reader| reader.ids() == [1]).await;
    reader.capture.stop().await;
    // The session ends a moment after its socket.
    let deadline = Instant::now() + PATIENCE;
    while server.value("select count(*) from pg_replication_slots").await.as_deref() != Some("0") {
        assert!(Instant::now() < deadline, "the slot outlives its session");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn dropping_a_capture_tells_the_last_acknowledgement_too() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t values (1)").await;
    reader.until("the row and its commit", |reader| reader.ids() == [1] && !reader.open).await;
    let acknowledged = reader.capture.acknowledged();
    drop(reader);
    let deadline = Instant::now() + PATIENCE;
    while server.value("select active from pg_replication_slots").await.as_deref() != Some("f") {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(confirmed(&server).await, acknowledged);
}
