//! The replay window: the recent events of one stream in commit order, kept for clients that resume.
//!
//! - From the ring's start to the stream's position no event is missing.
//! - The bounds in bytes and in age hold after each call.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{Event, Lsn, Position};

/// Transactions that are not kept any more, but remembered: one that others do not see yet must not be missed. Far more
/// than a server finishes in the tenth of a second that this takes.
const GONE_MAX: usize = 65_536;

/// Bounds of the replay window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Bytes of events.
    pub bytes_max: usize,
    /// The age of the oldest event.
    pub age_max: Duration,
}

/// The recent events.
#[derive(Debug)]
pub struct Ring {
    window: Window,
    kept: VecDeque<Kept>,
    bytes: usize,
    complete_from: Position,
    newest: Option<Position>,
    reached: Lsn,
    live_from: Lsn,
    /// The latest transactions of which events were dropped, in commit order.
    gone: VecDeque<u32>,
    /// How many those were since the beginning.
    gone_total: u64,
}

#[derive(Debug)]
struct Kept {
    event: Arc<Event>,
    since: Instant,
    bytes: usize,
    /// The event's, here where walking over all of them is quick.
    xid: u32,
}

/// What follows a position is not here any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired;

impl Ring {
    /// Empty: everything that commits at or after `begins_at` will come, and what is before `live_from` was known to
    /// the last process.
    pub fn new(window: Window, begins_at: Lsn, live_from: Lsn) -> Self {
        let complete_from = Position { commit_lsn: begins_at, ordinal: 0 };
        Ring {
            window,
            kept: VecDeque::new(),
            bytes: 0,
            complete_from,
            newest: None,
            reached: begins_at,
            live_from,
            gone: VecDeque::new(),
            gone_total: 0,
        }
    }

    /// Keeps the newest event.
    pub fn append(&mut self, event: &Arc<Event>, now: Instant) {
        let bytes = event.weight();
        self.bytes += bytes;
        self.kept.push_back(Kept { event: Arc::clone(event), since: now, bytes, xid: event.xid });
        self.newest = Some(event.position);
        self.reach(event.position.commit_lsn);
        self.trim(now);
    }

    /// Everything that committed before this position is here, or was.
    pub fn reach(&mut self, lsn: Lsn) {
        self.reached = self.reached.max(lsn);
    }

    /// Lets go of what is too old or too much.
    pub fn trim(&mut self, now: Instant) {
        let Window { bytes_max, age_max } = self.window;
        let mut bytes = self.bytes;
        let mut goes = |kept: &mut Kept| {
            let goes = bytes > bytes_max || now.saturating_duration_since(kept.since) > age_max;
            bytes -= if goes { kept.bytes } else { 0 };
            goes
        };
        while let Some(gone) = self.kept.pop_front_if(&mut goes) {
            self.complete_from = after(gone.event.position);
            self.remember(&gone);
        }
        self.bytes = bytes;
    }

    /// Drops all events: a client with an older cursor cannot resume.
    pub fn release(&mut self) {
        self.complete_from = self.newest.map_or(self.complete_from, after);
        for gone in std::mem::take(&mut self.kept) {
            self.remember(&gone);
        }
        self.bytes = 0;
    }

    fn remember(&mut self, gone: &Kept) {
        if self.gone.back() != Some(&gone.xid) {
            self.gone.push_back(gone.xid);
            self.gone_total += 1;
        }
        if self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
    }

    /// How many transactions were dropped. The caller passes this to [`remembers`](Self::remembers) later.
    pub fn gone(&self) -> u64 {
        self.gone_total
    }

    /// Whether the ring still lists every transaction that it dropped since the count was `since`. Then
    /// [`before_unseen`](Self::before_unseen) takes all of them into account.
    pub fn remembers(&self, since: u64) -> bool {
        self.gone_total.checked_sub(since).is_some_and(|newly| newly <= self.gone.len() as u64)
    }

    /// When to [trim](Self::trim) a ring that receives no events; late enough that many are dropped at once.
    pub fn trim_at(&self) -> Option<Instant> {
        let age_max = self.window.age_max;
        self.kept.front().and_then(|oldest| oldest.since.checked_add(age_max + age_max / 32))
    }

    /// Events that follow `position`, oldest first: at most so many and so many bytes, but one if there is any; and
    /// whether there are more.
    pub fn following(
        &self,
        position: Position,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Arc<Event>>, bool), Expired> {
        if after(position) < self.complete_from {
            return Err(Expired);
        }
        let first = self.kept.partition_point(|kept| kept.event.position <= position);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for kept in self.kept.range(first..) {
            bytes += kept.bytes;
            if events.len() == events_max || (bytes > bytes_max && !events.is_empty()) {
                return Ok((events, true));
            }
            events.push(Arc::clone(&kept.event));
        }
        Ok((events, false))
    }

    /// Whether everything is known that came before `position`, or before this process served.
    pub fn has_reached(&self, position: Position) -> bool {
        let known = self.newest.is_some_and(|newest| newest >= position) || self.reached > position.commit_lsn;
        known && self.reached >= self.live_from
    }

    /// Whether everything is here, or was, that committed before `lsn`, or before this process served.
    pub fn has_come_to(&self, lsn: Lsn) -> bool {
        self.reached >= lsn.max(self.live_from)
    }

    /// The position behind which all events are of transactions that `is_unseen` means, now and later, as far as they
    /// have come: the one before the first of them, or where the stream stands. `Expired` when one is not kept any
    /// more.
    pub fn before_unseen(&self, is_unseen: impl Fn(u32) -> bool) -> Result<Position, Expired> {
        if self.gone.iter().any(|xid| is_unseen(*xid)) {
            return Err(Expired);
        }
        let first = self.kept.iter().position(|kept| is_unseen(kept.xid));
        let before = first.map(|first| match first.checked_sub(1).and_then(|last| self.kept.get(last)) {
            Some(last) => last.event.position,
            None => before(self.complete_from),
        });
        Ok(before.or_else(|| self.position()).unwrap_or_default())
    }

    /// Where the stream stands: a subscription that starts now and later resumes from here misses nothing. `None`
    /// before anything is known.
    pub fn position(&self) -> Option<Position> {
        let before = self
            .reached
            .0
            .checked_sub(1)
            .filter(|lsn| *lsn > 0)
            .map(|lsn| Position { commit_lsn: Lsn(lsn), ordinal: u32::MAX });
        self.newest.max(before)
    }

    /// Where the oldest kept event committed: the server must be able to send it again to the next process.
    pub fn oldest(&self) -> Option<Lsn> {
        self.kept.front().map(|kept| kept.event.position.commit_lsn)
    }

    /// Bytes of the events that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The first position behind `position` that an event can have.
fn after(Position { commit_lsn, ordinal }: Position) -> Position {
    match ordinal.checked_add(1) {
        Some(ordinal) => Position { commit_lsn, ordinal },
        None => Position { commit_lsn: Lsn(commit_lsn.0.saturating_add(1)), ordinal: 0 },
    }
}

/// The last position that is not `position` or behind it.
fn before(Position { commit_lsn, ordinal }: Position) -> Position {
    match ordinal.checked_sub(1) {
        Some(ordinal) => Position { commit_lsn, ordinal },
        None => Position { commit_lsn: Lsn(commit_lsn.0.saturating_sub(1)), ordinal: u32::MAX },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Expired, GONE_MAX, Ring, Window};
    use crate::model::{Change, Event, Lsn, Message, Position, Timestamp};

    fn at(commit_lsn: u64, ordinal: u32) -> Position {
        Position { commit_lsn: Lsn(commit_lsn), ordinal }
    }

    fn event(position: Position, bytes: usize) -> Arc<Event> {
        let message = Message { topic: "t".into(), tenant: None, payload: vec![b'1'; bytes].into() };
        Arc::new(Event { position, committed_at: Timestamp(0), xid: 1, change: Change::Message(message) })
    }

    fn ring(bytes_max: usize) -> (Ring, Instant) {
        let window = Window { bytes_max, age_max: Duration::from_secs(10) };
        (Ring::new(window, Lsn(10), Lsn(15)), Instant::now())
    }

    fn positions(ring: &Ring, after: Position) -> Result<Vec<Position>, Expired> {
        Ok(ring.following(after, 100, usize::MAX)?.0.iter().map(|event| event.position).collect())
    }

    #[test]
    fn what_follows_a_position_is_given_in_order_also_from_the_middle_of_a_transaction() {
        let (mut ring, now) = ring(1 << 20);
        for position in [at(20, 0), at(20, 1), at(30, 0)] {
            ring.append(&event(position, 1), now);
        }
        assert_eq!(positions(&ring, at(10, 0)), Ok(vec![at(20, 0), at(20, 1), at(30, 0)]));
        assert_eq!(positions(&ring, at(20, 0)), Ok(vec![at(20, 1), at(30, 0)]));
        assert_eq!(positions(&ring, at(30, 0)), Ok(vec![]));
        let page = |events_max, bytes_max| {
            let (events, more) = ring.following(at(10, 0), events_max, bytes_max).unwrap();
            (events.len(), more)
        };
        assert_eq!([page(1, usize::MAX), page(3, usize::MAX), page(9, 0)], [(1, true), (3, false), (1, true)]);
    }

    #[test]
    fn a_position_from_before_the_stream_has_expired() {
        let (ring, _) = ring(1 << 20);
        assert_eq!(positions(&ring, at(9, 7)), Err(Expired));
        assert_eq!(positions(&ring, at(10, 0)), Ok(vec![]));
    }

    #[test]
    fn what_is_still_on_its_way_is_waited_for() {
        let (mut ring, now) = ring(1 << 20);
        ring.append(&event(at(12, 0), 1), now);
        assert!(!ring.has_reached(at(11, 0)), "the last process may have delivered more");
        ring.reach(Lsn(15));
        assert!(ring.has_reached(at(11, 0)) && ring.has_reached(at(12, 0)) && !ring.has_reached(at(15, 0)));
        ring.append(&event(at(20, 3), 1), now);
        assert!(ring.has_reached(at(20, 3)) && !ring.has_reached(at(20, 4)));
    }

    #[test]
    fn events_go_when_they_are_too_old_and_whoever_saw_the_last_of_them_misses_nothing() {
        let (mut ring, now) = ring(1 << 20);
        ring.append(&event(at(20, 0), 1), now);
        ring.append(&event(at(20, 1), 1), now + Duration::from_secs(5));
        ring.trim(now + Duration::from_secs(11));
        assert_eq!(positions(&ring, at(15, 0)), Err(Expired));
        assert_eq!(positions(&ring, at(20, 0)), Ok(vec![at(20, 1)]));
        assert_eq!(ring.oldest(), Some(Lsn(20)));
        ring.trim(now + Duration::from_mins(1));
        assert_eq!((ring.oldest(), ring.bytes()), (None, 0));
        assert_eq!(positions(&ring, at(20, 1)), Ok(vec![]), "an idle database expires nobody");
    }

    #[test]
    fn what_a_snapshot_does_not_see_is_found_or_known_to_be_gone() {
        let (mut ring, now) = ring(1 << 20);
        let of = |xid, position| Arc::new(Event { xid, ..(*event(position, 1)).clone() });
        assert_eq!(ring.before_unseen(|_| true), Ok(at(9, u32::MAX)));
        for (xid, position) in [(7, at(20, 0)), (6, at(30, 0)), (8, at(40, 0))] {
            ring.append(&of(xid, position), now);
        }
        assert_eq!(ring.before_unseen(|xid| xid == 6), Ok(at(20, 0)));
        assert_eq!(ring.before_unseen(|xid| xid == 7), Ok(at(9, u32::MAX)));
        assert_eq!(ring.before_unseen(|xid| xid == 9), Ok(at(40, 0)));
        assert_eq!(positions(&ring, at(9, u32::MAX)).unwrap().len(), 3, "nothing before it is needed");
        ring.trim(now + Duration::from_mins(1));
        assert_eq!(ring.before_unseen(|xid| xid == 6), Err(Expired));
        assert_eq!(ring.before_unseen(|xid| xid == 9), Ok(at(40, 0)));
        assert!(ring.has_come_to(Lsn(40)) && !ring.has_come_to(Lsn(41)));
    }

    #[test]
    fn events_go_when_they_are_too_many_bytes() {
        let (mut ring, now) = ring(10_000);
        (0..100).for_each(|n| ring.append(&event(at(20 + n, 0), 1_000), now));
        assert!(ring.bytes() <= 10_000);
        assert_eq!(positions(&ring, at(20, 0)), Err(Expired));
        assert_eq!(positions(&ring, at(119, 0)), Ok(vec![]));
    }

    #[test]
    fn what_was_let_go_long_ago_is_not_asked_for_and_what_went_since_is() {
        let window = Window { bytes_max: 0, age_max: Duration::MAX };
        let mut ring = Ring::new(window, Lsn(0), Lsn(0));
        let (mut xid, now) = (0, Instant::now());
        let mut go = |ring: &mut Ring, transactions: usize| {
            for _ in 0..transactions {
                xid += 1;
                let event = event(at(u64::from(xid), 0), 1);
                ring.append(&Arc::new(Event { xid, ..(*event).clone() }), now);
            }
        };
        go(&mut ring, GONE_MAX + 10);
        let since = ring.gone();
        assert!(ring.remembers(since));
        go(&mut ring, GONE_MAX);
        assert!(ring.remembers(since), "all of them, and no other");
        go(&mut ring, 1);
        assert!(!ring.remembers(since), "one is not known any more");
        assert!(!Ring::new(window, Lsn(0), Lsn(0)).remembers(since), "another stream");
    }

    #[test]
    fn the_position_is_behind_everything_that_is_known_and_before_all_that_comes() {
        let window = Window { bytes_max: usize::MAX, age_max: Duration::MAX };
        let mut ring = Ring::new(window, Lsn(0), Lsn(0));
        assert_eq!(ring.position(), None, "nothing is known");
        ring.append(&event(at(5, 1), 1), Instant::now());
        assert_eq!(ring.position(), Some(at(5, 1)));
        ring.reach(Lsn(9));
        let position = ring.position().unwrap();
        assert!(position > at(5, 1) && position < at(9, 0));
        assert!(ring.has_reached(position));
        assert_eq!(ring.following(position, 9, 99), Ok((Vec::new(), false)));
    }
}
