//! What has been handled, and so what is new, what is a repeat, and which LSN may be confirmed to the server.
//!
//! What comes in: positions of events, ends of transactions and keepalives, in stream order. What is promised: an event
//! that a reconnected stream sends again is recognised, and only this module can make a [`Durable`], the one thing that
//! a capture may acknowledge. What is never done: nothing is confirmed from inside an unfinished transaction.
//!
//! ```text
//!             begin                     commit(end)
//!   Idle ───────────────▶ InTransaction ───────────▶ Idle, durable = end
//!    │ keepalive(end): durable = end     │ keepalive: nothing
//!    ▲                                   │ interrupted: the transaction will be sent again as a whole
//!    └───────────────────────────────────┘
//! ```

mod cursor;

pub use cursor::{Cursor, CursorError, Origin};

use crate::model::{Lsn, Position};

/// An LSN before which nothing is unhandled. Made by the journal alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Durable(Lsn);

impl Durable {
    /// The LSN to confirm.
    pub fn lsn(self) -> Lsn {
        self.0
    }
}

/// Whether an event is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// Nobody has been told yet.
    New,
    /// Told before the connection was lost.
    Repeat,
    /// Committed before this process started to serve: nobody could have subscribed to it.
    Backlog,
}

/// The record of one stream. Survives reconnects; a new process begins a new one.
#[derive(Debug, Default)]
pub struct Journal {
    live_from: Lsn,
    last: Option<Position>,
    in_transaction: bool,
    durable: Lsn,
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

    /// The transaction that ends at `end` is handled.
    pub fn commit(&mut self, end: Lsn) -> Durable {
        self.in_transaction = false;
        self.advance(end)
    }

    /// The server has nothing for us before `wal_end`; confirming it lets an idle server recycle WAL and shut down.
    pub fn keepalive(&mut self, wal_end: Lsn) -> Option<Durable> {
        (!self.in_transaction).then(|| self.advance(wal_end))
    }

    /// The connection broke: an open transaction will come again as a whole.
    pub fn interrupted(&mut self) {
        self.in_transaction = false;
    }

    fn advance(&mut self, lsn: Lsn) -> Durable {
        self.durable = self.durable.max(lsn);
        Durable(self.durable)
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
        assert_eq!(journal.keepalive(Lsn(50)), None);
        assert_eq!(journal.commit(Lsn(60)), Durable(Lsn(60)));
        assert_eq!(journal.keepalive(Lsn(70)), Some(Durable(Lsn(70))));
    }

    #[test]
    fn the_confirmed_lsn_never_goes_back() {
        let mut journal = Journal::new(Lsn(0));
        journal.commit(Lsn(60));
        assert_eq!(journal.keepalive(Lsn(50)), Some(Durable(Lsn(60))));
    }
}
