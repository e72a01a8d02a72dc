//! Where the stream announces that changes of a table were not captured whole, and which subscriptions that ends.
//!
//! The engine that notes a loss cannot know where its own transaction commits, so the position in `rowcast.watched` is too
//! early: other workers deliver rows between it and the commit. The announcement is in the stream at the commit itself.
//!
//! * A cursor can be honoured only while everything behind it is kept, so every announcement behind it is read again by each
//!   new process before its subscription is live, or after: nothing has to be stored.
//! * Subscriptions that began with what was new, or with a snapshot, are not ended here: they may have begun after the catalog
//!   has shown this engine the loss. Those that are older end when the catalog is read.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::model::Position;

/// The last announcement of each table.
#[derive(Debug, Default)]
pub(crate) struct Losses(Mutex<HashMap<u32, Position>>);

impl Losses {
    pub(crate) fn announce(&self, table: u32, at: Position) {
        let mut announced = self.0.lock();
        let last = announced.entry(table).or_insert(at);
        *last = at.max(*last);
    }

    /// Whether changes that followed a position were lost.
    pub(crate) fn follow(&self, table: u32, position: Position) -> bool {
        self.0.lock().get(&table).is_some_and(|at| position < *at)
    }
}
