//! Where the stream comes from, and how to open it again after it ended.

use std::time::Duration;

use deadpool_postgres::{Pool, PoolError};

use crate::capture::{Capture, CaptureError, OutboxSettings, SlotPool, WalSettings};
use crate::catalog::CaptureMode;
use crate::config::PostgreSqlBus;
use crate::engine::deliver::Horizon;
use crate::model::Lsn;
use crate::postgres::Conninfo;

/// How long between two attempts to take up a stream.
const PAUSE: Duration = Duration::from_millis(250);

const LEAVE: &str = "select rowcast.leave_outbox($1)";

/// A way to capture, with what was settled when it began.
#[allow(clippy::large_enum_variant)] // There is one for each engine.
pub(crate) enum Feed {
    /// From a slot of a pool; the settings name the one that was claimed.
    Wal { conninfo: Conninfo, slots: SlotPool, settings: WalSettings },
    /// From the outbox, under a reader's name of our own.
    Outbox { conninfo: Conninfo, settings: OutboxSettings },
}

/// Why the stream ended for good: the code is for clients, the reason for the log.
pub(crate) struct End {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
    /// A new stream can begin, though not where this one ended.
    pub(crate) is_gap: bool,
}

impl From<&CaptureError> for End {
    fn from(error: &CaptureError) -> Self {
        let is_gap = matches!(
            error,
            CaptureError::SlotLost { .. } | CaptureError::ServerReplaced { .. } | CaptureError::OutboxTrimmed { .. }
        );
        End { code: error.code(), reason: error.to_string(), is_gap }
    }
}

impl Feed {
    /// Opening it comes last in a start: one that fails before it leaves nothing behind.
    pub(crate) async fn open(
        conninfo: Conninfo,
        bus: &PostgreSqlBus,
        slot: String,
        mode: CaptureMode,
    ) -> Result<(Self, Capture), CaptureError> {
        match mode {
            CaptureMode::Wal => {
                let slots = SlotPool::new(conninfo.clone(), WalSettings::new(slot, &bus.publication));
                let (capture, settings) = slots.claim().await?;
                Ok((Self::Wal { conninfo, slots, settings }, capture))
            }
            CaptureMode::Outbox => {
                let settings = OutboxSettings::default();
                let capture = Capture::outbox(conninfo.clone(), settings.clone(), None).await?;
                Ok((Self::Outbox { conninfo, settings }, capture))
            }
        }
    }

    /// A new stream, which need not begin where the last one ended.
    pub(crate) async fn reopen(&mut self) -> Result<Capture, CaptureError> {
        loop {
            match self.try_reopen().await {
                Err(error) if error.is_transient() => tokio::time::sleep(PAUSE).await,
                decided => return decided,
            }
        }
    }

    async fn try_reopen(&mut self) -> Result<Capture, CaptureError> {
        match self {
            Self::Wal { slots, settings, .. } => {
                let (capture, claimed) = slots.claim().await?;
                *settings = claimed;
                Ok(capture)
            }
            Self::Outbox { conninfo, settings } => Capture::outbox(conninfo.clone(), settings.clone(), None).await,
        }
    }

    /// The same stream from a position on.
    pub(crate) async fn again(&self, from: Lsn) -> Result<Capture, End> {
        loop {
            match self.try_again(from).await {
                Ok(capture) if capture.begins_at() <= from => return Ok(capture),
                Ok(_) => return Err(moved()),
                Err(error) if error.is_transient() => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(End::from(&error)),
            }
        }
    }

    async fn try_again(&self, from: Lsn) -> Result<Capture, CaptureError> {
        match self {
            Self::Wal { conninfo, settings, .. } => Capture::wal(conninfo.clone(), settings.clone(), Some(from)).await,
            Self::Outbox { conninfo, settings } => {
                Capture::outbox(conninfo.clone(), settings.clone(), Some(from)).await
            }
        }
    }

    /// Nothing needs to be kept for this engine any more, once it is awaited. A slot says so itself when its stream
    /// ends.
    pub(crate) fn leave(&self, pool: Pool) -> impl Future<Output = ()> + use<> {
        let outbox = match self {
            Self::Wal { .. } => None,
            Self::Outbox { settings, .. } => Some((settings.reader.clone(), settings.stop_timeout)),
        };
        async move {
            let Some((reader, patience)) = outbox else { return };
            let outcome = tokio::time::timeout(patience, farewell(&pool, &reader)).await;
            tracing::debug!(?outcome, "the outbox was left");
        }
    }

    /// The slot that is streamed from.
    pub(crate) fn slot(&self) -> Option<String> {
        match self {
            Self::Wal { settings, .. } => Some(settings.slot.clone()),
            Self::Outbox { .. } => None,
        }
    }

    /// How far an outbox was delivered: nothing yet.
    pub(crate) fn horizon(&self) -> Option<Horizon> {
        match self {
            Self::Wal { .. } => None,
            Self::Outbox { settings, .. } => Some(Horizon::new(&settings.nudge)),
        }
    }

    /// The name under which an outbox keeps what is unread.
    pub(crate) fn reader(&self) -> Option<String> {
        match self {
            Self::Wal { .. } => None,
            Self::Outbox { settings, .. } => Some(settings.reader.clone()),
        }
    }
}

/// Uses a read-write transaction, whatever the session's default is.
async fn farewell(pool: &Pool, reader: &str) -> Result<(), PoolError> {
    let mut client = pool.get().await?;
    let leaving = client.build_transaction().read_only(false).start().await?;
    leaving.execute(LEAVE, &[&reader]).await?;
    Ok(leaving.commit().await?)
}

fn moved() -> End {
    let reason = "another client moved the position of the slot, or emptied the outbox".to_owned();
    End { code: "SLOT_MOVED", reason, is_gap: true }
}
