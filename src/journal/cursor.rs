//! The opaque text by which a client names a position: where it stands, and in which history.
//!
//! ```text
//! base64url of 24 bytes:  system identifier u64 │ timeline u32 │ commit LSN u64 │ ordinal u32      (big endian)
//! ```
//! Big endian keeps the bytes of one history in commit order. Two databases, or two timelines after a failover, have
//! different origins, so a cursor of one is never mistaken for a position in the other.

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
        origin.system_id == self.origin.system_id
            && (origin.timeline == self.origin.timeline || self.left.iter().any(left))
    }
}

/// A position in a named history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The history.
    pub origin: Origin,
    /// The event that was told last.
    pub position: Position,
}

/// The text is not a cursor of this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a cursor: pass on, unchanged, what extensions.rowcast.cursor of an earlier result said")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.origin.system_id.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.origin.timeline.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.position.commit_lsn.0.to_be_bytes());
        bytes[20..].copy_from_slice(&self.position.ordinal.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let bytes: [u8; 24] = bytes.try_into().map_err(|_| CursorError)?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, t0, t1, t2, t3, l0, l1, l2, l3, l4, l5, l6, l7, o0, o1, o2, o3] = bytes;
        Ok(Cursor {
            origin: Origin {
                system_id: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
                timeline: u32::from_be_bytes([t0, t1, t2, t3]),
            },
            position: Position {
                commit_lsn: Lsn(u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7])),
                ordinal: u32::from_be_bytes([o0, o1, o2, o3]),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Cursor, History, Origin};
    use crate::model::{Lsn, Position};

    #[test]
    fn a_cursor_survives_the_journey_to_the_client_and_back() {
        let origin = Origin { system_id: 7_412_345_678_901_234_567, timeline: 3 };
        let cursor = Cursor { origin, position: Position { commit_lsn: Lsn(0x16_B374_D848), ordinal: 41 } };
        let text = cursor.to_string();
        assert_eq!(text.len(), 32, "{text}");
        assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn a_cursor_from_before_a_failover_is_good_as_far_as_the_standby_had_come() {
        let history =
            History { origin: Origin { system_id: 7, timeline: 3 }, left: [(1, Lsn(100)), (2, Lsn(200))].into() };
        let cursor = |system_id, timeline, lsn| Cursor {
            origin: Origin { system_id, timeline },
            position: Position { commit_lsn: Lsn(lsn), ordinal: 0 },
        };
        assert!(history.contains(&cursor(7, 3, 900)) && history.contains(&cursor(7, 1, 99)));
        assert!(!history.contains(&cursor(7, 1, 100)), "committed where nobody followed");
        assert!(!history.contains(&cursor(7, 4, 1)) && !history.contains(&cursor(8, 3, 1)));
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        for text in ["", "AAAA", "not a cursor", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "ä"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }
}
