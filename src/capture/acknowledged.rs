//! The position that the consumer has handled, on its way to the server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::model::Lsn;

/// The acknowledged position, from the consumer to the reader without a lock. The reader sleeps on `moved` only when
/// the server has every acknowledgement, so it is woken once for many acknowledgements.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    lsn: AtomicU64,
    /// A new connection goes on here, though the server may have to keep more for the next process.
    handled: AtomicU64,
    reader_sleeps: AtomicBool,
    moved: Notify,
}

impl Acknowledged {
    /// Everything before this was handled.
    pub(super) fn handle(&self, lsn: Lsn) {
        self.handled.fetch_max(lsn.0, Ordering::SeqCst);
    }

    pub(super) fn raise(&self, lsn: Lsn) {
        let moved = self.lsn.fetch_max(lsn.0, Ordering::SeqCst) < lsn.0;
        if moved && self.reader_sleeps.swap(false, Ordering::SeqCst) {
            self.moved.notify_one();
        }
    }

    pub(super) fn get(&self) -> Lsn {
        Lsn(self.lsn.load(Ordering::SeqCst))
    }

    pub(super) fn handled(&self) -> Lsn {
        Lsn(self.handled.load(Ordering::SeqCst)).max(self.get())
    }

    /// Returns when the position is beyond `known`.
    pub(super) async fn beyond(&self, known: Lsn) {
        loop {
            self.reader_sleeps.store(true, Ordering::SeqCst);
            if self.get() > known {
                return;
            }
            self.moved.notified().await;
        }
    }
}
