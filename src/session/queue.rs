//! Frames that wait for one session's sender, bounded in bytes and in age.
//!
//! ```text
//!   control   ack · pong · ping ─────────┐
//!                                        ├─▶ take ─▶ the socket
//!   data      next · next · error · … ───┘
//! ```
//!
//! Control frames overtake data, so that a pong is prompt behind 10,000 events; within a lane the order is that of
//! arrival. The ack is a control frame that is queued before the session starts its first operation, so no data ever
//! precedes it. A frame that was taken counts as delivered: what the socket does with it is not seen here.
//!
//! At a bound, frames that name their row are [folded](super::coalesce): a later one replaces the earlier ones. Folding
//! must free a quarter of the bound, or the next frame would trigger it again. If it does not, the queue frees all its
//! frames, so that a slow client costs no memory while its socket closes, returns the cursor from which the client can
//! resume, and accepts nothing more. The queue lives behind a mutex that event threads and the sender share: no method
//! but `purge` and what is done at a bound does work in proportion to what is queued.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::close::Close;
use super::coalesce::{Queued, RowNews, fold};
use super::limits::Limits;
use super::progress::ResumePoint;
use super::state::Route;
use crate::model::{OperationId, Position};
use crate::payload::Frame;

/// A few large frames may exceed the bound in bytes, up to [`LEEWAY`] times, while the sender comes for them: as long
/// as it came within a [`DRAINING_PART`] of the bound in age.
const FEW: usize = 16;
const LEEWAY: usize = 16;
const DRAINING_PART: u32 = 4;

/// A burst may leave this much room behind (about 9 KiB); more is given back when the queue runs empty.
const IDLE_CAPACITY_MAX: usize = 64;

/// The outbound queue of one session.
#[derive(Debug)]
pub struct Queue {
    bytes_max: usize,
    age_max: Duration,
    control: VecDeque<Queued>,
    data: VecDeque<Queued>,
    bytes: usize,
    progress: ResumePoint,
    /// When something was queued first after the sender came.
    stirred: Option<Instant>,
    door: Door,
    /// A frame that may be folded came in since the last time.
    foldable: bool,
    folded: u64,
}

/// Whether frames still come in.
#[derive(Debug)]
enum Door {
    /// They do.
    Open,
    /// A bound was reached; the session is about to say how it closes.
    Overflowed,
    /// They do not; the sender closes the socket, at once or behind the last frame.
    Finished(Close),
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It is queued and the first there: wake the sender.
    First,
    /// It is queued behind others: the sender is awake.
    More,
    /// It was one too many, and could not be made to fit: everything is gone, and the session is to be closed with
    /// [`Close::slow_client`]. Told once.
    Overflow(Overflow),
    /// It was dropped, since the session is ending.
    Shut,
}

/// A queue that reached its bound and was freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Which bound.
    pub bound: Bound,
    /// How many frames were dropped with it.
    pub dropped: usize,
    /// From where every operation of the session may resume without missing what was dropped. `None` when nothing was
    /// delivered yet, or when no single position holds for all of them; the cursors in their own last `next` do.
    pub resume_after: Option<Position>,
}

/// Which bound a queue reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// [`Limits::queue_bytes_max`]
    Bytes,
    /// [`Limits::queue_age_max`]
    Age,
}

impl Queue {
    /// An empty queue, which holds no memory of its own.
    pub fn new(limits: &Limits) -> Self {
        Queue {
            bytes_max: limits.queue_bytes_max,
            age_max: limits.queue_age_max,
            control: VecDeque::new(),
            data: VecDeque::new(),
            bytes: 0,
            progress: ResumePoint::default(),
            stirred: None,
            door: Door::Open,
            foldable: false,
            folded: 0,
        }
    }

    /// An operation begins. `behind`: its events may follow other operations' events that committed later, because it
    /// replays or because each result waits for a delegated policy or a resolver.
    pub fn begins(&mut self, behind: bool) {
        self.progress.begins(behind);
    }

    /// Frames queued so far are still delivered, but no close reason uses their positions as a cursor.
    pub fn forget_positions(&mut self) {
        self.data.iter_mut().for_each(|queued| queued.position = None);
        self.progress.forget();
    }

    /// Queues a frame of an operation. `position` is where the client may resume once it has it; a frame that is no
    /// resting point (a snapshot's row, a `complete`) has none.
    pub fn push(&mut self, id: &OperationId, frame: Frame, position: Option<Position>, now: Instant) -> Pushed {
        self.admit(Queued { frame, since: now, operation: Some(OperationId::clone(id)), position, row: None })
    }

    /// The same for a frame that a later one about the same row may stand for, should a bound be reached.
    pub fn push_row(
        &mut self,
        id: &OperationId,
        frame: Frame,
        position: Option<Position>,
        row: RowNews,
        now: Instant,
    ) -> Pushed {
        self.foldable = true;
        self.admit(Queued { frame, since: now, operation: Some(OperationId::clone(id)), position, row: Some(row) })
    }

    /// Carries out [`Action::Transmit`](super::Action::Transmit).
    pub fn transmit(&mut self, lane: Route, frame: Frame, now: Instant) -> Pushed {
        let operation = match lane {
            Route::Control => None,
            Route::Operation(id) => Some(id),
        };
        self.admit(Queued { frame, since: now, operation, position: None, row: None })
    }

    /// Moves frames into `out`, control first: at most `frames_max` of them, and no more once they have reached
    /// `bytes_max` on the wire. Small batches keep what is undelivered in here, where it is seen.
    pub fn take(&mut self, frames_max: usize, bytes_max: usize, out: &mut Vec<Frame>) {
        self.take_each(frames_max, bytes_max, |frame, _| out.push(frame));
    }

    /// The same, with the position at which each may be resumed.
    pub fn take_each(&mut self, frames_max: usize, bytes_max: usize, mut each: impl FnMut(Frame, Option<Position>)) {
        let mut bytes = 0;
        self.stirred = None;
        for _ in 0..frames_max {
            if bytes >= bytes_max {
                break;
            }
            let Some(next) = self.pop() else { break };
            bytes += next.frame.len();
            each(next.frame, next.position);
        }
        if self.is_empty() {
            self.give_back();
        }
    }

    /// Drops what is queued under this id, since its client does not want it any more. How many frames that were.
    pub fn purge(&mut self, id: &str) -> usize {
        let before = self.data.len();
        self.data.retain(|queued| queued.operation.as_deref() != Some(id));
        self.count();
        before - self.data.len()
    }

    /// Carries out [`Action::Close`](super::Action::Close): nothing comes in any more, and what is queued goes out
    /// first or not at all. The first close stays. Wake the sender.
    pub fn finish(&mut self, close: Close) {
        if matches!(self.door, Door::Finished(_)) {
            return;
        }
        if !close.flush() {
            self.free();
        }
        self.door = Door::Finished(close);
    }

    /// How the sender must close the socket, once the session has closed: when the queue [is empty](Self::is_empty), or
    /// immediately if the close does not [flush](Close::flush), which also holds when a flush took too long.
    pub fn closing(&self) -> Option<&Close> {
        match &self.door {
            Door::Finished(close) => Some(close),
            Door::Open | Door::Overflowed => None,
        }
    }

    /// Housekeeping: frees the queue if its oldest frame has waited too long and none of the later ones stands for it.
    /// A client that stopped reading when nothing more happens is found here alone. Wake the sender on `Some`.
    pub fn overdue(&mut self, now: Instant) -> Option<Overflow> {
        if self.is_overdue(now) || self.is_too_large(now) {
            self.fold();
        }
        if self.is_overdue(now) {
            return Some(self.overflow(Bound::Age));
        }
        self.is_too_large(now).then(|| self.overflow(Bound::Bytes))
    }

    /// How many frames a later one stands for, since this was asked last.
    pub fn take_folded(&mut self) -> u64 {
        std::mem::take(&mut self.folded)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.control.len() + self.data.len()
    }

    /// What they count against [`Limits::queue_bytes_max`]: their own bytes and the queue's for keeping them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the oldest has waited.
    pub fn oldest_age(&self, now: Instant) -> Option<Duration> {
        let oldest = [self.control.front(), self.data.front()].into_iter().flatten().map(|queued| queued.since).min();
        oldest.map(|since| now.saturating_duration_since(since))
    }

    fn admit(&mut self, queued: Queued) -> Pushed {
        if !matches!(self.door, Door::Open) {
            return Pushed::Shut;
        }
        let (pushed, since) = (if self.is_empty() { Pushed::First } else { Pushed::More }, queued.since);
        let is_overdue = !self.foldable && self.is_overdue(since);
        self.stirred.get_or_insert(since);
        self.bytes += queued.cost();
        let lane = if queued.operation.is_some() { &mut self.data } else { &mut self.control };
        lane.push_back(queued);
        match self.bound_reached(since, is_overdue) {
            None => pushed,
            Some(Bound::Bytes) if self.fold_well() => pushed,
            Some(bound) => Pushed::Overflow(self.overflow(bound)),
        }
    }

    /// What may still be folded is left to housekeeping: a push does not fold each time that a frame grows too old.
    fn bound_reached(&self, now: Instant, is_overdue: bool) -> Option<Bound> {
        if self.is_too_large(now) {
            return Some(Bound::Bytes);
        }
        is_overdue.then_some(Bound::Age)
    }

    /// An empty queue takes any frame: one that is larger than the bound would otherwise close the session again after
    /// each resume. A client that reads them promptly gets several of these, which one row of some megabytes is.
    fn is_too_large(&self, now: Instant) -> bool {
        let is_few = self.len() <= FEW && self.bytes <= self.bytes_max.saturating_mul(LEEWAY);
        self.bytes > self.bytes_max && self.len() > 1 && !(is_few && self.is_draining(now))
    }

    fn is_draining(&self, now: Instant) -> bool {
        self.stirred.is_none_or(|since| now.saturating_duration_since(since) <= self.age_max / DRAINING_PART)
    }

    /// Whether folding makes room for more than the next frame.
    fn fold_well(&mut self) -> bool {
        self.fold();
        self.bytes <= self.bytes_max / 4 * 3 || self.len() == 1
    }

    fn fold(&mut self) {
        if std::mem::take(&mut self.foldable) {
            self.folded += fold(&mut self.data);
            self.count();
        }
    }

    fn count(&mut self) {
        self.bytes = self.control.iter().chain(&self.data).map(Queued::cost).sum();
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.oldest_age(now).is_some_and(|age| age > self.age_max)
    }

    fn overflow(&mut self, bound: Bound) -> Overflow {
        let dropped = self.len();
        let resume_after = self.progress.resume_after(self.data.iter().map(|queued| queued.position));
        self.free();
        self.door = match std::mem::replace(&mut self.door, Door::Overflowed) {
            Door::Open | Door::Overflowed => Door::Overflowed,
            Door::Finished(close) => Door::Finished(close.at_once()),
        };
        Overflow { bound, dropped, resume_after }
    }

    fn pop(&mut self) -> Option<Queued> {
        let next = self.control.pop_front().or_else(|| self.data.pop_front())?;
        self.bytes -= next.cost();
        self.progress.taken(next.position);
        Some(next)
    }

    fn free(&mut self) {
        self.control = VecDeque::new();
        self.data = VecDeque::new();
        self.bytes = 0;
    }

    /// How many frames fit without asking for more memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.control.capacity().max(self.data.capacity())
    }

    fn give_back(&mut self) {
        for lane in [&mut self.control, &mut self.data] {
            if lane.capacity() > IDLE_CAPACITY_MAX {
                *lane = VecDeque::new();
            }
        }
    }
}
