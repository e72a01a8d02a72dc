//! The loop that reads the WAL: capture, decode, journal, dispatch, confirm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::Core;
use super::refresh::Refresher;
use crate::capture::{CaptureError, Captured, WalCapture};
use crate::decode::{Decoded, Decoder};
use crate::journal::{Durable, Journal, Novelty};
use crate::model::Event;

/// One stream, from its start to the engine's stop.
pub(super) struct Stream {
    pub(super) core: Arc<Core>,
    pub(super) capture: WalCapture,
    pub(super) decoder: Decoder,
    pub(super) journal: Journal,
    pub(super) refresher: Refresher,
}

/// What follows from one message.
enum Next {
    Continue,
    Refresh,
    Broken(String),
}

impl Stream {
    /// Runs until `stop` says so or the capture fails for good; then every session is told.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let captured = tokio::select! {
                captured = self.capture.next() => captured,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let drained = tokio::select! {
                drained = self.drain(captured) => drained,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if let Err(reason) = drained {
                self.core.fail(&reason);
                break;
            }
        }
        self.capture.stop().await;
    }

    /// Everything that one read of the socket brought.
    async fn drain(&mut self, first: Captured) -> Result<(), String> {
        let mut next = Some(first);
        while let Some(captured) = next {
            self.handle(captured).await?;
            next = self.capture.try_next();
        }
        Ok(())
    }

    async fn handle(&mut self, captured: Captured) -> Result<(), String> {
        match captured {
            Captured::Data { body, .. } => self.message(body).await,
            Captured::Keepalive { wal_end } => {
                if let Some(durable) = self.journal.keepalive(wal_end) {
                    self.confirm(durable);
                }
                Ok(())
            }
            Captured::Interrupted(error) => {
                self.interrupted(&error);
                Ok(())
            }
            Captured::Resumed => {
                tracing::info!("the replication stream goes on");
                Ok(())
            }
            Captured::Failed(error) => Err(error.to_string()),
        }
    }

    async fn message(&mut self, body: Bytes) -> Result<(), String> {
        match self.decode(body) {
            Next::Continue => {
                self.core.pace().await;
                Ok(())
            }
            Next::Refresh => {
                self.refresh().await;
                Ok(())
            }
            Next::Broken(reason) => Err(reason),
        }
    }

    fn decode(&mut self, body: Bytes) -> Next {
        match self.decoder.decode(body) {
            Ok(Decoded::Begin { .. }) => self.journal.begin(),
            Ok(Decoded::Event(event)) => self.event(&event),
            Ok(Decoded::Events(events)) => events.iter().for_each(|event| self.event(event)),
            Ok(Decoded::Commit { end_lsn, .. }) => {
                let durable = self.journal.commit(end_lsn);
                self.confirm(durable);
            }
            Ok(Decoded::SchemaChanged { .. } | Decoded::CatalogChanged) => return Next::Refresh,
            Ok(Decoded::Ignored(ignored)) => {
                self.core.metrics.messages_ignored_total.add(1);
                tracing::warn!(code = ignored.code(), "a published message was set aside: {ignored}");
            }
            Ok(Decoded::Nothing) => {}
            Err(error) => return Next::Broken(format!("{} ({})", error, error.code())),
        }
        Next::Continue
    }

    fn event(&mut self, event: &Arc<Event>) {
        match self.journal.observe(event.position) {
            Novelty::New => self.core.dispatch(event),
            Novelty::Repeat => self.core.metrics.events_repeated_total.add(1),
            Novelty::Backlog => self.core.metrics.events_backlog_total.add(1),
        }
    }

    fn confirm(&mut self, durable: Durable) {
        self.core.metrics.confirmed_lsn.set(durable.lsn().0);
        self.capture.acknowledge(durable);
    }

    fn interrupted(&mut self, error: &CaptureError) {
        self.core.metrics.capture_interruptions_total.add(1);
        tracing::warn!(code = error.code(), "the replication stream was interrupted, reconnecting: {error}");
        self.journal.interrupted();
        self.decoder.reset();
    }

    /// The stream waits while the catalog is read, so that rows after the change meet the new shape. If the catalog
    /// cannot be read, the old shape stays in force: columns that it lacks are absent, never guessed.
    async fn refresh(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(5);
        match tokio::time::timeout(PATIENCE, self.refresher.refresh(&self.core)).await {
            Ok(Ok(tables)) => self.decoder.set_tables(tables),
            Ok(Err(error)) => tracing::error!(code = error.code(), "the catalog could not be read again: {error}"),
            Err(_) => tracing::error!("the catalog could not be read again within {PATIENCE:?}"),
        }
    }
}
