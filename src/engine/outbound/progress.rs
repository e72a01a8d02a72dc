//! Whether a subscription lives, and how far it has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::model::{Lsn, Position};

/// What changes while a subscription lives: whether it still does, and how far it has come.
#[derive(Debug)]
pub(crate) struct Progress {
    live: AtomicBool,
    /// The position delivered last, in two halves: both are written and read under the lock of its session's queue.
    commit_lsn: AtomicU64,
    ordinal: AtomicU32,
    /// The cursor that it resumed from, until it gets a new snapshot.
    resumed_from: Mutex<Option<Position>>,
}

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Progress {
            live: AtomicBool::new(true),
            commit_lsn: AtomicU64::new(0),
            ordinal: AtomicU32::new(0),
            resumed_from: Mutex::new(None),
        })
    }

    pub(crate) fn resume_from(&self, position: Option<Position>) {
        *self.resumed_from.lock() = position;
    }

    /// Whether it is live by a cursor from before this position.
    pub(crate) fn resumed_before(&self, position: Position) -> bool {
        self.resumed_from.lock().is_some_and(|from| from < position)
    }

    /// False from the moment that it was completed or failed.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Whether this is what ended it.
    pub(crate) fn end(&self) -> bool {
        self.live.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn told(&self, position: Position) {
        self.commit_lsn.store(position.commit_lsn.0, Ordering::Relaxed);
        self.ordinal.store(position.ordinal, Ordering::Relaxed);
    }

    /// `None` when nothing was delivered yet.
    pub(crate) fn last_told(&self) -> Option<Position> {
        let commit_lsn = Lsn(self.commit_lsn.load(Ordering::Relaxed));
        let position = Position { commit_lsn, ordinal: self.ordinal.load(Ordering::Relaxed) };
        (commit_lsn != Lsn::default()).then_some(position)
    }
}
