//! The task behind a capture: one connection after the other, for as long as trying again can help.
//!
//! Told once for each outage: `Interrupted`, then `Resumed` when the stream goes on. Told once at the end: `Failed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::backoff::Backoff;
use super::conninfo::Conninfo;
use super::error::CaptureError;
use super::feedback::Feedback;
use super::handover::Outbox;
use super::pump::{End, Pump};
use super::replication::{Acknowledged, Captured, ServerIdentity};
use super::settings::WalSettings;
use super::slot::{self, Opened, Purpose};
use super::watch::Watch;
use crate::model::Lsn;

pub(super) struct Supervisor {
    conninfo: Arc<Conninfo>,
    settings: WalSettings,
    outbox: Outbox,
    acknowledged: Arc<Acknowledged>,
    stop: oneshot::Receiver<()>,
    seen: Lsn,
}

/// Whether there is a next connection.
enum Next {
    Connection(Box<Opened>),
    Nothing,
}

impl Supervisor {
    pub(super) fn new(
        conninfo: Conninfo,
        settings: WalSettings,
        outbox: Outbox,
        acknowledged: Arc<Acknowledged>,
        stop: oneshot::Receiver<()>,
    ) -> Self {
        Self { conninfo: Arc::new(conninfo), settings, outbox, acknowledged, stop, seen: Lsn::default() }
    }

    pub(super) async fn run(mut self, first: Opened) {
        let (alarms, mut alarm) = mpsc::channel(1);
        let _watch = Watch::start(Arc::clone(&self.conninfo), &self.settings, alarms);
        let mut backoff = Backoff::new(self.settings.backoff_min, self.settings.backoff_max);
        let mut opened = Box::new(first);
        self.seen = opened.begins_at;
        loop {
            let began = Instant::now();
            let end = self.pump(&mut opened, &mut alarm).await;
            backoff.lived(began.elapsed());
            let error = match end {
                End::Stopped => return self.take_leave(*opened).await,
                End::Broken(error) => error,
            };
            let identity = opened.identity.clone();
            // Closes the connection: a walsender that was only silent would else hold the slot against us.
            drop(opened);
            opened = match self.reopen(error, identity, &mut backoff).await {
                Next::Connection(next) => next,
                Next::Nothing => return,
            };
        }
    }

    async fn pump(&mut self, opened: &mut Opened, alarm: &mut mpsc::Receiver<CaptureError>) -> End {
        let patience = opened.wal_sender_timeout;
        let feedback = Feedback::new(&self.settings, patience, opened.confirmed, Instant::now());
        let pump = Pump {
            outbox: &self.outbox,
            acknowledged: &self.acknowledged,
            stop: &mut self.stop,
            alarm,
            publication: &self.settings.publication,
            seen: &mut self.seen,
        };
        pump.run(&mut opened.link, feedback).await
    }

    async fn reopen(&mut self, error: CaptureError, identity: ServerIdentity, backoff: &mut Backoff) -> Next {
        if !error.is_transient() {
            return self.fail(error);
        }
        tracing::warn!(%error, slot = self.settings.slot, "the capture is interrupted and tries to go on");
        if self.outbox.tell(Captured::Interrupted(error)).is_err() {
            return Next::Nothing;
        }
        loop {
            match self.attempt(identity.clone(), backoff.next(rand::random())).await {
                Some(Ok(opened)) => return self.resume(opened),
                Some(Err(error)) if error.is_transient() => tracing::debug!(%error, "the capture is still interrupted"),
                Some(Err(error)) => return self.fail(error),
                None => return Next::Nothing,
            }
        }
    }

    /// Waits, then tries once. `None` when the consumer wants no more.
    async fn attempt(&mut self, identity: ServerIdentity, wait: Duration) -> Option<Result<Opened, CaptureError>> {
        let purpose = Purpose::Again { identity, handled: self.acknowledged.handled(), seen: self.seen };
        let open = async {
            tokio::time::sleep(wait).await;
            slot::open(&self.conninfo, &self.settings, purpose).await
        };
        tokio::select! {
            biased;
            _ = &mut self.stop => None,
            opened = open => Some(opened),
        }
    }

    fn resume(&self, opened: Opened) -> Next {
        tracing::info!(slot = self.settings.slot, begins_at = %opened.begins_at, "the capture goes on");
        match self.outbox.tell(Captured::Resumed(opened.identity.clone())) {
            Ok(()) => Next::Connection(Box::new(opened)),
            Err(_) => Next::Nothing,
        }
    }

    fn fail(&self, error: CaptureError) -> Next {
        tracing::error!(%error, code = error.code(), slot = self.settings.slot, "the capture has failed");
        let _ = self.outbox.tell(Captured::Failed(error));
        Next::Nothing
    }

    /// The last acknowledgement reaches the server before the connection is closed.
    async fn take_leave(self, mut opened: Opened) {
        let farewell = opened.link.finish(self.acknowledged.get());
        let outcome = tokio::time::timeout(self.settings.stop_timeout, farewell).await;
        tracing::debug!(?outcome, slot = self.settings.slot, "the capture has stopped");
    }
}
