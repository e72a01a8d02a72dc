//! How far a session has come, as far as one position can say it of several operations.
//!
//! The cursor in a close reason speaks for the whole connection, so it is told only if it is true of every frame that
//! the queue has seen: all that was queued at or before it has been taken, nothing that was dropped lies there. Where
//! operations stand at different positions there is no such cursor, and each operation resumes from the cursor of its
//! own last `next`. Whether they do is not always seen here: what an operation replays, what its policy is asked about
//! and what its resolver is still making has not been queued yet. So beside such an operation there is no cursor.

use crate::model::Position;

/// The positions of the frames that were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Of the last one.
    last: Option<Position>,
    /// Of the last one before that was at another position: two operations may have been sent the same event, of
    /// which one frame is gone and the other is still here.
    before: Option<Position>,
    /// A frame was older than the one taken before it. Stays: when the laggard has caught up is not known here.
    mixed: bool,
    /// Operations that were begun; those that ended count as well.
    operations: u32,
    /// One of them may be behind what the others were told.
    behind: bool,
}

impl Progress {
    /// An operation begins; its results may be queued `behind` later ones of others.
    pub(super) fn begins(&mut self, behind: bool) {
        self.operations = self.operations.saturating_add(1);
        self.behind |= behind;
    }

    pub(super) fn taken(&mut self, position: Option<Position>) {
        let Some(position) = position else { return };
        self.mixed |= self.last > Some(position);
        if self.last != Some(position) {
            self.before = self.last.replace(position);
        }
    }

    /// Positions of what was taken until now are not told any more.
    pub(super) fn forget(&mut self) {
        (self.last, self.before) = (None, None);
    }

    /// The position behind which everything lies that is being dropped. A frame without a position (a snapshot's row,
    /// a `complete`) might be missed by whoever resumes, so it forbids the answer.
    pub(super) fn resume_after(&self, dropped: impl Iterator<Item = Option<Position>>) -> Option<Position> {
        let mut all_known = true;
        let first = dropped.inspect(|position| all_known &= position.is_some()).flatten().min();
        if self.mixed || !all_known || (self.behind && self.operations > 1) {
            return None;
        }
        let is_safe = |position: &Position| first.is_none_or(|first| *position < first);
        self.last.filter(is_safe).or_else(|| self.before.filter(is_safe))
    }
}
