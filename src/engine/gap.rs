//! What becomes of clients when changes are lost.
//!
//! * Every subscription that the loss concerns ends with `GAP`, but those that keep the rows: they get the rows anew.
//! * A loss of the whole stream may include a request to close sessions. Every session and registered subscription that a
//!   request can name ends, behind its errors, and its client authenticates again.

use std::sync::Arc;

use super::core::Core;
use super::failure::Failure;
use super::index::Index;
use super::subscription::{Sink, Subscription};
use crate::journal::{History, Ring};
use crate::model::Table;

/// Subscriptions that a gap concerns.
struct Concerned {
    /// To be told the rows anew.
    keepers: Vec<Arc<Subscription>>,
    ended: Vec<Arc<Subscription>>,
}

impl Core {
    /// A new stream that does not go on where the last one ended: nobody who listens may take it for the same. Who keeps the
    /// rows that are there is told them anew.
    pub(super) fn begin_anew(self: &Arc<Self>, history: History, ring: Ring, code: &str) {
        let message = format!(
            "changes were lost ({code}): what came after the last event of this subscription is not known. Read the rows \
             anew, and subscribe"
        );
        let failure = Failure::Gap { message, told_in: self.origin() };
        let concerned = self.end_history(history, ring);
        self.end_silenced(&concerned.ended, &failure);
        self.doubt_sessions();
        self.tell_all_rows_anew(&concerned.keepers, &failure);
    }

    /// Changes of one table were not captured, such as those of a partition that was detached. Other tables go on.
    pub(super) fn tell_gap(self: &Arc<Self>, table: &Table) {
        let message = format!(
            "changes of {} were lost: its partitions, or what publication rowcast sends of it, have changed. Read the rows \
             anew, and subscribe",
            table.name
        );
        let failure = Failure::Gap { message, told_in: self.origin() };
        let concerned = {
            let index = self.index.lock();
            let of_table = index.all().filter(|subscription| subscription.source.table() == Some(table.oid));
            self.metrics.gaps_total.add(1);
            silence_all_but(of_table, |subscription| keeps_rows(&index, subscription))
        };
        self.end_silenced(&concerned.ended, &failure);
        self.tell_all_rows_anew(&concerned.keepers, &failure);
    }

    /// Tells the readers of subscriptions that were silenced under the index's lock why they ended.
    pub(super) fn end_silenced(&self, ended: &[Arc<Subscription>], failure: &Failure) {
        for subscription in ended.iter().filter_map(|ended| self.complete(ended.id)) {
            subscription.fail(failure);
        }
    }

    fn tell_all_rows_anew(self: &Arc<Self>, keepers: &[Arc<Subscription>], failure: &Failure) {
        for subscription in keepers {
            if self.tell_rows_anew(subscription, failure).is_err() {
                subscription.fail_later(failure.clone());
            }
        }
    }

    fn end_history(&self, history: History, ring: Ring) -> Concerned {
        let is_left = history.origin != self.origin();
        let sessions = self.registry.sessions();
        let index = self.index.lock();
        let goes_on = |subscription: &Subscription| keeps_rows(&index, subscription) && !may_be_revoked(subscription);
        let concerned = silence_all_but(index.all(), goes_on);
        // A new slot of the same server tells the same history: what is queued keeps its cursors.
        for subscription in index.all().filter(|_| is_left) {
            subscription.sink.leave_history();
        }
        for session in sessions.iter().filter(|_| is_left) {
            session.leave_history();
        }
        let mut current = self.ring.lock();
        *current = ring;
        self.follow(history);
        self.metrics.gaps_total.add(1);
        concerned
    }
}

/// Lets nothing more be delivered to these. Returns those that had not ended before, which are to be told why.
pub(super) fn silence<'a>(concerned: impl Iterator<Item = &'a Arc<Subscription>>) -> Vec<Arc<Subscription>> {
    concerned.filter(|subscription| subscription.progress.end()).cloned().collect()
}

fn silence_all_but<'a>(
    concerned: impl Iterator<Item = &'a Arc<Subscription>>,
    goes_on: impl Fn(&Subscription) -> bool,
) -> Concerned {
    let (keepers, others): (Vec<_>, Vec<_>) = concerned.partition(|subscription| goes_on(subscription));
    Concerned { keepers: keepers.into_iter().cloned().collect(), ended: silence(others.into_iter()) }
}

fn keeps_rows(index: &Index, subscription: &Subscription) -> bool {
    subscription.keeps_rows && !index.is_held(subscription.id)
}

/// Whether it is a registered one that a revoke can name. One of a session ends with its session.
fn may_be_revoked(subscription: &Subscription) -> bool {
    matches!(subscription.sink, Sink::Pull(_)) && subscription.principal.can_be_named()
}
