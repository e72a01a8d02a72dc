//! One event to its subscriptions: match, gate, encode once, queue and wake, through the engine's public door with the
//! in-memory bus. Each round also empties every session's queue, as their event loops would; what that costs alone is
//! measured beside it. `own` is a subscription with a selection of its own for each session, so nothing is shared.
//!
//! `cargo bench --bench dispatch` (`-- --quick` for a look).

#![allow(clippy::expect_used, clippy::panic)] // a bench has nobody to report to

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rowcast::adapter::Wake;
use rowcast::config::{Bus, Settings};
use rowcast::engine::{Engine, SessionHandle};
use rowcast::model::Principal;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

const SIZES: [usize; 3] = [1, 100, 10_000];
const FIELDS: &str = r#"[{"topic":"alerts","public":true}]"#;

/// As cheap as a bell can be.
#[derive(Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(&self, token: u64) {
        self.0.fetch_add(token, Ordering::Relaxed);
    }
}

struct Fixture {
    runtime: Runtime,
    engine: Engine,
    sessions: Vec<Arc<SessionHandle>>,
}

impl Fixture {
    fn new(count: usize, query: impl Fn(usize) -> String) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let settings = Settings { ping_interval_s: 86_400.0, ..Settings::default() };
        let engine = Engine::new(Bus::Memory, settings);
        runtime.block_on(engine.start(FIELDS)).expect("a schema");
        let bell: Arc<dyn Wake> = Arc::new(Bell::default());
        let sessions = (0..count).map(|n| session(&engine, &bell, &query(n))).collect();
        Fixture { runtime, engine, sessions }
    }

    /// How long the publication took, without the emptying.
    fn publish(&self) -> Duration {
        let began = Instant::now();
        let published = self.runtime.block_on(self.engine.publish("alerts", r#"{"text":"hello"}"#, None));
        let took = began.elapsed();
        assert!(published.is_ok());
        self.empty();
        took
    }

    fn empty(&self) {
        for session in &self.sessions {
            black_box(session.take(64));
        }
    }
}

fn session(engine: &Engine, bell: &Arc<dyn Wake>, query: &str) -> Arc<SessionHandle> {
    let session = engine.connect(Arc::clone(bell)).expect("a session");
    session.receive_text(r#"{"type":"connection_init"}"#);
    session.accept(Principal::default(), None);
    let subscribe = json!({"id": "1", "type": "subscribe", "payload": {"query": query}});
    session.receive_text(&subscribe.to_string());
    session.take(64);
    session
}

fn dispatch(c: &mut Criterion) {
    let mut group = c.benchmark_group("dispatch");
    for count in SIZES {
        group.throughput(Throughput::Elements(count as u64));
        let shared = Fixture::new(count, |_| "subscription { alerts { payload } }".to_owned());
        group.bench_with_input(BenchmarkId::new("shared", count), &shared, |bencher, fixture| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| fixture.publish()).sum());
        });
        let own = Fixture::new(count, |n| format!("subscription {{ alerts {{ p{n}: payload }} }}"));
        group.bench_with_input(BenchmarkId::new("own", count), &own, |bencher, fixture| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| fixture.publish()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, dispatch);
criterion_main!(benches);
