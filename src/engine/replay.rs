//! Subscribers who come back: what they missed is told before what is new, without a gap or a repeat.
//!
//! What comes in: a subscription that is known to the index but not matched yet, and the position that its client saw
//! last. What is promised: what the ring of recent events has behind that position is told to it alone, by the rules of
//! now; with the last of it, under the lock that every new event is told under, it begins to listen. What is never done:
//! nobody else waits for longer than a few events take, and nothing is told that its client has no room for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::PgLsn;

use super::core::Core;
use super::dispatch::Telling;
use super::failure::Failure;
use super::index::Index;
use super::subscription::{Source, Subscription};
use crate::graphql::{Arguments, Request};
use crate::journal::{Cursor, Expired};
use crate::model::{Change, Event, Position, SubscriptionId};

/// Told under one lock, some 0.2 ms of it.
const EVENTS_MAX: usize = 128;
/// How long between two looks whether there is room, or the stream has come far enough.
const GLANCE: Duration = Duration::from_millis(2);
/// A stream that is this far behind a cursor is looked at more closely.
const PATIENCE: Duration = Duration::from_secs(1);
/// The server's own position. A standby that was promoted has one as well.
const POSITION: &str = "select pg_catalog.pg_current_wal_flush_lsn()";

/// What became of one step.
enum Step {
    /// Events up to this position were told, and there are more.
    Told(Position),
    /// It listens now, or is gone.
    Done,
}

impl Core {
    /// The position after which a request wants to go on: the field's argument, or `extensions.rowcast.after` of a client
    /// that cannot change its document. A `Last-Event-ID` is newer than both: an `EventSource` comes back with the URL
    /// that it began with.
    pub(super) fn resume_after(&self, arguments: &Arguments, request: &Request) -> Result<Option<Position>, Failure> {
        if let Some(last_event_id) = extension(request, "lastEventId")? {
            return self.position_of(last_event_id).map(Some);
        }
        let extension = extension(request, "after")?;
        match (arguments.after.as_deref(), extension) {
            (Some(argument), Some(extension)) if argument != extension => {
                Err(invalid("the argument after and extensions.rowcast.after name different cursors: give one"))
            }
            (Some(cursor), _) | (None, Some(cursor)) => self.position_of(cursor).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn position_of(&self, cursor: &str) -> Result<Position, Failure> {
        let cursor: Cursor =
            cursor.parse().map_err(|error: crate::journal::CursorError| invalid(&error.to_string()))?;
        if self.knows(&cursor) { Ok(cursor.position) } else { Err(ahead()) }
    }

    /// Brings a held subscription to the present, in the background.
    pub(super) fn replay(self: &Arc<Self>, id: SubscriptionId, after: Position) -> Result<(), Failure> {
        let runtime = self.runtime.get().ok_or_else(|| Failure::from(super::core::NotServing))?;
        let core = Arc::clone(self);
        self.metrics.resumes_total.add(1);
        runtime.spawn(async move {
            if let Err(failure) = core.catch_up(id, after).await
                && let Some(subscription) = core.complete(id)
            {
                subscription.fail(&failure);
            }
        });
        Ok(())
    }

    async fn catch_up(&self, id: SubscriptionId, after: Position) -> Result<(), Failure> {
        self.wait_for_stream(id, after).await?;
        let mut position = after;
        while let Step::Told(told) = self.step(id, position)? {
            position = told;
            self.wait_for_room(id).await;
        }
        Ok(())
    }

    /// Another worker may have told of an event that this process has not read yet; and a stream that has just begun
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
        match client.query_one(POSITION, &[]).await.and_then(|row| row.try_get::<_, PgLsn>(0)) {
            Ok(written) if u64::from(written) < after.commit_lsn.0 => Err(ahead()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn step(&self, id: SubscriptionId, position: Position) -> Result<Step, Failure> {
        let mut index = self.index.lock();
        let Some((subscription, condition)) = index.held(id) else { return Ok(Step::Done) };
        let bytes_max = self.settings.queue_bytes_max / 32;
        let (events, more) =
            self.ring.lock().following(position, EVENTS_MAX, bytes_max).map_err(|Expired| expired())?;
        let mut alone = Index::default();
        alone.insert(&subscription, condition.as_ref());
        for event in &events {
            self.commit_again(id, Some(event.position.commit_lsn));
            self.tell_again(&mut alone, &subscription, event);
        }
        if more {
            return Ok(events.last().map_or(Step::Done, |event| Step::Told(event.position)));
        }
        self.commit_again(id, None);
        index.let_in(id);
        Ok(Step::Done)
    }

    fn tell_again(&self, alone: &mut Index, subscription: &Subscription, event: &Arc<Event>) {
        let event = &in_shape_of(&subscription.source, event);
        let mut telling = None;
        alone.audience(event, |subscription, concern| {
            telling.get_or_insert_with(|| Telling::new(self, event)).tell(subscription, concern);
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

    fn is_held(&self, id: SubscriptionId) -> bool {
        self.index.lock().held(id).is_some()
    }
}

/// A cursor in `extensions.rowcast`.
fn extension<'a>(request: &'a Request, name: &str) -> Result<Option<&'a str>, Failure> {
    match request.extensions.as_ref().and_then(|all| all.get("rowcast")?.get(name)) {
        None | Some(serde_json::Value::Null) => Ok(None),
        Some(serde_json::Value::String(cursor)) => Ok(Some(cursor)),
        Some(_) => Err(invalid(&format!("extensions.rowcast.{name} must be a string"))),
    }
}

/// The table may have had another shape when it happened.
fn in_shape_of(source: &Source, event: &Arc<Event>) -> Arc<Event> {
    let had = match &event.change {
        Change::Row(change) => &change.table,
        Change::Truncate(table) => table,
        Change::Message(_) => return Arc::clone(event),
    };
    match source {
        Source::Table(table) if table.oid == had.oid && !Arc::ptr_eq(table, had) => Arc::new(event.reshaped(table)),
        Source::Table(_) | Source::Topic(_) => Arc::clone(event),
    }
}

fn invalid(reason: &str) -> Failure {
    Failure::new("CURSOR_INVALID", reason)
}

fn expired() -> Failure {
    let message = "what followed this cursor is not kept any more: subscribe without it and read the rows anew";
    Failure::new("CURSOR_EXPIRED", message)
}

fn ahead() -> Failure {
    let message = "this cursor is of another database, or of a history that the database has left (a restored backup, a \
                   failover): subscribe without it and read the rows anew";
    Failure::new("CURSOR_AHEAD", message)
}
