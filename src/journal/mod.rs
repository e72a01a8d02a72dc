//! Tracks which events were handled, and so which are repeats and which LSN may be confirmed to the server.
//!
//! - An event that the server repeats after a reconnect is recognised by its position.
//! - A capture may acknowledge only a [`Durable`], which only this module can make.
//! - The confirmed LSN trails the handled events by the [`Ring`] of recent events: the WAL is the durable journal, and
//!   the server sends the ring's content again to the next process.
//! - No LSN inside an unfinished transaction is confirmed.
//!
//! ```text
//!             begin                     commit(end)
//!   Idle ───────────────▶ InTransaction ───────────▶ Idle, durable = end
//!    │ keepalive(end): durable = end     │ keepalive: nothing
//!    ▲                                   │ interrupted: the transaction will be sent again as a whole
//!    └───────────────────────────────────┘
//! ```

mod cursor;
mod ring;

pub use cursor::{Cursor, CursorError, History, Origin};
pub use ring::{Expired, Ring, Window};

use crate::model::{Lsn, Position};

/// How far the stream has been handled. Made by the journal alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    confirmed: Lsn,
    handled: Lsn,
}

impl Durable {
    /// The LSN to confirm: nothing before it will be needed again.
    pub fn lsn(self) -> Lsn {
        self.confirmed
    }

    /// Before this one nothing is wanted by this process.
    pub fn handled(self) -> Lsn {
        self.handled
    }
}

/// Whether an event is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It was not delivered yet.
    New,
    /// It was delivered before the connection was lost.
    Repeat,
    /// Committed before this process started to serve, so no subscription could match it.
    Backlog,
}

/// The record of one stream. Survives reconnects; a new process begins a new one.
#[derive(Debug, Default)]
pub struct Journal {
    live_from: Lsn,
    last: Option<Position>,
    in_transaction: bool,
    confirmed: Lsn,
    handled: Lsn,
}

impl Journal {
    /// `live_from` is the server's WAL position when this process began to serve.
    pub fn new(live_from: Lsn) -> Self {
        Journal { live_from, ..Journal::default() }
    }

    /// A transaction opens: nothing is confirmed until it ends.
    pub fn begin(&mut self) {
        self.in_transaction = true;
    }

    /// Classifies an event and remembers it.
    pub fn observe(&mut self, position: Position) -> Novelty {
        if self.last.is_some_and(|last| position <= last) {
            return Novelty::Repeat;
        }
        self.last = Some(position);
        if position.commit_lsn < self.live_from { Novelty::Backlog } else { Novelty::New }
    }

    /// The transaction that ends at `end` is handled; `oldest` is where the oldest event committed that is kept.
    pub fn commit(&mut self, end: Lsn, oldest: Option<Lsn>) -> Durable {
        self.in_transaction = false;
        self.advance(end, oldest)
    }

    /// The server has nothing for us before `wal_end`; confirming it lets an idle server recycle WAL and shut down.
    pub fn keepalive(&mut self, wal_end: Lsn, oldest: Option<Lsn>) -> Option<Durable> {
        (!self.in_transaction).then(|| self.advance(wal_end, oldest))
    }

    /// Events were dropped while no event arrived.
    pub fn released(&mut self, oldest: Option<Lsn>) -> Option<Durable> {
        self.keepalive(Lsn::default(), oldest)
    }

    /// The connection broke: an open transaction will come again as a whole.
    pub fn interrupted(&mut self) {
        self.in_transaction = false;
    }

    /// A transaction is sent again if its commit record is at or behind the confirmed LSN (measured on 15 and 18).
    fn advance(&mut self, lsn: Lsn, oldest: Option<Lsn>) -> Durable {
        self.handled = self.handled.max(lsn);
        let confirmed = oldest.map_or(self.handled, |oldest| oldest.min(self.handled));
        self.confirmed = self.confirmed.max(confirmed);
        Durable { confirmed: self.confirmed, handled: self.handled }
    }
}

#[cfg(test)]
mod tests {
    use super::{Durable, Journal, Novelty};
    use crate::model::{Lsn, Position};

    fn at(commit_lsn: u64, ordinal: u32) -> Position {
        Position { commit_lsn: Lsn(commit_lsn), ordinal }
    }

    #[test]
    fn a_transaction_sent_again_after_an_interruption_is_told_once() {
        let mut journal = Journal::new(Lsn(10));
        journal.begin();
        assert_eq!(journal.observe(at(20, 0)), Novelty::New);
        assert_eq!(journal.observe(at(20, 1)), Novelty::New);
        journal.interrupted();
        journal.begin();
        assert_eq!(journal.observe(at(20, 0)), Novelty::Repeat);
        assert_eq!(journal.observe(at(20, 1)), Novelty::Repeat);
        assert_eq!(journal.observe(at(20, 2)), Novelty::New);
    }

    #[test]
    fn what_was_committed_before_this_process_served_is_backlog() {
        let mut journal = Journal::new(Lsn(100));
        assert_eq!(journal.observe(at(99, 7)), Novelty::Backlog);
        assert_eq!(journal.observe(at(100, 0)), Novelty::New);
    }

    #[test]
    fn a_keepalive_inside_a_transaction_confirms_nothing() {
        let mut journal = Journal::new(Lsn(0));
        journal.begin();
        assert_eq!(journal.keepalive(Lsn(50), None), None);
        assert_eq!(journal.commit(Lsn(60), None), durable(60, 60));
        assert_eq!(journal.keepalive(Lsn(70), None), Some(durable(70, 70)));
    }

    #[test]
    fn the_confirmed_lsn_never_goes_back() {
        let mut journal = Journal::new(Lsn(0));
        journal.commit(Lsn(60), None);
        assert_eq!(journal.keepalive(Lsn(50), Some(Lsn(40))), Some(durable(60, 60)));
    }

    #[test]
    fn what_is_confirmed_trails_what_was_handled_by_the_recent_events() {
        let mut journal = Journal::new(Lsn(0));
        assert_eq!(journal.commit(Lsn(60), Some(Lsn(55))), durable(55, 60));
        assert_eq!(journal.keepalive(Lsn(90), Some(Lsn(55))), Some(durable(55, 90)));
        assert_eq!(journal.keepalive(Lsn(95), None), Some(durable(95, 95)));
    }

    fn durable(confirmed: u64, handled: u64) -> Durable {
        Durable { confirmed: Lsn(confirmed), handled: Lsn(handled) }
    }
}
