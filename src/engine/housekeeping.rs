//! What no message triggers: timers of sessions, ages of queues, ends of tokens, and the endings of
//! [`evict`](super::evict).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{MissedTickBehavior, interval};

use super::core::Core;
use super::evict::Eviction;

/// Timers are this exact. Looking at 10,000 idle sessions takes about a millisecond.
const TICK: Duration = Duration::from_millis(100);

/// Between two looks for keys of rates that have been quiet. 100,000 of them take some milliseconds.
const SWEEP: Duration = Duration::from_secs(10);

/// Runs until it is aborted.
pub(super) async fn run(core: Arc<Core>, mut evictions: UnboundedReceiver<Eviction>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => tick(&core),
            _ = sweeps.tick() => core.rates.sweep(),
            eviction = evictions.recv() => match eviction {
                Some(eviction) => evict(&core, eviction),
                None => return,
            },
        }
    }
}

pub(super) fn tick(core: &Core) {
    let now = core.clock.now();
    for session in core.registry.sessions() {
        session.on_time(now);
    }
    core.end_expired();
}

fn evict(core: &Core, eviction: Eviction) {
    carry_out(core, eviction);
    core.evictions.carried_out();
}

fn carry_out(core: &Core, eviction: Eviction) {
    match eviction {
        Eviction::SlowClient(id) => {
            if let Some(session) = core.registry.session(id) {
                session.end_slow();
            }
        }
        Eviction::Fail(id, failure) => {
            if let Some(subscription) = core.complete(id) {
                subscription.fail(&failure);
            }
        }
        Eviction::Forget(id) => {
            core.complete(id);
        }
        Eviction::Doubt => core.doubt_sessions(),
    }
}
