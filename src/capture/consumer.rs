//! The consumer's handle of a capture, of either kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::error::CaptureError;
use super::handover::{self, Taker};
use super::supervisor::{Line, Supervisor};
use crate::journal::Durable;
use crate::model::Lsn;
use crate::postgres::ConnectionError;

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
    fn raise(&self, lsn: Lsn) {
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

/// A running capture: a replication stream, or what triggers have written into the outbox, in the same messages.
/// Dropping it ends the stream too, in the background.
pub struct Capture {
    taker: Taker,
    acknowledged: Arc<Acknowledged>,
    begins: Begins,
    failure: Option<CaptureError>,
    stop_timeout: Duration,
    /// Dropping it tells the reader to take leave.
    stop: oneshot::Sender<()>,
    reader: JoinHandle<()>,
}

/// With what a capture begins.
pub(super) struct Begins {
    pub(super) identity: ServerIdentity,
    pub(super) at: Lsn,
    /// Up to here the server need not keep anything; may be less than `at`.
    pub(super) confirmed: Lsn,
    pub(super) created: bool,
    /// What is before this position had its position before this start; unknown of a replication stream.
    pub(super) live_from: Option<Lsn>,
    pub(super) place: String,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let acknowledged = self.acknowledged.get();
        f.debug_struct("Capture")
            .field("place", &self.begins.place)
            .field("acknowledged", &acknowledged)
            .finish_non_exhaustive()
    }
}

impl Capture {
    pub(super) fn supervised<L: Line>(
        line: L,
        opened: L::Opened,
        begins: Begins,
        backoff: Backoff,
        buffer_bytes: usize,
        stop_timeout: Duration,
    ) -> Self {
        let (giver, taker) = handover::channel(buffer_bytes);
        let (stop, stopped) = oneshot::channel();
        let acknowledged = Arc::new(Acknowledged::default());
        acknowledged.raise(begins.confirmed);
        acknowledged.handled.store(begins.at.0, Ordering::SeqCst);
        let supervisor = Supervisor { line, giver, acknowledged: Arc::clone(&acknowledged), stop: stopped, backoff };
        let reader = tokio::spawn(supervisor.run(opened));
        Self { taker, acknowledged, begins, failure: None, stop_timeout, stop, reader }
    }

    /// What comes next. After `Failed` it is `Failed` again. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Captured {
        if let Some(error) = &self.failure {
            return Captured::Failed(error.clone());
        }
        let next = self.taker.next().await.unwrap_or_else(|| self.ended());
        self.remember(next)
    }

    /// What is already here, without waiting: everything that one read brought can be handled in one go.
    pub fn try_next(&mut self) -> Option<Captured> {
        let next = self.taker.try_next()?;
        Some(self.remember(next))
    }

    /// Everything that committed before this position is safe with the consumer and need never be sent again: the
    /// journal says so. A smaller position than before changes nothing.
    pub fn acknowledge(&mut self, durable: Durable) {
        self.acknowledged.handled.fetch_max(durable.handled().0, Ordering::SeqCst);
        self.acknowledged.raise(durable.lsn());
    }

    /// Where the consumer goes on: nothing that committed before this position need be sent to it again.
    pub fn handled(&self) -> Lsn {
        self.acknowledged.handled()
    }

    /// The position that was acknowledged last.
    pub fn acknowledged(&self) -> Lsn {
        self.acknowledged.get()
    }

    /// The cluster that was found at the start.
    pub fn identity(&self) -> &ServerIdentity {
        &self.begins.identity
    }

    /// Every transaction that committed at or after this position follows. If this is beyond the `resume_from` that was
    /// asked for, the slot has moved on and what lies between cannot be had.
    pub fn begins_at(&self) -> Lsn {
        self.begins.at
    }

    /// What is before this position was told, or could have been, before this start. `None`: the server's own position says.
    pub fn live_from(&self) -> Option<Lsn> {
        self.begins.live_from
    }

    /// Whether the slot was made by this start.
    pub fn created_slot(&self) -> bool {
        self.begins.created
    }

    /// Tells the server the last acknowledged position, ends the stream and closes the connection. A server that does
    /// not answer is left after `stop_timeout`.
    pub async fn stop(self) {
        drop(self.taker);
        let _ = self.stop.send(());
        let mut reader = self.reader;
        if tokio::time::timeout(self.stop_timeout, &mut reader).await.is_err() {
            tracing::warn!(
                place = self.begins.place,
                "the server did not end the stream in time; the connection is closed"
            );
            reader.abort();
        }
    }

    fn remember(&mut self, next: Captured) -> Captured {
        if let Captured::Failed(error) = &next {
            self.failure = Some(error.clone());
        }
        next
    }

    fn ended(&self) -> Captured {
        let reason = "the task that reads it was ended with its runtime".to_owned();
        Captured::Failed(ConnectionError::ConnectionLost { place: self.begins.place.clone(), reason }.into())
    }
}

/// The first attempt that a server which is starting up lets succeed, or fail for another reason.
pub(super) async fn first<O, F: Future<Output = Result<O, CaptureError>>>(
    mut backoff: Backoff,
    patience: Duration,
    mut open: impl FnMut() -> F,
) -> Result<O, CaptureError> {
    let started = tokio::time::Instant::now();
    loop {
        match open().await {
            Err(CaptureError::Connection(ConnectionError::ServerUnavailable { .. }))
                if started.elapsed() < patience =>
            {
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            decided => return decided,
        }
    }
}
