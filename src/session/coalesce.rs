//! Shortens a full queue: the latest event of each row stays, at its own position.
//!
//! An operation's queue is in stream order and stays so when frames are removed from the middle. Cursors therefore keep
//! rising, and a client that resumes from any of them misses no row's latest event: it was delivered, or it follows
//! the cursor.
//!
//! The event of a row that leaves the view always stays, because a client that missed it would keep the row. Earlier
//! events of the row are folded into it, later ones stay beside it: at most two frames a row. A frame that does not
//! concern a single row (a TRUNCATE, a message, an error) is never folded, and no event is folded across it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::model::{OperationId, Position, RowKey};
use crate::payload::Frame;

/// A frame that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) frame: Frame,
    pub(super) since: Instant,
    pub(super) operation: Option<OperationId>,
    pub(super) position: Option<Position>,
    pub(super) row: Option<RowNews>,
}

/// What a frame says of one row, by which a later frame of the same operation may stand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowNews {
    /// Which row.
    pub key: RowKey,
    /// It is in the view no longer.
    pub leaves: bool,
}

impl Queued {
    /// What it counts against the bound.
    pub(super) fn cost(&self) -> usize {
        size_of::<Queued>() + self.frame.len() + self.row.as_ref().map_or(0, |row| row.key.len())
    }
}

/// Leaves of each row the latest word, which says for how many events it stands. How many frames went.
pub(super) fn fold(data: &mut VecDeque<Queued>) -> u64 {
    let heirs = heirs(data);
    let mut folded = 0;
    for (at, heir) in heirs.iter().enumerate() {
        let Some(heir) = *heir else { continue };
        let earlier = data[at].frame.clone();
        data[heir].frame.stand_for(&earlier);
        folded += 1;
    }
    let mut heirs = heirs.into_iter();
    data.retain(|_| heirs.next().flatten().is_none());
    folded
}

/// For each frame the later one that stands for it.
fn heirs(data: &VecDeque<Queued>) -> Vec<Option<usize>> {
    let mut heirs = vec![None; data.len()];
    // The map's own hash: the keys are the users' rows, and may have been chosen to collide in a simpler one.
    let mut latest: HashMap<&str, HashMap<&RowKey, Latest>> = HashMap::new();
    for (at, queued) in data.iter().enumerate().rev() {
        let Some(operation) = queued.operation.as_deref() else { continue };
        let Some(RowNews { key, leaves }) = &queued.row else {
            latest.remove(operation);
            continue;
        };
        match latest.entry(operation).or_default().entry(key) {
            Entry::Vacant(entry) => _ = entry.insert(Latest { at, leaves: *leaves }),
            Entry::Occupied(mut entry) if *leaves && !entry.get().leaves => {
                entry.insert(Latest { at, leaves: true });
            }
            Entry::Occupied(entry) => heirs[at] = Some(entry.get().at),
        }
    }
    heirs
}

/// The frame that stands for what comes before it.
struct Latest {
    at: usize,
    leaves: bool,
}
