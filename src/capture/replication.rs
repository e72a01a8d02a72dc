//! The consumer's handle of a WAL capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::backoff::Backoff;
use super::conninfo::Conninfo;
use super::error::CaptureError;
use super::handover::{self, Inbox};
use super::settings::WalSettings;
use super::slot::{self, Opened, Purpose};
use super::supervisor::Supervisor;
use crate::journal::Durable;
use crate::model::Lsn;

/// What a capture hands over, in the order of the WAL.
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
    /// The stream broke and is being taken up again, for as long as it takes. A transaction that was not complete comes
    /// again from its beginning.
    Interrupted(CaptureError),
    /// The stream goes on. Whatever was not handled is sent again.
    Resumed(ServerIdentity),
    /// The stream has ended for a reason that does not pass by itself. Nothing follows.
    Failed(CaptureError),
}

/// Which cluster is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The cluster's identifier, given at initdb.
    pub system_id: u64,
    /// Its timeline: one more for each promotion.
    pub timeline: u32,
    /// Its ancestors, and where each was left.
    pub left: Arc<[(u32, Lsn)]>,
}

/// The acknowledged position, from the consumer to the reader without a lock. The reader sleeps on `moved` only when
/// everything was told to the server, so it is woken once for many acknowledgements.
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

/// A running capture. Dropping it ends the stream too, in the background.
pub struct WalCapture {
    inbox: Inbox,
    acknowledged: Arc<Acknowledged>,
    identity: ServerIdentity,
    begins_at: Lsn,
    created: bool,
    failure: Option<CaptureError>,
    stop_timeout: Duration,
    place: String,
    /// Dropping it tells the reader to take leave.
    stop: oneshot::Sender<()>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for WalCapture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let acknowledged = self.acknowledged.get();
        f.debug_struct("WalCapture")
            .field("place", &self.place)
            .field("acknowledged", &acknowledged)
            .finish_non_exhaustive()
    }
}

impl WalCapture {
    /// Opens the stream. With `resume_from` the slot has to exist, and transactions that committed before that position
    /// are left out; without, the slot is made when it is missing. Errors come at once, except that a server which is
    /// starting up is waited for as long as `connect_timeout`.
    pub async fn start(
        conninfo: Conninfo,
        settings: WalSettings,
        resume_from: Option<Lsn>,
    ) -> Result<Self, CaptureError> {
        settings.check()?;
        let opened = open_first(&conninfo, &settings, resume_from).await?;
        let (outbox, inbox) = handover::channel(settings.buffer_bytes);
        let (stop, stopped) = oneshot::channel();
        let acknowledged = Arc::new(Acknowledged::default());
        // What the server has confirmed already needs no telling.
        acknowledged.raise(opened.confirmed);
        acknowledged.handled.store(opened.begins_at.0, Ordering::SeqCst);
        let (identity, begins_at, created) = (opened.identity.clone(), opened.begins_at, opened.created);
        let (stop_timeout, place) = (settings.stop_timeout, opened.link.session.place.clone());
        let supervisor = Supervisor::new(conninfo, settings, outbox, Arc::clone(&acknowledged), stopped);
        let reader = tokio::spawn(supervisor.run(opened));
        let failure = None;
        Ok(Self { inbox, acknowledged, identity, begins_at, created, failure, stop_timeout, place, stop, reader })
    }

    /// What comes next. After `Failed` it is `Failed` again. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Captured {
        if let Some(error) = &self.failure {
            return Captured::Failed(error.clone());
        }
        let next = self.inbox.next().await.unwrap_or_else(|| self.ended());
        self.remember(next)
    }

    /// What is already here, without waiting: everything that one read brought can be handled in one go.
    pub fn try_next(&mut self) -> Option<Captured> {
        let next = self.inbox.try_next()?;
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
        &self.identity
    }

    /// Every transaction that committed at or after this position follows. If this is beyond the `resume_from` that was
    /// asked for, the slot has moved on and what lies between cannot be had.
    pub fn begins_at(&self) -> Lsn {
        self.begins_at
    }

    /// Whether the slot was made by this start.
    pub fn created_slot(&self) -> bool {
        self.created
    }

    /// Tells the server the last acknowledged position, ends the stream and closes the connection. A server that does
    /// not answer is left after `stop_timeout`.
    pub async fn stop(self) {
        drop(self.inbox);
        let _ = self.stop.send(());
        let mut reader = self.reader;
        if tokio::time::timeout(self.stop_timeout, &mut reader).await.is_err() {
            tracing::warn!(place = self.place, "the server did not end the stream in time; the connection is closed");
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
        Captured::Failed(CaptureError::ConnectionLost { place: self.place.clone(), reason })
    }
}

async fn open_first(
    conninfo: &Conninfo,
    settings: &WalSettings,
    resume_from: Option<Lsn>,
) -> Result<Opened, CaptureError> {
    let mut backoff = Backoff::new(settings.backoff_min, settings.backoff_max);
    let started = tokio::time::Instant::now();
    loop {
        match slot::open(conninfo, settings, Purpose::First { resume_from }).await {
            Err(CaptureError::ServerUnavailable { .. }) if started.elapsed() < settings.connect_timeout => {
                tokio::time::sleep(backoff.next(rand::random())).await;
            }
            decided => return decided,
        }
    }
}
