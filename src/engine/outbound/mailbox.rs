//! What waits for one session's sender: the queue behind its lock, and the bell that calls the sender.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::pace::Sender;
use super::{Eviction, Outbound, Progress};
use crate::adapter::Wake;
use crate::failure::Failure;
use crate::journal::Cursor;
use crate::model::{OperationId, Position, SessionId};
use crate::payload::Frame;
use crate::session::{Bound, Close, Limits, Overflow, Pushed, Queue, Route, RowNews};

/// Frames of about this many bytes are handed out at once; the rest stays in the queue, where it is seen.
const TAKE_BYTES: usize = 256 * 1024;

/// The queue of one session. Event threads fill it, its sender empties it, its conversation closes it.
pub(crate) struct Mailbox {
    session: SessionId,
    wake: Arc<dyn Wake>,
    outbound: Arc<Outbound>,
    bytes_max: usize,
    queue: Mutex<Queue>,
    sender: Sender,
}

impl Mailbox {
    pub(crate) fn new(session: SessionId, wake: Arc<dyn Wake>, outbound: Arc<Outbound>, limits: &Limits) -> Arc<Self> {
        Arc::new(Mailbox {
            session,
            wake,
            outbound,
            bytes_max: limits.queue_bytes_max,
            queue: Mutex::new(Queue::new(limits)),
            sender: Sender::new(limits.queue_bytes_max),
        })
    }

    /// Whose it is.
    pub(crate) fn session(&self) -> SessionId {
        self.session
    }

    /// Calls the sender.
    pub(crate) fn ring(&self) {
        self.wake.wake(self.session.0);
    }

    /// Where the sender stands, for the pace of the stream.
    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Whether much more fits.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes() <= self.bytes_max / 16
    }

    /// What waits, as the bound counts it.
    pub(crate) fn bytes(&self) -> usize {
        self.queue.lock().bytes()
    }

    /// How the socket is to be closed, once it is.
    pub(crate) fn closing(&self) -> Option<Close> {
        self.queue.lock().closing().cloned()
    }

    /// An operation begins. With `behind`, its events may follow events of others that committed later.
    pub(crate) fn begins(&self, behind: bool) {
        self.queue.lock().begins(behind);
    }

    /// The positions of what is queued or was taken are of a history that is about to be left.
    pub(crate) fn leave_history(&self) {
        self.queue.lock().forget_positions();
    }

    /// Queues a result, unless its subscription has ended: that is asked under the queue's lock, so that nothing comes
    /// after a client's `complete` has purged the queue.
    pub(crate) fn deliver(
        &self,
        to: &Progress,
        operation: &OperationId,
        frame: Frame,
        at: Option<Position>,
        row: Option<RowNews>,
        now: Instant,
    ) {
        let mut queue = self.queue.lock();
        if to.is_live() {
            if let Some(position) = at {
                to.told(position);
            }
            let pushed = match row {
                Some(row) => queue.push_row(operation, frame, at, row, now),
                None => queue.push(operation, frame, at, now),
            };
            self.sender.queued(queue.bytes(), &self.outbound.pace);
            self.pushed(queue, pushed);
        }
    }

    /// Queues an answer of an operation. A client cannot resume from it.
    pub(crate) fn answer(&self, operation: &OperationId, frame: Frame, now: Instant) {
        let mut queue = self.queue.lock();
        let pushed = queue.push(operation, frame, None, now);
        self.pushed(queue, pushed);
    }

    /// Queues a message of the conversation.
    pub(crate) fn transmit(&self, lane: Route, frame: Frame, now: Instant) {
        let mut queue = self.queue.lock();
        let pushed = queue.transmit(lane, frame, now);
        self.pushed(queue, pushed);
    }

    /// Drops what waits of an operation.
    pub(crate) fn purge(&self, operation: &str) {
        let mut queue = self.queue.lock();
        queue.purge(operation);
        self.came(&queue);
    }

    /// Up to `limit` frames to send, in order.
    pub(crate) fn take(&self, limit: usize) -> Vec<Frame> {
        let mut frames = Vec::new();
        let mut queue = self.queue.lock();
        queue.take(limit, TAKE_BYTES, &mut frames);
        self.came(&queue);
        frames
    }

    /// The same, each with the cursor from which its client may resume once it has it.
    pub(crate) fn take_with_cursors(&self, limit: usize) -> Vec<(Frame, Option<String>)> {
        let mut taken = Vec::new();
        let mut queue = self.queue.lock();
        queue.take_each(limit, TAKE_BYTES, |frame, position| taken.push((frame, position)));
        self.came(&queue);
        // Positions that are still in the queue are of the history that is followed now.
        let origin = self.outbound.history.origin();
        drop(queue);
        let cursor = |position| Cursor { origin, position }.to_string();
        taken.into_iter().map(|(frame, position)| (frame, position.map(cursor))).collect()
    }

    /// Lets nothing more in; what is there goes out first or not at all, as `close` says.
    pub(crate) fn finish(&self, close: Close) {
        let mut queue = self.queue.lock();
        queue.finish(close);
        self.came(&queue);
    }

    /// How the session closes when the oldest frame has waited too long; returned once.
    pub(crate) fn overdue(&self, now: Instant) -> Option<Close> {
        let mut queue = self.queue.lock();
        let overflow = queue.overdue(now);
        self.count_folded(&mut queue);
        drop(queue);
        let overflow = overflow?;
        self.sender.came(0, &self.outbound.pace);
        Some(self.slow_client(overflow))
    }

    /// The cursor of the last result that a subscription got, in the history of its failure.
    pub(crate) fn last_told(&self, progress: &Progress, failure: &Failure) -> Option<String> {
        let _queue = self.queue.lock();
        let origin = failure.told_in().unwrap_or_else(|| self.outbound.history.origin());
        progress.last_told().map(|position| Cursor { origin, position }.to_string())
    }

    fn came(&self, queue: &Queue) {
        self.sender.came(queue.bytes(), &self.outbound.pace);
    }

    fn pushed(&self, mut queue: MutexGuard<'_, Queue>, pushed: Pushed) {
        self.count_folded(&mut queue);
        match pushed {
            Pushed::More | Pushed::Shut => {}
            Pushed::First => {
                self.sender.rung();
                drop(queue);
                self.ring();
            }
            Pushed::Overflow(overflow) => {
                queue.finish(self.slow_client(overflow));
                self.sender.came(0, &self.outbound.pace);
                drop(queue);
                self.ring();
                self.outbound.evictions.send(Eviction::SlowClient(self.session));
            }
        }
    }

    fn count_folded(&self, queue: &mut Queue) {
        match queue.take_folded() {
            0 => {}
            folded => self.outbound.metrics.coalesced_total.add(folded),
        }
    }

    fn slow_client(&self, overflow: Overflow) -> Close {
        self.outbound.metrics.slow_clients_total.add(1);
        let setting = match overflow.bound {
            Bound::Bytes => "queue_bytes_max",
            Bound::Age => "queue_age_max_s",
        };
        tracing::info!(
            setting,
            dropped = overflow.dropped,
            "closing a client that reads too slowly: {setting} is reached"
        );
        let cursor = overflow.resume_after.map(|position| self.outbound.history.cursor(position).to_string());
        Close::slow_client(cursor.as_deref())
    }
}
