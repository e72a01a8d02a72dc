//! The opaque text by which a client names a position: where it stands, and in which history.
//!
//! ```text
//! base64url of 28 bytes:  system identifier u64 │ database u32 │ timeline u32 │ commit LSN u64 │ ordinal u32   (big endian)
//! ```
//! Big endian keeps the bytes of one history in commit order. Two databases, also those of one cluster, and two
//! timelines after a failover have different origins, so a cursor of one is never taken for a position in the other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{Lsn, Position};

/// The history that positions belong to (`IDENTIFY_SYSTEM`, manual section 54.4 "Streaming Replication Protocol").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `systemid`; 0 for an in-memory bus.
    pub system_id: u64,
    /// The OID of the database in the cluster; 0 for an in-memory bus.
    pub database: u32,
    /// `timeline`.
    pub timeline: u32,
}

/// A history and those that it went on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The history that new positions belong to.
    pub origin: Origin,
    /// Timelines that it comes from, and where each was left.
    pub left: Arc<[(u32, Lsn)]>,
}

impl History {
    /// Whether what the cursor's client has seen is a part of this history.
    pub fn contains(&self, cursor: &Cursor) -> bool {
        let Cursor { origin, position } = cursor;
        let left = |&(timeline, at): &(u32, Lsn)| timeline == origin.timeline && position.commit_lsn < at;
        (origin.system_id, origin.database) == (self.origin.system_id, self.origin.database)
            && (origin.timeline == self.origin.timeline || self.left.iter().any(left))
    }
}

/// A position in a named history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The history.
    pub origin: Origin,
    /// The event that was delivered last.
    pub position: Position,
}

/// The text is not a cursor of this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor: pass on, unchanged, what extensions.rowcast.cursor of an earlier result said")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.origin.system_id.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.origin.database.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.origin.timeline.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.position.commit_lsn.0.to_be_bytes());
        bytes[24..].copy_from_slice(&self.position.ordinal.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let bytes: [u8; 28] = bytes.try_into().map_err(|_| CursorError)?;
        let mut fields = Fields(&bytes);
        let origin = Origin { system_id: fields.u64(), database: fields.u32(), timeline: fields.u32() };
        let position = Position { commit_lsn: Lsn(fields.u64()), ordinal: fields.u32() };
        Ok(Cursor { origin, position })
    }
}

/// Whole numbers, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> u32 {
        let (number, rest) = self.0.split_first_chunk().unwrap_or((&[0; 4], &[]));
        self.0 = rest;
        u32::from_be_bytes(*number)
    }

    fn u64(&mut self) -> u64 {
        u64::from(self.u32()) << 32 | u64::from(self.u32())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, History, Origin};
    use crate::model::{Lsn, Position};

    #[test]
    fn a_cursor_survives_the_journey_to_the_client_and_back() {
        let origin = Origin { system_id: 7_412_345_678_901_234_567, database: 16_384, timeline: 3 };
        let cursor = Cursor { origin, position: Position { commit_lsn: Lsn(0x16_B374_D848), ordinal: 41 } };
        let text = cursor.to_string();
        assert_eq!(text.len(), 38, "{text}");
        assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn a_cursor_from_before_a_failover_is_good_as_far_as_the_standby_had_come() {
        let history = History {
            origin: Origin { system_id: 7, database: 5, timeline: 3 },
            left: [(1, Lsn(100)), (2, Lsn(200))].into(),
        };
        let cursor = |system_id, timeline, lsn| Cursor {
            origin: Origin { system_id, database: 5, timeline },
            position: Position { commit_lsn: Lsn(lsn), ordinal: 0 },
        };
        assert!(history.contains(&cursor(7, 3, 900)) && history.contains(&cursor(7, 1, 99)));
        assert!(!history.contains(&cursor(7, 1, 100)), "committed where nobody followed");
        assert!(!history.contains(&cursor(7, 4, 1)) && !history.contains(&cursor(8, 3, 1)));
        let other = Origin { database: 6, ..history.origin };
        assert!(!history.contains(&Cursor { origin: other, ..cursor(7, 3, 900) }), "another database of the cluster");
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for text in ["", "AAAA", "not a cursor", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "ä"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
