//! Subscriptions that resume: they get what they missed before what is new, without a gap or a repeat.
//!
//! The input is a subscription that the index knows but does not match yet, and the last position that its client has.
//! The subscription alone gets the events of the ring after that position, by the current rules. With the last of them,
//! under the lock that every new event is delivered under, the index begins to match it. Other subscriptions wait no
//! longer than a few events take, and nothing is delivered that the client has no room for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::beginning::{Beginning, ahead, expired, is_outlived};
use super::core::Core;
use super::dispatch::Telling;
use super::index::Index;
use super::snapshot::{self, Fence};
use super::subscription::{Source, Stamp, Subscription};
use crate::failure::Failure;
use crate::journal::Expired;
use crate::model::{Change, Event, Position, SubscriptionId};

/// Delivered under one lock, in about 0.2 ms.
const EVENTS_MAX: usize = 128;
/// How long between two looks whether there is room, or the stream has come far enough.
const GLANCE: Duration = Duration::from_millis(2);
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

impl Core {
    /// Brings a held subscription to the present, in the background.
    pub(crate) fn bring_up(self: &Arc<Self>, id: SubscriptionId, beginning: Beginning) -> Result<(), Failure> {
        if beginning == Beginning::Now {
            return Ok(());
        }
        let core = Arc::clone(self);
        self.in_background(id, async move { core.begin(id, beginning).await })
    }

    /// Ends the subscription if this fails.
    pub(crate) fn in_background(
        self: &Arc<Self>,
        id: SubscriptionId,
        work: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) -> Result<(), Failure> {
        let runtime = self.runtime.get().ok_or_else(|| Failure::from(super::core::NotServing))?;
        let core = Arc::clone(self);
        self.replaying.fetch_add(1, Ordering::SeqCst);
        runtime.spawn(async move {
            if let Err(failure) = work.await {
                core.fail_later(id, failure);
            }
            core.replaying.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(())
    }

    async fn begin(&self, id: SubscriptionId, beginning: Beginning) -> Result<(), Failure> {
        match beginning {
            Beginning::Now => Ok(()),
            Beginning::After(after) => self.catch_up(id, after).await,
            Beginning::Snapshot => self.snapshot(id).await,
            Beginning::AfterOrSnapshot(after) => match self.catch_up(id, after).await {
                Err(failure) if is_outlived(&failure) => {
                    self.forget_progress(id);
                    self.snapshot(id).await
                }
                caught_up => caught_up,
            },
        }
    }

    async fn catch_up(&self, id: SubscriptionId, after: Position) -> Result<(), Failure> {
        self.metrics.resumes_total.add(1);
        self.check_whole(id, after)?;
        self.wait_for_stream(id, after).await?;
        self.go_on(id, after, None).await
    }

    /// Delivers what follows a position, as far as the fence of a snapshot lets it pass, and lets the subscription in.
    pub(crate) async fn go_on(
        &self,
        id: SubscriptionId,
        after: Position,
        fence: Option<&Fence>,
    ) -> Result<(), Failure> {
        let mut position = after;
        while let Step::Told(told) = self.step(id, position, fence)? {
            position = told;
            self.wait_for_room(id).await;
        }
        Ok(())
    }

    /// What followed a position may not have been captured whole.
    fn check_whole(&self, id: SubscriptionId, after: Position) -> Result<(), Failure> {
        let held = self.index.lock().held(id);
        let Some(table) = held.and_then(|(subscription, _)| subscription.source.table()) else { return Ok(()) };
        let whole_since = self.live()?.tables.whole_since(table);
        if after.commit_lsn < whole_since { Err(expired()) } else { Ok(()) }
    }

    /// Another worker may have delivered an event that this process has not read yet, and a stream that has just begun
    /// first fills the ring with what the last process knew.
    async fn wait_for_stream(&self, id: SubscriptionId, after: Position) -> Result<(), Failure> {
        let mut look = Instant::now() + PATIENCE;
        while !self.ring.lock().has_reached(after) && self.is_held(id) {
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
        let Some(pool) = self.pool.get() else { return Err(ahead()) };
        let Ok(client) = pool.get().await else { return Ok(()) };
        let position = if self.horizon.get().is_some() { OUTBOX_POSITION } else { POSITION };
        match client.query_one(position, &[]).await.and_then(|row| row.try_get::<_, PgLsn>(0)) {
            Ok(written) if u64::from(written) < after.commit_lsn.0 => Err(ahead()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn step(&self, id: SubscriptionId, position: Position, fence: Option<&Fence>) -> Result<Step, Failure> {
        let mut index = self.index.lock();
        let Some((subscription, condition)) = index.held(id) else { return Ok(Step::Done) };
        let table = subscription.source.table().filter(|_| fence.is_none());
        if table.is_some_and(|table| self.losses.follow(table, position)) {
            return Err(expired());
        }
        let bytes_max = self.settings.queue_bytes_max / 32;
        let (following, head) = {
            let ring = self.ring.lock();
            (ring.following(position, EVENTS_MAX, bytes_max), ring.position())
        };
        let expired = || fence.map_or_else(expired, |_| snapshot::expired());
        let (events, more) = following.map_err(|Expired| expired())?;
        let mut alone = Index::default();
        alone.insert(&subscription, condition.as_ref());
        for event in events.iter().filter(|event| fence.is_none_or(|fence| fence.lets_pass(event))) {
            if fence.is_none() {
                self.commit_again(id, Some(event.position.commit_lsn));
            }
            self.tell_again(&mut alone, &subscription, event, fence);
        }
        if more {
            return Ok(events.last().map_or(Step::Done, |event| Step::Told(event.position)));
        }
        if let Some(fence) = fence {
            self.tell_end(&subscription, fence, head.unwrap_or(position));
        }
        self.commit_again(id, None);
        index.let_in(id);
        Ok(Step::Done)
    }

    /// Events between a snapshot's rows and its end carry an empty cursor: clients cannot resume inside a snapshot.
    fn tell_again(&self, alone: &mut Index, subscription: &Subscription, event: &Arc<Event>, fence: Option<&Fence>) {
        let event = &in_shape_of(&subscription.source, event);
        let begin = || match fence {
            None => Telling::new(self, event),
            Some(_) => Telling::stamped(self, event, Stamp::nowhere(event.committed_at)),
        };
        let mut telling = None;
        alone.audience(event, |subscription, concern| {
            telling.get_or_insert_with(begin).tell(subscription, concern);
        });
        if let Some(telling) = telling {
            self.metrics.events_replayed_total.add(1);
            telling.finish();
        }
    }

    async fn wait_for_room(&self, id: SubscriptionId) {
        tokio::task::yield_now().await;
        while self.index.lock().held(id).is_some_and(|(subscription, _)| !subscription.has_room()) {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn forget_progress(&self, id: SubscriptionId) {
        if let Some((subscription, _)) = self.index.lock().held(id) {
            subscription.forget();
        }
    }

    pub(crate) fn is_held(&self, id: SubscriptionId) -> bool {
        self.index.lock().held(id).is_some()
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
