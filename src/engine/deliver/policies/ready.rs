//! Lanes with something to ask, in the order in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::lane::PolicyLane;
use super::policy::PolicyState;

/// Lanes that share one trip at most: each costs the server some 60 us, so others wait a few milliseconds.
const LANES_MAX: usize = 64;

/// Which kind of worker asks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worker {
    /// It never meets a policy that is known to be slow.
    Fast,
    /// It takes slow ones first, and helps the others when there is none.
    Slow,
}

/// A lane is here once, or with a worker, or has nothing to ask.
#[derive(Default)]
pub(crate) struct Ready {
    queues: Mutex<Queues>,
    fast: Notify,
    slow: Notify,
}

#[derive(Default)]
struct Queues {
    fast: VecDeque<Arc<PolicyLane>>,
    slow: VecDeque<Arc<PolicyLane>>,
}

impl Ready {
    /// Called only by the holder of the lane, so a lane is in here at most once.
    pub(super) fn push(&self, lane: Arc<PolicyLane>) {
        if lane.standing() == PolicyState::Slow {
            self.queues.lock().slow.push_back(lane);
            self.slow.notify_one();
        } else {
            self.queues.lock().fast.push_back(lane);
            self.fast.notify_one();
        }
    }

    /// Policies that are no longer slow go to the others.
    pub(super) fn promote(&self) {
        let mut queues = self.queues.lock();
        let (slow, fast) =
            std::mem::take(&mut queues.slow).into_iter().partition(|lane| lane.standing() == PolicyState::Slow);
        queues.slow = slow;
        queues.fast.extend::<VecDeque<_>>(fast);
        if !queues.fast.is_empty() {
            self.fast.notify_one();
        }
    }

    pub(super) fn close(&self) {
        *self.queues.lock() = Queues::default();
    }

    /// Lanes for one trip, at least one.
    pub(super) async fn next(&self, worker: Worker) -> Vec<Arc<PolicyLane>> {
        loop {
            let lanes = self.try_next(worker);
            if !lanes.is_empty() {
                return lanes;
            }
            match worker {
                Worker::Fast => self.fast.notified().await,
                Worker::Slow => tokio::select! {
                    () = self.slow.notified() => {}
                    () = self.fast.notified() => {}
                },
            }
        }
    }

    fn try_next(&self, worker: Worker) -> Vec<Arc<PolicyLane>> {
        let mut queues = self.queues.lock();
        let slow = if worker == Worker::Slow { queues.slow.pop_front() } else { None };
        let Some(first) = slow.or_else(|| queues.fast.pop_front()) else { return Vec::new() };
        let mut lanes = vec![first];
        if lanes[0].standing() == PolicyState::Fast {
            queues.join(&mut lanes);
        }
        // One notification may stand for several lanes, and the notified worker takes only some of them.
        if !queues.fast.is_empty() {
            self.fast.notify_one();
        }
        lanes
    }
}

impl Queues {
    /// Others that are known to be fast come along.
    fn join(&mut self, lanes: &mut Vec<Arc<PolicyLane>>) {
        let mut left = Vec::new();
        while lanes.len() < LANES_MAX && left.len() < LANES_MAX {
            let Some(lane) = self.fast.pop_front() else { break };
            if lane.standing() == PolicyState::Fast { lanes.push(lane) } else { left.push(lane) }
        }
        left.into_iter().rev().for_each(|lane| self.fast.push_front(lane));
    }
}
