//! Writers of every kind, and subscribers who come at any moment, stay a while, and some of whom come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rowcast::engine::Engine;
use serde_json::{Value, json};

use super::fold::{Fold, Rows};
use super::{fields, prepared_with};
use crate::engine::client::{Client, PATIENCE, metric, serving};
use crate::postgres::Server;

const WRITERS: u64 = 6;
const TRANSACTIONS: usize = 150;
const SUBSCRIBERS: u64 = 40;
const KEYS: i32 = 60;
/// Written last, with the next: a client that has them has everything.
const LAST: i64 = 1_000_000;
const SETTINGS: [&str; 4] =
    ["wal_level=logical", "max_prepared_transactions=20", "wal_writer_delay=50ms", "deadlock_timeout=100ms"];
/// A subscription, the same in SQL, and which of the last two rows ends it.
const CONDITIONS: [(&str, &str, i64); 3] = [
    ("", "true", LAST + 1),
    (", where: {v: {gte: 50}}", "v >= 50", LAST),
    (", where: {OR: [{v: {lt: 30}}, {v: {isNull: true}}]}", "v < 30 or v is null", LAST + 1),
];

/// One change.
fn statement(dice: &mut StdRng) -> String {
    let (id, v) = (dice.random_range(0..KEYS), dice.random_range(0..100));
    match dice.random_range(0..14) {
        0..4 => format!("insert into t values ({id}, 'acme', {v}) on conflict (id) do update set v = excluded.v"),
        4..6 => format!("update t set v = {v} where id between {id} and {} and id < 900", id + 3),
        6..8 => format!("delete from t where id between {id} and {}", id + 2),
        8 => format!("update t set v = null where id = {id}"),
        9 => format!("update t set tenant = case tenant when 'acme' then 'globex' else 'acme' end where id = {id}"),
        10 => {
            format!("insert into t select n, 'acme', {v} from generate_series({id}, {id} + 9) n on conflict do nothing")
        }
        11 => format!("update t set id = {v} where id = {id} and not exists (select from t where id = {v})"),
        // Keys that move up by one, each when the next has gone.
        12 => format!(
            "do $$ declare r record; begin for r in select id from t where id between {id} and {} order by id desc loop
                 update t set id = id + 1 where id = r.id and not exists (select from t where id = r.id + 1);
             end loop; end $$",
            id + 4
        ),
        _ => format!("delete from t where id = {id}; insert into t values ({id}, 'acme', {v}) on conflict do nothing"),
    }
}

/// One transaction, of some kind; what fails (a deadlock) is rolled back.
async fn transact(client: &tokio_postgres::Client, dice: &mut StdRng, name: &str) {
    let mut some = |n: usize| (0..n).map(|_| statement(dice)).collect::<Vec<_>>().join("; ");
    let (a, b, c) = (some(1), some(2), some(1));
    let pause = Duration::from_millis(dice.random_range(1..60));
    let (script, long) = match dice.random_range(0..100) {
        0..25 => (format!("begin; {a}; commit"), false),
        25..40 => (format!("begin; savepoint x; {a}; savepoint y; {b}; rollback to y; {c}; commit"), false),
        40..50 => (format!("begin; {a}; {b}; rollback"), false),
        50..65 => (format!("begin; set local synchronous_commit = off; {a}; {b}; commit"), false),
        65..80 => (format!("begin; {a}; prepare transaction '{name}'"), true),
        80..98 => (format!("begin; {a}"), true),
        _ => ("begin; lock table t in access exclusive mode; truncate t; commit".to_owned(), false),
    };
    let is_prepared = script.contains("prepare");
    if client.batch_execute(&script).await.is_err() {
        let _ = client.batch_execute("rollback").await;
        return;
    }
    if long {
        tokio::time::sleep(pause).await;
        let end = match (is_prepared, dice.random_range(0..4)) {
            (true, 0) => format!("rollback prepared '{name}'"),
            (true, _) => format!("commit prepared '{name}'"),
            (false, _) => format!("{c}; commit"),
        };
        if client.batch_execute(&end).await.is_err() {
            let _ = client.batch_execute("rollback").await;
        }
    }
}

async fn write(server: Arc<Server>, seed: u64, done: Arc<AtomicUsize>) {
    let mut dice = StdRng::seed_from_u64(seed);
    let client = server.admin().await;
    for n in 0..TRANSACTIONS {
        transact(&client, &mut dice, &format!("p{seed}_{n}")).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn query(condition: &str) -> String {
    format!("subscription {{ t(snapshot: true{condition}) {{ operation transition row {{ v }} key {{ id }} }} }}")
}

/// Comes when so many transactions are done; stays, or comes back with the cursor it has, until all is delivered.
async fn follow(engine: Arc<Engine>, seed: u64, done: Arc<AtomicUsize>) -> (usize, Rows, usize) {
    let mut dice = StdRng::seed_from_u64(seed);
    let come_at = dice.random_range(0..WRITERS as usize * TRANSACTIONS);
    while done.load(Ordering::Relaxed) < come_at {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let condition = dice.random_range(0..CONDITIONS.len());
    let (wanted, _, last) = CONDITIONS[condition];
    let (mut fold, mut visits) = (Fold::default(), 0);
    while !fold.rows.contains_key(&last) || fold.cursor.is_null() {
        let mut client = Client::of(&engine, "acme");
        let extensions = json!({ "rowcast": { "after": fold.cursor } });
        if fold.cursor.is_null() {
            fold = Fold { told: fold.told, ..Fold::default() };
        }
        client.send("1", &json!({ "query": query(wanted), "extensions": extensions }));
        visits += 1;
        let stays = if visits > 6 { usize::MAX } else { dice.random_range(1..150) };
        for _ in 0..stays {
            fold.take(&client.frame().await);
            if fold.rows.contains_key(&last) && !fold.cursor.is_null() {
                break;
            }
        }
        client.session.disconnect();
    }
    (condition, fold.rows, visits)
}

async fn table(server: &Server, condition: &str) -> Rows {
    let rows = server.admin().await;
    let rows = rows.query(&format!("select id, v from t where tenant = 'acme' and ({condition})"), &[]).await.unwrap();
    let value = |v: Option<i32>| v.map_or(Value::Null, Value::from);
    rows.iter().map(|row| (i64::from(row.get::<_, i32>(0)), value(row.get(1)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_whenever_has_the_table_in_the_end_and_never_saw_a_gap_or_a_repeat() {
    let given = std::env::var("ROWCAST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    eprintln!("ROWCAST_SEED={seed}");
    let server = Arc::new(prepared_with(&SETTINGS).await);
    server.sql("insert into t select n, 'acme', n from generate_series(0, 40) n").await;
    let engine = serving(&server, &fields()).await;
    let done = Arc::new(AtomicUsize::new(0));
    let begin = |n: u64| seed.wrapping_mul(1_000).wrapping_add(n);
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(Arc::clone(&server), begin(n), Arc::clone(&done)))).collect();
    let followers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| tokio::spawn(follow(Arc::clone(&engine), begin(100 + n), Arc::clone(&done))))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    server.sql(&format!("insert into t values ({LAST}, 'acme', 99), ({}, 'acme', null)", LAST + 1)).await;
    let mut visits = 0;
    for follower in followers {
        let (condition, rows, times) = tokio::time::timeout(PATIENCE * 4, follower).await.unwrap().unwrap();
        assert_eq!(rows, table(&server, CONDITIONS[condition].1).await, "{}", CONDITIONS[condition].1);
        visits += times;
    }
    eprintln!("{visits} visits, {} rows in snapshots", metric(&engine, "snapshot_rows_total"));
    engine.stop(PATIENCE).await;
}
