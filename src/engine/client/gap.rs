//! What becomes of clients when changes are lost.
//!
//! * Every subscription that the loss concerns ends with `GAP`. Subscriptions that keep rows get a new snapshot instead.
//! * A loss of the whole stream may include a request to close sessions. Every session and registered subscription that a
//!   request can name ends after its errors were sent, and its client authenticates again.

use std::sync::Arc;

use super::Clients;
use crate::engine::catch_up::CatchUp;
use crate::engine::deliver::{Index, Sink, Subscription};
use crate::engine::serve::hold_again;
use crate::failure::Failure;
use crate::journal::{History, Ring};
use crate::model::{Position, Table};

/// Subscriptions that a gap concerns.
struct Concerned {
    /// These get a new snapshot.
    keepers: Vec<Arc<Subscription>>,
    ended: Vec<Arc<Subscription>>,
}

impl Clients {
    /// A new stream does not continue where the last one ended, so no subscriber may take it for the same.
    pub(crate) fn begin_anew(&self, history: History, ring: Ring, code: &str) {
        let message = format!(
            "changes were lost ({code}): what followed the last event of this subscription is unknown. Load the rows \
             again, and subscribe"
        );
        let failure = Failure::Gap { message, told_in: self.core.outbound.history.origin() };
        let concerned = self.end_history(history, ring);
        self.end_silenced(&concerned.ended, &failure);
        self.doubt_sessions();
        self.tell_all_rows_anew(&concerned.keepers, &failure);
    }

    /// Changes of one table were not captured, such as those of a partition that was detached. Other tables go on.
    pub(crate) fn tell_gap(&self, table: &Table) {
        self.core.metrics.gaps_total.add(1);
        self.end_with_gap(table, |_, _| true);
    }

    /// Changes of a table were lost before this position. A live subscription that resumed from before it has not received
    /// them all. One that is still catching up notices the loss by itself.
    pub(crate) fn end_resumed(&self, table: u32, at: Position) {
        let Some(table) = self.core.live().ok().and_then(|live| live.tables.by_oid.get(&table).cloned()) else {
            return;
        };
        self.end_with_gap(&table, |index, subscription| {
            !index.is_held(subscription.id) && subscription.progress.resumed_before(at)
        });
    }

    fn end_with_gap(&self, table: &Table, is_concerned: impl Fn(&Index, &Subscription) -> bool) {
        let message = format!(
            "changes of {} were lost: its partitions, or what publication rowcast sends of it, have changed. Load the rows \
             again, and subscribe",
            table.name
        );
        let failure = Failure::Gap { message, told_in: self.core.outbound.history.origin() };
        let concerned = {
            let index = self.core.index.lock();
            let of_table = index.all().filter(|subscription| subscription.source.table() == Some(table.oid));
            let concerned = of_table.filter(|subscription| is_concerned(&index, subscription));
            silence_all_but(concerned, |subscription| keeps_rows(&index, subscription))
        };
        self.end_silenced(&concerned.ended, &failure);
        self.tell_all_rows_anew(&concerned.keepers, &failure);
    }

    /// Sends the error to the readers of subscriptions that [`silence`] ended.
    fn end_silenced(&self, ended: &[Arc<Subscription>], failure: &Failure) {
        for subscription in ended {
            self.fail(subscription.id, failure);
        }
    }

    fn tell_all_rows_anew(&self, keepers: &[Arc<Subscription>], failure: &Failure) {
        for subscription in keepers {
            if self.tell_rows_anew(subscription, failure).is_err() {
                subscription.fail_later(failure.clone());
            }
        }
    }

    fn tell_rows_anew(&self, subscription: &Arc<Subscription>, gap: &Failure) -> Result<(), Failure> {
        if hold_again(&self.core, subscription)? {
            CatchUp::of(&self.core, subscription.id).start_anew(Arc::clone(subscription), gap.clone())?;
        }
        Ok(())
    }

    fn end_history(&self, history: History, ring: Ring) -> Concerned {
        let is_left = history.origin != self.core.outbound.history.origin();
        let sessions = self.sessions();
        let index = self.core.index.lock();
        let goes_on = |subscription: &Subscription| keeps_rows(&index, subscription) && !may_be_revoked(subscription);
        let concerned = silence_all_but(index.all(), goes_on);
        // A new slot of the same server continues the same history: cursors of queued events stay valid.
        for subscription in index.all().filter(|_| is_left) {
            subscription.sink.leave_history();
        }
        for session in sessions.iter().filter(|_| is_left) {
            session.mailbox().leave_history();
        }
        let mut current = self.core.ring.lock();
        *current = ring;
        self.core.outbound.history.follow(history);
        self.core.metrics.gaps_total.add(1);
        concerned
    }
}

/// Ends the delivery to these, under the index's lock. Returns those that had not ended before.
fn silence<'a>(concerned: impl Iterator<Item = &'a Arc<Subscription>>) -> Vec<Arc<Subscription>> {
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

/// Whether it is a registered subscription that a revoke can name. One of a session ends with its session.
fn may_be_revoked(subscription: &Subscription) -> bool {
    matches!(subscription.sink, Sink::Pull(_)) && subscription.principal.can_be_named()
}
