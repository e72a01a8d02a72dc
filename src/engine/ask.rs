//! Row policies that were not compiled: PostgreSQL is asked once for everybody with the same question, answers come in any
//! order, and whoever is concerned is told in commit order.
//!
//! A [`Lane`] is one question: the policies of a table as one role with certain settings. Every event that may concern one
//! of its subscriptions becomes a [`Judgement`] at the lane's end, whether something of it must be asked or not. Workers,
//! as many as there are sessions, take what waits and ask; a judgement is told when it and all before it are decided.
//! Nobody else waits for any of this, and a policy that sleeps keeps one session busy, not the others.

mod lane;
mod policy;
mod ready;
mod scheduler;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub(super) use lane::{Candidate, Image, Judgement, Lane};
pub(super) use scheduler::{run, truths};

use crate::metrics::Metrics;
use crate::security::Question;
use policy::{Policy, PolicyKey};
use ready::Ready;

/// Below this many entries what is gone is left where it is.
const SWEEP_MIN: usize = 64;

/// Who tells what was decided.
pub(super) trait Teller: Send + Sync {
    /// Both images are decided, and so is everything before. Called under the lane's lock, so it takes none but a
    /// resolver lane's and a queue's.
    fn tell_judged(&self, judgement: &Judgement);
}

/// Lanes by question. A lane lives as long as a subscription or a judgement holds it.
pub(super) struct Policies {
    metrics: Arc<Metrics>,
    backlog_bytes_max: usize,
    ready: Arc<Ready>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    lanes: HashMap<Arc<Question>, Weak<Lane>>,
    policies: HashMap<PolicyKey, Weak<Policy>>,
    sweep_at: usize,
}

impl Policies {
    pub(super) fn new(metrics: Arc<Metrics>, backlog_bytes_max: usize) -> Self {
        Policies { metrics, backlog_bytes_max, ready: Arc::default(), known: Mutex::default() }
    }

    /// The one lane of this question.
    pub(super) fn lane(&self, question: &Arc<Question>) -> Arc<Lane> {
        let mut known = self.known.lock();
        if let Some(lane) = known.lanes.get(question).and_then(Weak::upgrade) {
            return lane;
        }
        known.sweep();
        let policy = known.policy(question);
        let lane = Lane::new(question, policy, self.backlog_bytes_max, &self.metrics, &self.ready);
        known.lanes.insert(Arc::clone(question), Arc::downgrade(&lane));
        lane
    }

    /// Gives up every judgement that is not told.
    pub(super) fn close(&self) {
        let lanes: Vec<_> = self.known.lock().lanes.values().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            lane.close();
        }
        self.ready.close();
    }

    /// Where workers find lanes with something to ask.
    pub(super) fn ready(&self) -> Arc<Ready> {
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
