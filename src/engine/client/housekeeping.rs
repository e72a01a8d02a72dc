//! What no message triggers: timers of sessions, ages of queues, ends of tokens, and the endings of
//! [`Eviction`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use super::Clients;
use crate::engine::outbound::Eviction;

/// Timers are this exact. Looking at 10,000 idle sessions takes about a millisecond.
const TICK: Duration = Duration::from_millis(100);

/// Between two looks for keys of rates that have been quiet. 100,000 of them take some milliseconds.
const SWEEP: Duration = Duration::from_secs(10);

/// Runs until it is aborted.
pub(crate) async fn run(clients: Arc<Clients>, mut evictions: UnboundedReceiver<Eviction>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => tick(&clients),
            _ = sweeps.tick() => clients.core.rates.sweep(),
            eviction = evictions.recv() => match eviction {
                Some(eviction) => evict(&clients, eviction),
                None => return,
            },
        }
    }
}

pub(crate) fn tick(clients: &Clients) {
    let now = clients.core.clock.now();
    for session in clients.sessions() {
        session.on_time(now);
    }
    clients.end_expired();
}

fn evict(clients: &Clients, eviction: Eviction) {
    carry_out(clients, eviction);
    clients.core.outbound.evictions.carried_out();
}

fn carry_out(clients: &Clients, eviction: Eviction) {
    match eviction {
        Eviction::SlowClient(id) => {
            if let Some(session) = clients.session(id) {
                session.end_slow();
            }
        }
        Eviction::Fail(id, failure) => clients.fail(id, &failure),
        Eviction::Forget(id) => drop(clients.core.complete(id)),
        Eviction::Doubt => clients.doubt_sessions(),
    }
}
