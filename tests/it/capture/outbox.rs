//! The outbox as a capture: outages of every kind, and how much of it is held at once.

use std::process::Command;
use std::time::Duration;

use rowcast::capture::{Capture, Captured, OutboxSettings};
use rowcast::postgres::Conninfo;
use tokio_postgres::Client;

use crate::capture::reader::{PATIENCE, Reader};
use crate::postgres::{Server, Stop};

async fn prepared() -> (Server, Client) {
    let server = Server::with(&["wal_level=replica"]);
    let mut admin = server.admin().await;
    rowcast::store::migrate(&mut admin).await.unwrap();
    let table = "create table t (id int primary key, note text); select rowcast.watch('t', public => true), rowcast.start_outbox()";
    admin.batch_execute(table).await.unwrap();
    (server, admin)
}

async fn start(server: &Server, settings: OutboxSettings) -> Capture {
    Capture::outbox(Conninfo::resolve(Some(&server.url())).unwrap(), settings, None).await.unwrap()
}

/// The process that serves the session which polls.
async fn backend(admin: &Client) -> Option<i32> {
    let query = "select pid from pg_stat_activity where query like '%rowcast.close_window%' and pid <> pg_backend_pid()
                 order by backend_start desc limit 1";
    admin.query_opt(query, &[]).await.unwrap().map(|row| row.get(0))
}

fn signal(signal: &str, pid: i32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

async fn polled(admin: &Client) -> i32 {
    loop {
        if let Some(pid) = backend(admin).await {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A peer that is gone without a word keeps the connection open, and the locks of its session.
#[tokio::test]
async fn a_server_that_says_nothing_is_left_and_nothing_is_missed() {
    let (server, admin) = prepared().await;
    let settings = OutboxSettings { liveness: Duration::from_millis(700), ..OutboxSettings::default() };
    let mut reader = Reader::new(start(&server, settings).await);
    admin.batch_execute("insert into t values (1)").await.unwrap();
    reader.until("the first row", |reader| reader.ids() == [1]).await;
    let silent = polled(&admin).await;
    signal("-STOP", silent);
    admin.batch_execute("insert into t values (2)").await.unwrap();
    reader.until("the row that came while no reader ran", |reader| reader.ids() == [1, 2]).await;
    assert_eq!((reader.interruptions.as_slice(), reader.resumed), (&["CONNECTION_LOST"][..], 1));
    signal("-CONT", silent);
    admin.batch_execute("insert into t values (3)").await.unwrap();
    reader.until("what comes then", |reader| reader.ids() == [1, 2, 3]).await;
    reader.capture.stop().await;
}

#[tokio::test]
async fn restarts_and_terminated_sessions_lose_and_repeat_nothing() {
    let (mut server, admin) = prepared().await;
    let mut reader = Reader::new(start(&server, OutboxSettings::default()).await);
    let insert = |first: i32| format!("insert into t select n from generate_series({first}, {first} + 499) n");
    admin.batch_execute(&insert(1)).await.unwrap();
    reader.until("some of the rows", |reader| reader.ids().len() >= 100).await;
    let pid = polled(&admin).await;
    admin.query_one("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    admin.batch_execute(&insert(501)).await.unwrap();
    reader.until("all rows", |reader| reader.ids().len() == 1000).await;
    for (round, how) in [Stop::Kill, Stop::Fast].into_iter().enumerate() {
        let stopped = tokio::task::spawn_blocking(move || {
            server.restart(how);
            server
        });
        reader.until("the outage", |reader| reader.interruptions.len() == round + 2).await;
        server = stopped.await.unwrap();
        let first = i32::try_from(1001 + round * 500).unwrap();
        server.sql(&insert(first)).await;
        reader.until("the rows behind it", |reader| reader.ids().len() == 1500 + round * 500).await;
    }
    assert!(reader.ids().into_iter().eq(1..=2000), "each once, in order");
    reader.capture.stop().await;
}

/// The server waits, and so do the rows in it.
#[tokio::test]
async fn a_consumer_that_does_not_read_holds_up_a_large_transaction_and_no_memory() {
    let (server, admin) = prepared().await;
    let settings = OutboxSettings { buffer_bytes: 200_000, ..OutboxSettings::default() };
    let mut capture = start(&server, settings).await;
    admin.batch_execute("insert into t select n, repeat('x', 1000) from generate_series(1, 100000) n").await.unwrap();
    let resident = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let (before, mut most, mut rows) = (resident(), 0, 0);
    while rows < 100_000 {
        match tokio::time::timeout(PATIENCE, capture.next()).await.unwrap() {
            Captured::Data { body, .. } if body[0] == b'I' => rows += 1,
            Captured::Failed(error) => panic!("{error}"),
            _ => {}
        }
        if rows % 10_000 == 0 {
            most = most.max(resident());
        }
    }
    assert!(most.saturating_sub(before) < 20 << 20, "100 MB of rows took {} more bytes", most.saturating_sub(before));
    capture.stop().await;
}

/// What was written while no reader ran is closed in parts, and read as if it had been closed in time.
#[tokio::test]
async fn more_transactions_than_a_window_holds_are_told_once_and_in_order() {
    const MANY: usize = 65_536 + 64;
    let (server, admin) = prepared().await;
    admin.batch_execute("set synchronous_commit = off").await.unwrap();
    let write = format!("do 'begin for id in 1..{MANY} loop insert into t values (id); commit; end loop; end'");
    admin.batch_execute(&write).await.unwrap();
    let mut reader = Reader::new(start(&server, OutboxSettings::default()).await);
    let last = format!("I:{MANY}");
    reader.until("the last row", |reader| reader.events.last() == Some(&last)).await;
    assert!(reader.ids().into_iter().eq(1..=i32::try_from(MANY).unwrap()), "each once, in order");
    let windows = "select count(*) = 2 and max(cardinality(xids)) = 65536 and count(distinct upto) = 1
                   from rowcast.outbox_window where xids <> '{}'";
    assert_eq!(server.value(windows).await.as_deref(), Some("t"), "of one snapshot");
    reader.capture.stop().await;
}

/// Its name is still known, with the place up to which it has read: nothing behind that was emptied.
#[tokio::test]
async fn a_reader_that_stopped_without_leaving_goes_on_where_it_was() {
    let (server, admin) = prepared().await;
    let settings = OutboxSettings { reader: "again".to_owned(), ..OutboxSettings::default() };
    let mut reader = Reader::new(start(&server, settings.clone()).await);
    admin.batch_execute("insert into t values (1)").await.unwrap();
    reader.until("the first row", |reader| reader.ids() == [1] && !reader.open).await;
    let handled = reader.capture.handled();
    let trim = "select rowcast.trim_outbox($1, $2::text::pg_lsn)";
    admin.execute(trim, &[&"again", &handled.to_string()]).await.unwrap();
    reader.capture.stop().await;
    admin.batch_execute("insert into t values (2)").await.unwrap();
    for id in 3..20 {
        // Another reader goes on, and needs nothing of what was; what takes a minute in the field is done at once.
        let old =
            "select rowcast.close_window(); update rowcast.outbox_state set segment_since = now() - interval '1 hour'";
        admin.batch_execute(old).await.unwrap();
        let newest = "select rowcast.trim_outbox('another', max(last)) from rowcast.outbox_window";
        admin.batch_execute(newest).await.unwrap();
        admin.batch_execute(&format!("insert into t values ({id})")).await.unwrap();
        if id == 10 {
            admin.batch_execute("select rowcast.open_outbox('again')").await.unwrap();
        }
    }
    let again =
        Capture::outbox(Conninfo::resolve(Some(&server.url())).unwrap(), settings, Some(handled)).await.unwrap();
    assert!(again.begins_at() <= handled, "{} is behind {handled}", again.begins_at());
    let mut reader = Reader::new(again);
    reader.until("the others", |reader| reader.ids().len() == 18).await;
    assert!(reader.ids().into_iter().eq(2..20));
    reader.capture.stop().await;
}
