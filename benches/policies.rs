//! Row policies through the whole engine, against a real PostgreSQL: from before the commit to the frame in a session's
//! queue. Prints, for one run on one machine:
//!
//! * changes per second that are delivered to 3,000 subscribers in 3,000 tenants, when the policy compiles, when a part of it
//!   does, and when nothing does, so that PostgreSQL is asked for every one of them;
//! * how long subscribers of well-behaved policies wait while another table's policy raises, or sleeps.
//!
//! `cargo bench --bench policies`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a bench has nobody to report to
#![allow(dead_code, unused_imports, reason = "the fixtures are those of the tests")]

#[path = "../tests/it/engine/client.rs"]
mod client;
#[path = "../tests/it/postgres/mod.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rowcast::engine::Engine;
use rowcast::model::Principal;
use serde_json::json;

use client::{Client, metric, serving};
use postgres::Server;

/// What the best rival publishes for changes per second under row-level security.
const PUBLISHED: f64 = 5.0;
const TENANTS: u32 = 3_000;

const SCHEMA: &str = "
    create role app;
    create table members (user_id text, tenant_id int, primary key (user_id, tenant_id));
    grant select on members to app;
    create function in_tenant(tenant int) returns boolean language plpgsql stable
        as $$ begin return tenant = current_setting('app.tenant')::int; end $$;
    create function raises(id int) returns boolean language plpgsql
        as $$ begin raise exception 'never'; end $$;
    create function sleeps(id int) returns boolean language plpgsql
        as $$ begin perform pg_sleep(60); return true; end $$;";

struct Bench {
    server: Server,
    engine: Arc<Engine>,
}

impl Bench {
    async fn new(tables: &[(&str, &str)]) -> Self {
        let server = Server::logical();
        server.sql(SCHEMA).await;
        server.sql(&format!("insert into members select 'user' || n, n from generate_series(0, {TENANTS}) n")).await;
        for (table, policy) in tables {
            server
                .sql(&format!(
                    "create table {table} (id serial primary key, tenant_id int not null, body text);
                     alter table {table} enable row level security; grant select on {table} to app;
                     create policy own on {table} using ({policy})"
                ))
                .await;
        }
        let fields: Vec<_> = tables.iter().map(|(table, _)| json!({ "table": table })).collect();
        let engine = serving(&server, &json!(fields)).await;
        Bench { server, engine }
    }

    fn subscribers(&self, table: &str, tenants: u32) -> Vec<Client> {
        let clients = (0..tenants).map(|tenant| {
            let client = Client::connect(&self.engine, principal(tenant));
            client.subscribe("1", &format!("subscription {{ {table} {{ row {{ id body }} }} }}"));
            client
        });
        clients.collect()
    }
}

fn principal(tenant: u32) -> Principal {
    let settings = [("app.tenant", tenant.to_string()), ("app.user", format!("user{tenant}"))];
    Principal {
        user_id: Some(format!("user{tenant}")),
        role: Some("app".into()),
        settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Principal::default()
    }
}

/// Transactions of ten rows each, one row for each of ten tenants, until all are delivered.
async fn throughput(name: &str, policy: &str, rows: u32) {
    let bench = Bench::new(&[("docs", policy)]).await;
    let mut clients = bench.subscribers("docs", TENANTS);
    let (writer, began) = (bench.server.admin().await, Instant::now());
    for first in (0..rows).step_by(10) {
        let insert = format!(
            "insert into docs (tenant_id, body) select n % {TENANTS}, 'b' from generate_series({first}, {}) n",
            first + 9
        );
        writer.batch_execute(&insert).await.unwrap();
    }
    let mut due: BTreeMap<u32, usize> = BTreeMap::new();
    (0..rows).for_each(|row| *due.entry(row % TENANTS).or_default() += 1);
    for (tenant, count) in due {
        clients[tenant as usize].rows(count, "id").await;
    }
    let rate = f64::from(rows) / began.elapsed().as_secs_f64();
    println!(
        "{name}: {rate:.0} changes/s with {TENANTS} subscribers in {TENANTS} tenants ({:.0} times the published {PUBLISHED}/s), {} images asked in {} statements",
        rate / PUBLISHED,
        metric(&bench.engine, "policy_delegated_total"),
        metric(&bench.engine, "policy_batches_total"),
    );
}

/// One row each 5 ms to each of the well-behaved tables, and to `beside` as well.
async fn latency(bench: &Bench, calm: &mut [(&str, Vec<Client>)], beside: Option<&str>) {
    let writer = bench.server.admin().await;
    let mut waits: Vec<Vec<Duration>> = vec![Vec::new(); calm.len()];
    for round in 0..400_u32 {
        let tenant = round % 10;
        if let Some(table) = beside {
            let insert =
                format!("insert into {table} (tenant_id, body) select {tenant}, 'b' from generate_series(1, 5)");
            writer.batch_execute(&insert).await.unwrap();
        }
        for (waits, (table, clients)) in waits.iter_mut().zip(calm.iter_mut()) {
            let began = Instant::now();
            writer
                .batch_execute(&format!("insert into {table} (tenant_id, body) values ({tenant}, 'b')"))
                .await
                .unwrap();
            clients[tenant as usize].rows(1, "id").await;
            waits.push(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (waits, (table, _)) in waits.iter_mut().zip(calm.iter()) {
        waits.sort();
        let at = |part: usize| waits[waits.len() * part / 100].as_secs_f64() * 1e3;
        println!("beside {:<8} {table:<9} p50 {:.2} ms, p99 {:.2} ms", beside.unwrap_or("nothing"), at(50), at(99));
    }
}

async fn isolation() {
    let bench = Bench::new(&[
        ("compiled", "tenant_id = current_setting('app.tenant')::int"),
        ("delegated", "in_tenant(tenant_id)"),
        ("raising", "raises(id)"),
        ("sleeping", "sleeps(id)"),
    ])
    .await;
    let mut calm = ["compiled", "delegated"].map(|table| (table, bench.subscribers(table, 10)));
    latency(&bench, &mut calm, None).await;
    for noisy in ["raising", "sleeping"] {
        let _noise = bench.subscribers(noisy, 10);
        latency(&bench, &mut calm, Some(noisy)).await;
    }
    latency(&bench, &mut calm, None).await;
    println!(
        "policies raised on {} images and ran into their time limit {} times",
        metric(&bench.engine, "policy_errors_total"),
        metric(&bench.engine, "policy_timeouts_total"),
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tenant = "tenant_id = current_setting('app.tenant')::int";
        let member = "exists (select from members m where m.user_id = current_setting('app.user') and m.tenant_id = docs.tenant_id)";
        throughput("compiled", tenant, 20_000).await;
        throughput("compiled and asked", &format!("{tenant} and {member}"), 5_000).await;
        throughput("delegated", member, 1_000).await;
        isolation().await;
    });
}
