//! The replication stream as a line that the supervisor keeps going.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::conninfo::Conninfo;
use super::consumer::ServerIdentity;
use super::error::CaptureError;
use super::feedback::Feedback;
use super::pump::Pump;
use super::settings::WalSettings;
use super::slot::{self, Opened};
use super::supervisor::{End, Ends, Line, Purpose};
use super::watch::Watch;
use crate::model::Lsn;

pub(super) struct WalLine {
    conninfo: Arc<Conninfo>,
    settings: WalSettings,
    seen: Lsn,
    alarm: mpsc::Receiver<CaptureError>,
    _watch: Watch,
}

impl WalLine {
    /// A line that begins at a position.
    pub(super) fn new(conninfo: Conninfo, settings: WalSettings, begins_at: Lsn) -> Self {
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

    async fn follow(&mut self, opened: &mut Opened, ends: Ends<'_>) -> End {
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
