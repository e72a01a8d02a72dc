//! Registered subscriptions that end with their principal's token. Sessions see to their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::engine::outbound::PullQueue;
use crate::model::{SubscriptionId, Timestamp};

/// Room for this many is never looked through for those that are gone.
const EXPIRING_MIN: usize = 1024;

/// Subscriptions by the moment at which their principal's token ends. If one has ended before, its queue is gone.
#[derive(Default)]
pub(crate) struct Expiring(Mutex<BTreeMap<(Timestamp, SubscriptionId), Weak<PullQueue>>>);

impl Expiring {
    /// The subscription ends at that moment, if there is one.
    pub(crate) fn add(&self, at: Option<Timestamp>, id: SubscriptionId, queue: &Arc<PullQueue>) {
        let Some(at) = at else { return };
        let mut expiring = self.0.lock();
        // Each time that the number has reached a power of two: what is gone is never more than what is there.
        if expiring.len() >= EXPIRING_MIN && expiring.len().is_power_of_two() {
            expiring.retain(|_, queue| queue.strong_count() > 0);
        }
        expiring.insert((at, id), Arc::downgrade(queue));
    }

    /// Those whose moment has come; each once.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<SubscriptionId> {
        let mut expiring = self.0.lock();
        let later = expiring.split_off(&(Timestamp(now.0.saturating_add(1)), SubscriptionId(0)));
        let due = std::mem::replace(&mut *expiring, later);
        due.into_iter().filter(|(_, queue)| queue.strong_count() > 0).map(|((_, id), _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_expires_is_told_once_in_its_order_and_what_is_gone_is_not_told() {
        let expiring = Expiring::default();
        let queue = Arc::new(PullQueue::new(1));
        for (at, id) in [(30, 1), (10, 2), (20, 3)] {
            expiring.add(Some(Timestamp(at)), SubscriptionId(id), &queue);
        }
        expiring.add(Some(Timestamp(10)), SubscriptionId(4), &Arc::new(PullQueue::new(1)));
        expiring.add(None, SubscriptionId(5), &queue);
        assert_eq!(expiring.due(Timestamp(9)), []);
        assert_eq!(expiring.due(Timestamp(20)), [SubscriptionId(2), SubscriptionId(3)]);
        assert_eq!(expiring.due(Timestamp(20)), []);
        assert_eq!(expiring.due(Timestamp(i64::MAX)), [SubscriptionId(1)]);
    }

    #[test]
    fn subscriptions_that_ended_early_take_no_room_for_long() {
        let expiring = Expiring::default();
        for id in 0..100_000 {
            expiring.add(Some(Timestamp(1)), SubscriptionId(id), &Arc::new(PullQueue::new(1)));
        }
        assert!(expiring.0.lock().len() <= EXPIRING_MIN);
    }
}
