//! Every way a start can be refused, provoked for real: the code is stable and the message says what to do.

use std::time::{Duration, Instant};

use crate::capture::reader::{Reader, prepared, settings, start};
use crate::postgres::Server;
use rowcast::capture::{Capture, CaptureError, WalSettings};
use rowcast::model::Lsn;
use rowcast::postgres::Conninfo;

async fn refused(url: &str) -> CaptureError {
    let error = start(url).await.expect_err("it is refused");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error
}

fn tells(error: &CaptureError, code: &str, words: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.code(), code, "{message}");
    assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
}

#[tokio::test]
async fn nobody_listens() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("postgres://u:hunter2@127.0.0.1:{port}/d")).await;
    tells(&error, "SERVER_UNREACHABLE", &[&format!("127.0.0.1:{port}"), "running"]);
    let error = refused("host=/nonexistent user=u password=hunter2").await;
    tells(&error, "SERVER_UNREACHABLE", &["/nonexistent/.s.PGSQL.5432"]);
    let error = refused("postgres://u@no-such-host.invalid/d").await;
    tells(&error, "SERVER_UNREACHABLE", &["no-such-host.invalid"]);
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = Instant::now();
    let url =
        format!("postgres://u@127.0.0.1:{}/d?connect_timeout=1&sslmode=disable", silent.local_addr().unwrap().port());
    let error = refused(&url).await;
    tells(&error, "SERVER_UNREACHABLE", &["no answer within 1000 ms"]);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn something_else_than_postgresql_listens() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in other.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refused(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable")).await;
    tells(&error, "PROTOCOL_VIOLATION", &["pooler"]);
    let error = refused(&format!("postgres://u@127.0.0.1:{port}/d?sslmode=require")).await;
    tells(&error, "PROTOCOL_VIOLATION", &["request for TLS"]);
}

#[tokio::test]
async fn a_wrong_password_by_every_method() {
    let server = prepared(&[]).await;
    server
        .sql(
            "set password_encryption = 'md5'; create role m superuser login password 'geheim'; \
              set password_encryption = 'scram-sha-256'; create role s superuser login password 'geheim'; \
              create role c superuser login password 'geheim'",
        )
        .await;
    server.set_hba("local all all trust\nhost all s all scram-sha-256\nhost all m all md5\nhost all c all password\n");
    for user in ["s", "m", "c"] {
        let place = |password: &str| format!("postgres://{user}{password}@127.0.0.1:{}/postgres", server.port());
        let error = refused(&place(":hunter2")).await;
        tells(&error, "AUTHENTICATION_FAILED", &[user, "28P01"]);
        tells(&refused(&place("")).await, "AUTHENTICATION_FAILED", &["none is given"]);
        start(&place(":geheim")).await.unwrap_or_else(|error| panic!("{user}: {error}")).stop().await;
        let sql = Conninfo::resolve(Some(&place(":hunter2"))).unwrap().connect().await.unwrap_err();
        tells(&sql.into(), "AUTHENTICATION_FAILED", &[user, "28P01"]);
    }
    let error = refused(&server.url_as("stranger", "postgres")).await;
    tells(&error, "AUTHENTICATION_FAILED", &["stranger", "pg_hba.conf"]);
    let bound = format!("postgres://s:geheim@127.0.0.1:{}/postgres?channel_binding=require", server.port());
    tells(&refused(&bound).await, "AUTHENTICATION_FAILED", &["channel_binding"]);
}

#[tokio::test]
async fn a_role_without_the_right_to_replicate() {
    let server = prepared(&[]).await;
    server.sql("create role plain login; create role mover login replication").await;
    let error = refused(&server.url_as("plain", "postgres")).await;
    tells(&error, "REPLICATION_NOT_PERMITTED", &["plain", "REPLICATION", "42501"]);
    assert!(!error.is_transient());
    start(&server.url_as("mover", "postgres")).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist() {
    let server = prepared(&[]).await;
    tells(&refused(&server.url_as("postgres", "nowhere")).await, "DATABASE_MISSING", &["nowhere"]);
    let sql = Conninfo::resolve(Some(&server.url_as("postgres", "nowhere"))).unwrap().connect().await.unwrap_err();
    tells(&sql.into(), "DATABASE_MISSING", &["nowhere"]);
}

#[tokio::test]
async fn a_server_that_does_not_log_enough() {
    let server = Server::with(&["wal_level=replica"]);
    server.sql("create publication feed").await;
    tells(&refused(&server.url()).await, "WAL_LEVEL_NOT_LOGICAL", &["wal_level=replica", "ALTER SYSTEM"]);
}

#[tokio::test]
async fn no_slot_is_free() {
    let server = prepared(&["max_replication_slots=1"]).await;
    server.sql("select pg_create_physical_replication_slot('taken')").await;
    let error = refused(&server.url()).await;
    tells(&error, "SLOTS_EXHAUSTED", &["max_replication_slots", "pg_replication_slots", "53400"]);
}

#[tokio::test]
async fn no_walsender_is_free() {
    let server = prepared(&["max_wal_senders=1"]).await;
    let first = start(&server.url()).await.unwrap();
    let other = WalSettings { slot: "other".to_owned(), ..settings() };
    let second = Capture::wal(Conninfo::resolve(Some(&server.url())).unwrap(), other, None).await;
    let error = second.expect_err("there is one walsender");
    tells(&error, "SENDERS_EXHAUSTED", &["max_wal_senders", "53300"]);
    assert!(error.is_transient());
    first.stop().await;
}

#[tokio::test]
async fn no_connection_is_free() {
    let server = prepared(&["max_connections=4", "superuser_reserved_connections=1"]).await;
    server.sql("create role app login").await;
    let info = Conninfo::resolve(Some(&server.url_as("app", "postgres"))).unwrap();
    let mut clients = Vec::new();
    let error = loop {
        assert!(clients.len() < 10);
        match info.connect().await {
            Ok(client) => clients.push(client),
            Err(error) => break error,
        }
    };
    tells(&error.into(), "CONNECTIONS_EXHAUSTED", &["max_connections"]);
}

#[tokio::test]
async fn a_slot_that_somebody_holds() {
    let server = prepared(&[]).await;
    let first = start(&server.url()).await.unwrap();
    let pid = server.value("select active_pid from pg_replication_slots").await.unwrap();
    let error = refused(&server.url()).await;
    tells(&error, "SLOT_ACTIVE", &["feed", &pid, "pg_terminate_backend"]);
    first.stop().await;
    start(&server.url()).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_slot_that_is_not_ours() {
    let server = prepared(&[]).await;
    server.sql("select pg_create_physical_replication_slot('feed')").await;
    tells(&refused(&server.url()).await, "SLOT_MISMATCH", &["physical"]);
    server.sql("select pg_drop_replication_slot('feed')").await;
    server.sql("select pg_create_logical_replication_slot('feed', 'test_decoding')").await;
    tells(&refused(&server.url()).await, "SLOT_MISMATCH", &["test_decoding"]);
    server.sql("select pg_drop_replication_slot('feed')").await;
    server.sql("select pg_create_logical_replication_slot('feed', 'pgoutput')").await;
    server.sql("create database other").await;
    let url = server.url_as("postgres", "other");
    let (other, _task) = Conninfo::resolve(Some(&url)).unwrap().connect().await.unwrap();
    other.batch_execute("create publication feed for all tables").await.unwrap();
    tells(&refused(&url).await, "SLOT_MISMATCH", &["postgres", "another slot name"]);
}

#[tokio::test]
async fn a_position_without_its_slot_is_a_loss() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let error = Capture::wal(conninfo, settings(), Some(Lsn(1))).await.unwrap_err();
    tells(&error, "SLOT_LOST", &["feed", "snapshots"]);
}

#[tokio::test]
async fn a_slot_that_waits_for_an_open_transaction_is_not_left_behind() {
    let server = prepared(&[]).await;
    let mut admin = server.admin().await;
    let open = admin.transaction().await.unwrap();
    open.batch_execute("insert into t values (1)").await.unwrap();
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let impatient = WalSettings { slot_create_timeout: Duration::from_millis(500), ..settings() };
    let error = Capture::wal(conninfo, impatient, None).await.unwrap_err();
    tells(&error, "SLOT_BLOCKED", &["pg_stat_activity", "slot_create_timeout"]);
    open.rollback().await.unwrap();
    assert_eq!(server.value("select count(*) from pg_replication_slots").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn a_publication_that_is_missing() {
    let server = Server::logical();
    let error = refused(&server.url()).await;
    tells(&error, "PUBLICATION_MISSING", &["feed", "Create it"]);
    assert_eq!(
        server.value("select count(*) from pg_replication_slots").await.as_deref(),
        Some("0"),
        "no slot is left"
    );
}

#[tokio::test]
async fn a_publication_dropped_while_streaming_is_told_before_the_next_change() {
    let server = prepared(&[]).await;
    let mut reader = Reader::new(start(&server.url()).await.unwrap());
    server.sql("insert into t values (1)").await;
    reader.until("the row", |reader| reader.ids() == [1]).await;
    server.sql("drop publication feed").await;
    tells(&reader.until_failed().await, "PUBLICATION_MISSING", &["feed"]);
}

#[tokio::test]
async fn a_change_after_a_dropped_publication_is_told_by_the_stream_itself() {
    let server = prepared(&[]).await;
    let conninfo = Conninfo::resolve(Some(&server.url())).unwrap();
    let unwatched = WalSettings { publication_check: Duration::from_hours(1), ..settings() };
    let mut reader = Reader::new(Capture::wal(conninfo, unwatched, None).await.unwrap());
    reader.live_for(Duration::from_millis(100)).await;
    server.sql("drop publication feed").await;
    server.sql("insert into t values (1)").await;
    tells(&reader.until_failed().await, "PUBLICATION_MISSING", &["feed"]);
    assert!(reader.events.is_empty());
}
