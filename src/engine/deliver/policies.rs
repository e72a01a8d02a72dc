//! Delegated row policies: PostgreSQL evaluates each question once for all subscribers that share it. Answers arrive in any
//! order, and events are delivered in commit order.
//!
//! A [`PolicyLane`] is one question: the policies of a table as one role with certain settings. Every event that may concern one
//! of its subscriptions becomes a [`Judgement`] at the lane's end, also one that needs no evaluation. There are as many
//! workers as sessions. They take what waits and ask. A judgement is delivered when it and all before it are decided. Other
//! subscribers do not wait for this, and a policy that sleeps occupies one session only.

mod lane;
mod policy;
mod ready;
mod scheduler;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub(crate) use lane::{AskedImage, Candidate, Judgement, PolicyLane};
pub(crate) use scheduler::{run, truths};

use crate::metrics::Metrics;
use crate::security::Question;
use policy::{Policy, PolicyKey};
use ready::Ready;

/// Below this many entries, dead ones stay in the map.
const SWEEP_MIN: usize = 64;

/// Delivers what was decided.
pub(crate) trait Teller: Send + Sync {
    /// Both images are decided, and so is everything before. Called under the lane's lock, so it takes none but a
    /// resolver lane's and a queue's.
    fn tell_judged(&self, judgement: &Judgement);
}

/// Lanes by question. A lane lives as long as a subscription or a judgement holds it.
pub(crate) struct PolicyLanes {
    metrics: Arc<Metrics>,
    backlog_bytes_max: usize,
    ready: Arc<Ready>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    lanes: HashMap<Arc<Question>, Weak<PolicyLane>>,
    policies: HashMap<PolicyKey, Weak<Policy>>,
    sweep_at: usize,
}

impl PolicyLanes {
    pub(crate) fn new(metrics: Arc<Metrics>, backlog_bytes_max: usize) -> Self {
        PolicyLanes { metrics, backlog_bytes_max, ready: Arc::default(), known: Mutex::default() }
    }

    /// The one lane of this question.
    pub(crate) fn lane(&self, question: &Arc<Question>) -> Arc<PolicyLane> {
        let mut known = self.known.lock();
        if let Some(lane) = known.lanes.get(question).and_then(Weak::upgrade) {
            return lane;
        }
        known.sweep();
        let policy = known.policy(question);
        let lane = PolicyLane::new(question, policy, self.backlog_bytes_max, &self.metrics, &self.ready);
        known.lanes.insert(Arc::clone(question), Arc::downgrade(&lane));
        lane
    }

    /// Discards every judgement that was not delivered.
    pub(crate) fn close(&self) {
        let lanes: Vec<_> = self.known.lock().lanes.values().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.close();
        }
        self.ready.close();
    }

    /// Where workers find lanes with something to ask.
    pub(crate) fn ready(&self) -> Arc<Ready> {
        Arc::clone(&self.ready)
    }
}

impl Known {
    fn policy(&mut self, question: &Question) -> Arc<Policy> {
        let key = PolicyKey::of(question);
        if let Some(policy) = self.policies.get(&key).and_then(Weak::upgrade) {
            return policy;
        }
        let policy = Arc::new(Policy::default());
        self.policies.insert(key, Arc::downgrade(&policy));
        policy
    }

    /// Costs what the map holds, once it has doubled: nothing per lane in the long run.
    fn sweep(&mut self) {
        if self.lanes.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.lanes.retain(|_, lane| lane.strong_count() > 0);
            self.policies.retain(|_, policy| policy.strong_count() > 0);
            self.sweep_at = self.lanes.len() * 2;
        }
    }
}

#[cfg(test)]
mod tests;
