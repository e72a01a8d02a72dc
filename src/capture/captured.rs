//! What a capture hands over, and which server it comes from.

use std::sync::Arc;

use bytes::Bytes;

use super::error::CaptureError;
use crate::model::Lsn;

/// What a capture hands over, in the order of commits.
#[derive(Clone, Debug)]
pub enum Captured {
    /// A message of `pgoutput`. `body` is a slice of the buffer it was read into.
    Data {
        /// The position the server gives this message.
        wal_start: Lsn,
        /// The message, from its tag on.
        body: Bytes,
    },
    /// Everything before `wal_end` was handed over. Acknowledge it when nothing is pending: an idle database would
    /// otherwise keep WAL for us, and a server that shuts down would wait.
    Keepalive {
        /// The server's position.
        wal_end: Lsn,
    },
    /// Every transaction that this snapshot sees was handed over. From an outbox alone.
    Horizon {
        /// As `pg_snapshot` prints it.
        snapshot: String,
    },
    /// The stream broke and is being taken up again, for as long as it takes. A transaction that was not complete comes
    /// again from its beginning.
    Interrupted(CaptureError),
    /// The stream goes on. Whatever was not handled is sent again.
    Resumed(ServerIdentity),
    /// The stream has ended for a reason that does not pass by itself. Nothing follows.
    Failed(CaptureError),
}

/// Which database of which cluster is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The cluster's identifier, given at initdb.
    pub system_id: u64,
    /// The database's OID: a copy of a database in the same cluster has another, its copy on a standby the same.
    pub database: u32,
    /// The cluster's timeline: one more for each promotion.
    pub timeline: u32,
    /// Its ancestors, and where each was left.
    pub left: Arc<[(u32, Lsn)]>,
}

impl ServerIdentity {
    /// Why nothing of `was` may be taken for this one's, if so: after a failover the new timeline must have left the old one
    /// behind everything that was `seen`; otherwise the engine delivered commits that this server does not have.
    pub(super) fn check_follows(&self, was: &Self, seen: Lsn) -> Result<(), String> {
        if was.system_id != self.system_id {
            return Err(format!("its system identifier is {} and was {}", self.system_id, was.system_id));
        }
        if was.database != self.database {
            return Err(format!("its database has the OID {}, and it was {}", self.database, was.database));
        }
        if was.timeline == self.timeline {
            return Ok(());
        }
        match self.left.iter().find(|(left, _)| *left == was.timeline).map(|(_, at)| *at) {
            Some(at) if at >= seen => Ok(()),
            Some(at) => Err(format!("timeline {} left at {at}, and {seen} was seen", was.timeline)),
            None => Err(format!("timeline {} is not in the history of {}", was.timeline, self.timeline)),
        }
    }
}
