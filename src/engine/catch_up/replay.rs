//! Subscriptions that resume: they get what they missed before what is new, without a gap or a repeat.
//!
//! The input is a subscription that the index knows but does not match yet, and the last position that its client has.
//! The subscription alone gets the events of the ring after that position, by the current rules. With the last of them,
//! under the lock that every new event is delivered under, the index begins to match it. Other subscriptions wait no
//! longer than a few events take, and nothing is delivered that the client has no room for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::beginning::{ahead, expired};
use super::snapshot::{self, Fence};
use super::{CatchUp, GLANCE};
use crate::engine::deliver::{Condition, Index, Source, Stamp, Subscription, Telling};
use crate::failure::Failure;
use crate::journal::Expired;
use crate::model::{Change, Event, Position};

/// Delivered under one lock, in about 0.2 ms.
const EVENTS_MAX: usize = 128;
/// A stream that is this far behind a cursor is looked at more closely.
const PATIENCE: Duration = Duration::from_secs(1);
/// The server's own position. A standby that was promoted has one as well.
const POSITION: &str = "select pg_catalog.pg_current_wal_flush_lsn()";
/// The last position that an outbox gave.
const OUTBOX_POSITION: &str = "select max(last) from rowcast.outbox_window";

/// What became of one step.
enum Step {
    /// Events up to this position were delivered, and there are more.
    Told(Position),
    /// It listens now, or is gone.
    Done,
}

impl CatchUp {
    /// Delivers what followed a cursor, and lets the subscription in.
    pub(super) async fn replay(&self, after: Position) -> Result<(), Failure> {
        self.core.metrics.resumes_total.add(1);
        self.check_whole(after)?;
        self.wait_for_stream(after).await?;
        self.go_on(after, None).await
    }

    /// Delivers what follows a position, as far as the fence of a snapshot lets it pass, and lets the subscription in.
    pub(super) async fn go_on(&self, after: Position, fence: Option<&Fence>) -> Result<(), Failure> {
        let mut position = after;
        while let Step::Told(told) = self.step(position, fence)? {
            position = told;
            self.wait_for_room().await;
        }
        Ok(())
    }

    /// What followed a position may not have been captured whole.
    fn check_whole(&self, after: Position) -> Result<(), Failure> {
        let held = self.held();
        let Some(table) = held.and_then(|(subscription, _)| subscription.source.table()) else { return Ok(()) };
        let whole_since = self.core.live()?.tables.whole_since(table);
        if after.commit_lsn < whole_since { Err(expired()) } else { Ok(()) }
    }

    /// Another worker may have delivered an event that this process has not read yet, and a stream that has just begun
    /// first fills the ring with what the last process knew.
    async fn wait_for_stream(&self, after: Position) -> Result<(), Failure> {
        let mut look = Instant::now() + PATIENCE;
        while !self.core.ring.lock().has_reached(after) && self.held().is_some() {
            if Instant::now() >= look {
                self.check_server(after).await?;
                look = Instant::now() + PATIENCE;
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// A position that the server has not written is of another history, as after a restored backup.
    async fn check_server(&self, after: Position) -> Result<(), Failure> {
        let Some(pool) = self.core.pool.get() else { return Err(ahead()) };
        let Ok(client) = pool.get().await else { return Ok(()) };
        let position = if self.core.horizon.get().is_some() { OUTBOX_POSITION } else { POSITION };
        match client.query_one(position, &[]).await.and_then(|row| row.try_get::<_, PgLsn>(0)) {
            Ok(written) if u64::from(written) < after.commit_lsn.0 => Err(ahead()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn step(&self, position: Position, fence: Option<&Fence>) -> Result<Step, Failure> {
        let mut index = self.core.index.lock();
        let Some((subscription, condition)) = index.held(self.id) else { return Ok(Step::Done) };
        let table = subscription.source.table().filter(|_| fence.is_none());
        if table.is_some_and(|table| self.core.losses.follow(table, position)) {
            return Err(expired());
        }
        let bytes_max = self.core.settings.queue_bytes_max / 32;
        let (following, head) = {
            let ring = self.core.ring.lock();
            (ring.following(position, EVENTS_MAX, bytes_max), ring.position())
        };
        let expired = || fence.map_or_else(expired, |_| snapshot::expired());
        let (events, more) = following.map_err(|Expired| expired())?;
        let mut alone = Index::default();
        alone.insert(&subscription, condition.as_ref());
        for event in events.iter().filter(|event| fence.is_none_or(|fence| fence.lets_pass(event))) {
            if fence.is_none() {
                self.core.commit_again(self.id, Some(event.position.commit_lsn));
            }
            self.tell_again(&mut alone, &subscription, event, fence);
        }
        if more {
            return Ok(events.last().map_or(Step::Done, |event| Step::Told(event.position)));
        }
        if let Some(fence) = fence {
            self.tell_end(&subscription, fence, head.unwrap_or(position));
        }
        self.core.commit_again(self.id, None);
        index.let_in(self.id);
        Ok(Step::Done)
    }

    /// Events between a snapshot's rows and its end carry an empty cursor: clients cannot resume inside a snapshot.
    fn tell_again(&self, alone: &mut Index, subscription: &Subscription, event: &Arc<Event>, fence: Option<&Fence>) {
        let event = &in_shape_of(&subscription.source, event);
        let begin = || match fence {
            None => Telling::new(&self.core, event),
            Some(_) => Telling::stamped(&self.core, event, Stamp::nowhere(event.committed_at)),
        };
        let mut telling = None;
        alone.audience(event, |subscription, concern| {
            telling.get_or_insert_with(begin).tell(subscription, concern);
        });
        if let Some(telling) = telling {
            self.core.metrics.events_replayed_total.add(1);
            telling.finish();
        }
    }

    async fn wait_for_room(&self) {
        tokio::task::yield_now().await;
        while self.held().is_some_and(|(subscription, _)| !subscription.has_room()) {
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// The subscription and its condition, unless it has ended.
    pub(super) fn held(&self) -> Option<(Arc<Subscription>, Option<Condition>)> {
        self.core.index.lock().held(self.id)
    }
}

/// The table may have had another shape when it happened.
fn in_shape_of(source: &Source, event: &Arc<Event>) -> Arc<Event> {
    let had = match &event.change {
        Change::Row(change) => &change.table,
        Change::Truncate(table) | Change::SnapshotEnd(table) => table,
        Change::Message(_) => return Arc::clone(event),
    };
    match source {
        Source::Table(table) if table.oid == had.oid && !Arc::ptr_eq(table, had) => Arc::new(event.reshaped(table)),
        Source::Table(_) | Source::Topic(_) => Arc::clone(event),
    }
}
