//! The task behind a capture: it opens one connection after another for as long as a retry can help.
//!
//! It reports `Interrupted` and then `Resumed` once for each outage, and `Failed` once at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::acknowledged::Acknowledged;
use super::backoff::Backoff;
use super::captured::{Captured, ServerIdentity};
use super::error::CaptureError;
use super::handover::Giver;
use crate::model::Lsn;

/// How a connection ended.
pub(super) enum ConnectionEnd {
    /// The consumer wants no more.
    Stopped,
    /// It broke, or what it says makes going on wrong.
    Broken(CaptureError),
}

impl From<CaptureError> for ConnectionEnd {
    fn from(error: CaptureError) -> Self {
        ConnectionEnd::Broken(error)
    }
}

/// Why a connection is opened.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// A first start, from a position if one is known.
    First { resume_from: Option<Lsn> },
    /// After an outage: the same server, with nothing of its history behind `handled` (by the consumer) or `seen`
    /// (handed to it) undone.
    Again { identity: ServerIdentity, handled: Lsn, seen: Lsn },
}

impl Purpose {
    /// Where to start when the server does not force a later position. `0/0` is "where the slot stands".
    pub(super) fn position(&self) -> Lsn {
        match *self {
            Self::First { resume_from } => resume_from.unwrap_or_default(),
            Self::Again { handled, .. } => handled,
        }
    }

    /// Whether a slot that stands there has left out what the consumer was never shown.
    pub(super) fn is_skipped_by(&self, confirmed: Lsn) -> bool {
        match *self {
            Self::First { .. } => false,
            Self::Again { handled, seen, .. } => confirmed > handled.max(seen),
        }
    }

    /// Making a slot is right when nobody counts on what came before it.
    pub(super) fn may_create(&self) -> bool {
        matches!(self, Self::First { resume_from: None })
    }
}

/// The consumer's side of a connection; all of it outlives the connection.
pub(super) struct Ends<'a> {
    pub(super) giver: &'a Giver,
    pub(super) acknowledged: &'a Acknowledged,
    pub(super) stop: &'a mut oneshot::Receiver<()>,
}

/// One way to capture changes, as far as it has to be kept going.
pub(super) trait Line: Send + Sync + 'static {
    /// A connection that is ready.
    type Opened: Send;

    /// What the log calls it.
    fn name(&self) -> &str;

    /// The furthest position that was handed over.
    fn seen(&self) -> Lsn;

    fn identity(opened: &Self::Opened) -> &ServerIdentity;

    fn open(&self, purpose: Purpose) -> impl Future<Output = Result<Self::Opened, CaptureError>> + Send;

    /// Hands over what comes, until the connection ends.
    fn follow(&mut self, opened: &mut Self::Opened, ends: Ends<'_>) -> impl Future<Output = ConnectionEnd> + Send;

    /// The last acknowledgement reaches the server before the connection is closed.
    fn take_leave(&self, opened: Self::Opened, acknowledged: Lsn) -> impl Future<Output = ()> + Send;
}

pub(super) struct Supervisor<L> {
    pub(super) line: L,
    pub(super) giver: Giver,
    pub(super) acknowledged: Arc<Acknowledged>,
    pub(super) stop: oneshot::Receiver<()>,
    pub(super) backoff: Backoff,
}

/// Whether there is a next connection.
enum Next<O> {
    Connection(Box<O>),
    Nothing,
}

impl<L: Line> Supervisor<L> {
    pub(super) async fn run(mut self, first: L::Opened) {
        let mut opened = Box::new(first);
        loop {
            let began = Instant::now();
            let ends = Ends { giver: &self.giver, acknowledged: &self.acknowledged, stop: &mut self.stop };
            let end = self.line.follow(&mut opened, ends).await;
            self.backoff.lived(began.elapsed());
            let error = match end {
                ConnectionEnd::Stopped => return self.line.take_leave(*opened, self.acknowledged.get()).await,
                ConnectionEnd::Broken(error) => error,
            };
            let identity = L::identity(&opened).clone();
            // Closes the connection: a walsender that was only silent would else hold the slot against us.
            drop(opened);
            opened = match self.reopen(error, identity).await {
                Next::Connection(next) => next,
                Next::Nothing => return,
            };
        }
    }

    async fn reopen(&mut self, error: CaptureError, identity: ServerIdentity) -> Next<L::Opened> {
        if !error.is_transient() {
            return self.fail(error);
        }
        tracing::warn!(%error, source = self.line.name(), "capture interrupted, reconnecting");
        if self.giver.tell(Captured::Interrupted(error)).is_err() {
            return Next::Nothing;
        }
        loop {
            let wait = self.backoff.next(rand::random());
            match self.attempt(identity.clone(), wait).await {
                Some(Ok(opened)) => return self.resume(opened),
                Some(Err(error)) if error.is_transient() => tracing::debug!(%error, "capture still interrupted"),
                Some(Err(error)) => return self.fail(error),
                None => return Next::Nothing,
            }
        }
    }

    /// Waits, then tries once. `None` when the consumer wants no more.
    async fn attempt(&mut self, identity: ServerIdentity, wait: Duration) -> Option<Result<L::Opened, CaptureError>> {
        let purpose = Purpose::Again { identity, handled: self.acknowledged.handled(), seen: self.line.seen() };
        let open = async {
            tokio::time::sleep(wait).await;
            self.line.open(purpose).await
        };
        tokio::select! {
            biased;
            _ = &mut self.stop => None,
            opened = open => Some(opened),
        }
    }

    fn resume(&self, opened: L::Opened) -> Next<L::Opened> {
        tracing::info!(source = self.line.name(), "capture resumed");
        match self.giver.tell(Captured::Resumed(L::identity(&opened).clone())) {
            Ok(()) => Next::Connection(Box::new(opened)),
            Err(_) => Next::Nothing,
        }
    }

    fn fail(&self, error: CaptureError) -> Next<L::Opened> {
        tracing::error!(%error, code = error.code(), source = self.line.name(), "capture failed");
        let _ = self.giver.tell(Captured::Failed(error));
        Next::Nothing
    }
}
