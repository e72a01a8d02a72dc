//! The history that positions belong to at this moment.

use parking_lot::RwLock;

use crate::journal::{Cursor, History, Origin};
use crate::model::Position;

/// Read by everyone who writes or checks a cursor; changed only by the stream.
#[derive(Debug, Default)]
pub(crate) struct CurrentHistory(RwLock<History>);

impl CurrentHistory {
    pub(crate) fn origin(&self) -> Origin {
        self.0.read().origin
    }

    /// Whether a cursor's position means the same here.
    pub(crate) fn contains(&self, cursor: &Cursor) -> bool {
        self.0.read().contains(cursor)
    }

    /// Positions belong to this history from now on.
    pub(crate) fn follow(&self, history: History) {
        *self.0.write() = history;
    }

    /// A position as a cursor.
    pub(crate) fn cursor(&self, position: Position) -> Cursor {
        Cursor { origin: self.origin(), position }
    }
}
