//! Computes the cursor from which a whole connection can resume.
//!
//! A close reason carries this cursor only if it holds for every frame of the queue: all frames up to it were taken,
//! and none was dropped there. If operations are at different positions, the close reason has no cursor and each
//! operation resumes from its own last `next`. The queue does not see events that an operation is still replaying, that
//! await a delegated policy or that a resolver is working on, so such an operation also rules the cursor out.

use crate::model::Position;

/// The positions of the frames that were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResumePoint {
    /// Position of the last frame.
    last: Option<Position>,
    /// The last position that differs from `last`: if two operations have a frame of the same event, one may be taken
    /// and the other still queued.
    before: Option<Position>,
    /// A frame was older than the one taken before it. Never reset: the queue cannot see when the operation catches up.
    mixed: bool,
    /// Operations that began, including those that ended.
    operations: u32,
    /// One of them may deliver events older than those the others delivered.
    behind: bool,
}

impl ResumePoint {
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

    /// Excludes the frames taken so far from later cursors.
    pub(super) fn forget(&mut self) {
        (self.last, self.before) = (None, None);
    }

    /// The position that all dropped frames follow. A resuming client could miss a frame without a position (a
    /// snapshot's row, a `complete`), so such a frame yields `None`.
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
