//! All lanes, and the calls of all of them that no worker has taken yet.

mod lane;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::adapter::{RESOLVERS, Wake};
use crate::engine::clock::Clock;
use crate::metrics::Metrics;
use crate::security::Columns;
pub use lane::{Call, Outcome};
pub(crate) use lane::{Enqueued, ResolverLane};

/// Below this many entries the lanes that are gone are left where they are.
const SWEEP_MIN: usize = 64;

/// What a lane is found by. `tenant` is given where another tenant's events never concern it: so that they do not fill
/// it, either.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    resolver: usize,
    variables: String,
    tenant: Option<Box<str>>,
    /// What of a row the resolver is given.
    columns: Columns,
}

/// Lanes by what they are. A lane lives as long as a subscription or a call holds it.
pub(crate) struct ResolverLanes {
    metrics: Arc<Metrics>,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    lanes: HashMap<Key, Weak<ResolverLane>>,
    sweep_at: usize,
}

impl ResolverLanes {
    pub(crate) fn new(metrics: Arc<Metrics>, clock: Clock) -> Self {
        ResolverLanes { metrics, clock, known: Mutex::default() }
    }

    pub(crate) fn lane(
        &self,
        resolver: usize,
        variables: Map<String, Value>,
        tenant: Option<&str>,
        columns: Columns,
        bytes_max: usize,
    ) -> Arc<ResolverLane> {
        // `Map` is ordered by key, so equal variables have equal text.
        let text = Value::Object(variables.clone()).to_string();
        let key = Key { resolver, variables: text, tenant: tenant.map(Into::into), columns };
        let mut known = self.known.lock();
        if let Some(lane) = known.lanes.get(&key).and_then(Weak::upgrade) {
            return lane;
        }
        known.sweep();
        let lane = ResolverLane::new(resolver, variables, bytes_max, &self.metrics, self.clock.clone());
        known.lanes.insert(key, Arc::downgrade(&lane));
        lane
    }

    /// Gives up every call that is not finished.
    pub(crate) fn close(&self) {
        let lanes: Vec<_> = self.known.lock().lanes.values().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.close();
        }
    }
}

impl Known {
    /// Costs what the map holds, once it has doubled: nothing per lane in the long run.
    fn sweep(&mut self) {
        if self.lanes.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.lanes.retain(|_, lane| lane.strong_count() > 0);
            self.sweep_at = self.lanes.len() * 2;
        }
    }
}

/// Calls that wait for a worker. Bounded by the lanes' bounds.
#[derive(Default)]
pub(crate) struct CallQueue {
    calls: Mutex<VecDeque<Arc<Call>>>,
    wake: Mutex<Option<Arc<dyn Wake>>>,
}

impl CallQueue {
    /// Says whose workers take the calls.
    pub(crate) fn resolve_on(&self, wake: Arc<dyn Wake>) {
        *self.wake.lock() = Some(wake);
    }

    pub(crate) fn push(&self, call: Arc<Call>) {
        self.calls.lock().push_back(call);
        if let Some(wake) = &*self.wake.lock() {
            wake.wake(RESOLVERS);
        }
    }

    /// Lets go of every call.
    pub(crate) fn close(&self) {
        self.calls.lock().clear();
    }

    /// Up to `limit` calls that a subscription waits for, oldest first.
    pub(crate) fn take(&self, limit: usize) -> Vec<Arc<Call>> {
        let mut taken = Vec::new();
        while taken.len() < limit {
            let Some(call) = self.calls.lock().pop_front() else { break };
            if call.pending() {
                taken.push(call);
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Map;

    use super::{Clock, ResolverLanes, SWEEP_MIN};
    use crate::metrics::Metrics;
    use crate::security::Columns;

    #[test]
    fn equal_calls_share_a_lane_and_tenants_do_not() {
        let lanes = ResolverLanes::new(Arc::new(Metrics::default()), Clock::default());
        let lane = |resolver, tenant| lanes.lane(resolver, Map::new(), tenant, Columns::default(), 1);
        let first = lane(0, Some("a"));
        assert!(Arc::ptr_eq(&first, &lane(0, Some("a"))));
        for other in [lane(0, Some("b")), lane(0, None), lane(1, Some("a"))] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
    }

    #[test]
    fn lanes_that_nobody_uses_are_forgotten() {
        let lanes = ResolverLanes::new(Arc::new(Metrics::default()), Clock::default());
        let kept = lanes.lane(0, Map::new(), None, Columns::default(), 1);
        for resolver in 1..10_000 {
            lanes.lane(resolver, Map::new(), None, Columns::default(), 1);
        }
        assert!(lanes.known.lock().lanes.len() <= SWEEP_MIN);
        assert!(Arc::ptr_eq(&kept, &lanes.lane(0, Map::new(), None, Columns::default(), 1)));
    }
}
