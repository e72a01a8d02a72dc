//! The consumer's handle of a capture, of either kind.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::acknowledged::Acknowledged;
use super::backoff::Backoff;
use super::captured::{Captured, ServerIdentity};
use super::error::CaptureError;
use super::handover::{self, Taker};
use super::supervisor::{Line, Supervisor};
use crate::journal::Durable;
use crate::model::Lsn;
use crate::postgres::ConnectionError;

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
        acknowledged.handle(begins.at);
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
        self.acknowledged.handle(durable.handled());
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

    /// What is before this position was delivered, or could have been, before this start. `None`: the server's own position
    /// says it.
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
