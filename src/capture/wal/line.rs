//! A replication stream as a line that the supervisor keeps going.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::feedback::Feedback;
use super::pump::Pump;
use super::settings::WalSettings;
use super::slot::{self, Opened};
use super::watch::Watch;
use crate::capture::backoff::Backoff;
use crate::capture::captured::ServerIdentity;
use crate::capture::consumer::{Begins, Capture, first};
use crate::capture::error::CaptureError;
use crate::capture::supervisor::{ConnectionEnd, Ends, Line, Purpose};
use crate::model::Lsn;
use crate::postgres::Conninfo;

impl Capture {
    /// Opens a replication stream. With `resume_from` the slot has to exist, and transactions that committed before that
    /// position are left out; without, the slot is made when it is missing. Errors come at once, except that a server which
    /// is starting up is waited for as long as `connect_timeout`.
    pub async fn wal(
        conninfo: Conninfo,
        settings: WalSettings,
        resume_from: Option<Lsn>,
    ) -> Result<Self, CaptureError> {
        settings.check()?;
        let backoff = Backoff::new(settings.backoff_min, settings.backoff_max);
        let opened = first(backoff, settings.connect_timeout, || {
            slot::open(&conninfo, &settings, Purpose::First { resume_from })
        })
        .await?;
        let begins = Begins {
            identity: opened.identity.clone(),
            at: opened.begins_at,
            // What the server has confirmed already needs no telling.
            confirmed: opened.confirmed,
            created: opened.created,
            live_from: None,
            place: opened.link.session.place.clone(),
        };
        let (buffer_bytes, stop_timeout) = (settings.buffer_bytes, settings.stop_timeout);
        let line = WalLine::new(conninfo, settings, begins.at);
        Ok(Self::supervised(line, opened, begins, backoff, buffer_bytes, stop_timeout))
    }
}

struct WalLine {
    conninfo: Arc<Conninfo>,
    settings: WalSettings,
    seen: Lsn,
    alarm: mpsc::Receiver<CaptureError>,
    _watch: Watch,
}

impl WalLine {
    /// A line that begins at a position.
    fn new(conninfo: Conninfo, settings: WalSettings, begins_at: Lsn) -> Self {
        let conninfo = Arc::new(conninfo);
        let (alarms, alarm) = mpsc::channel(1);
        let watch = Watch::start(Arc::clone(&conninfo), &settings, alarms);
        Self { conninfo, settings, seen: begins_at, alarm, _watch: watch }
    }
}

impl Line for WalLine {
    type Opened = Opened;

    fn name(&self) -> &str {
        &self.settings.slot
    }

    fn seen(&self) -> Lsn {
        self.seen
    }

    fn identity(opened: &Opened) -> &ServerIdentity {
        &opened.identity
    }

    async fn open(&self, purpose: Purpose) -> Result<Opened, CaptureError> {
        slot::open(&self.conninfo, &self.settings, purpose).await
    }

    async fn follow(&mut self, opened: &mut Opened, ends: Ends<'_>) -> ConnectionEnd {
        let patience = opened.wal_sender_timeout;
        let feedback = Feedback::new(&self.settings, patience, opened.confirmed, Instant::now());
        let pump = Pump { ends, alarm: &mut self.alarm, publication: &self.settings.publication, seen: &mut self.seen };
        pump.run(&mut opened.link, feedback).await
    }

    async fn take_leave(&self, mut opened: Opened, acknowledged: Lsn) {
        let farewell = opened.link.finish(acknowledged);
        let outcome = tokio::time::timeout(self.settings.stop_timeout, farewell).await;
        tracing::debug!(?outcome, slot = self.settings.slot, "the capture has stopped");
    }
}
