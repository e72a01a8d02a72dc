//! An outbox as a line that the supervisor keeps going.

use super::reader::Reading;
use super::session::{self, Opened};
use super::settings::OutboxSettings;
use crate::capture::backoff::Backoff;
use crate::capture::captured::ServerIdentity;
use crate::capture::consumer::{Begins, Capture, first};
use crate::capture::error::CaptureError;
use crate::capture::supervisor::{ConnectionEnd, Ends, Line, Purpose};
use crate::model::Lsn;
use crate::postgres::Conninfo;

impl Capture {
    /// Reads the outbox, which `rowcast.start_outbox` has to have made. With `resume_from`, transactions before that
    /// position are left out; without, everything comes that is kept. Errors as [`wal`](Self::wal)'s.
    pub async fn outbox(
        conninfo: Conninfo,
        settings: OutboxSettings,
        resume_from: Option<Lsn>,
    ) -> Result<Self, CaptureError> {
        let backoff = Backoff::new(settings.backoff_min, settings.backoff_max);
        let opened = first(backoff, settings.connect_timeout, || {
            session::open(&conninfo, &settings, Purpose::First { resume_from })
        })
        .await?;
        let begins = Begins {
            identity: opened.identity.clone(),
            at: opened.begins_at,
            confirmed: opened.begins_at,
            created: false,
            live_from: Some(opened.live_from),
            place: opened.place.clone(),
        };
        let (buffer_bytes, stop_timeout) = (settings.buffer_bytes, settings.stop_timeout);
        let line = OutboxLine { conninfo, settings, seen: begins.at };
        Ok(Self::supervised(line, opened, begins, backoff, buffer_bytes, stop_timeout))
    }
}

struct OutboxLine {
    conninfo: Conninfo,
    settings: OutboxSettings,
    /// Behind the last transaction that was handed over, of which only the beginning may have been.
    seen: Lsn,
}

impl Line for OutboxLine {
    type Opened = Opened;

    fn name(&self) -> &'static str {
        "outbox"
    }

    fn seen(&self) -> Lsn {
        self.seen
    }

    fn identity(opened: &Opened) -> &ServerIdentity {
        &opened.identity
    }

    async fn open(&self, purpose: Purpose) -> Result<Opened, CaptureError> {
        session::open(&self.conninfo, &self.settings, purpose).await
    }

    async fn follow(&mut self, opened: &mut Opened, ends: Ends<'_>) -> ConnectionEnd {
        match Reading::new(opened, &self.settings, &mut self.seen, ends).run().await {
            Err(end) => end,
        }
    }

    /// Nothing to do: the next reader goes on where this one ends. The engine itself removes a reader that will not come back.
    async fn take_leave(&self, _opened: Opened, _acknowledged: Lsn) {}
}
