//! Why changes cannot be captured. Each message says what happened, where, and what to do.
//!
//! Every variant has one stable code, and one exhaustive match decides whether a retry can help.

use crate::model::Lsn;
use crate::postgres::{ConnectionError, ServerError};

/// Why changes cannot be captured. `place` is `host:port/database` or the socket's path, never a password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CaptureError {
    /// The session to capture by could not be opened, or broke.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A setting is outside of what PostgreSQL or the engine accepts.
    #[error("the capture settings are not valid: {reason}")]
    SettingsInvalid {
        /// Which setting, and what it may be.
        reason: String,
    },
    /// Logical messages need PostgreSQL 14.
    #[error("{place} runs PostgreSQL {version}; capturing from the WAL needs 14 or newer.")]
    ServerTooOld {
        /// Which server.
        place: String,
        /// What it says it is.
        version: String,
    },
    /// `wal_level` is not `logical`.
    #[error(
        "{place} has wal_level={wal_level}. Run ALTER SYSTEM SET wal_level = 'logical' and restart the server (managed \
         services have a parameter for it), or use the outbox capture, which needs no WAL access."
    )]
    WalLevelNotLogical {
        /// Which server.
        place: String,
        /// Its present level.
        wal_level: String,
    },
    /// Every replication slot is taken (53400).
    #[error(
        "{place} has no free replication slot for {slot:?}: {server}. Drop an unused slot (see \
         pg_replication_slots) or raise max_replication_slots."
    )]
    SlotsExhausted {
        /// Which server.
        place: String,
        /// The slot that was to be made.
        slot: String,
        /// What the server said.
        server: Box<ServerError>,
    },
    /// Another session streams from the slot (55006).
    #[error(
        "slot {slot:?} at {place} is in use by {}. One slot feeds one process: give this one another slot name, or end \
         the other (select pg_terminate_backend(pid)).",
        pid.map_or_else(|| "another session".to_owned(), |pid| format!("the server process {pid}"))
    )]
    SlotActive {
        /// Which server.
        place: String,
        /// The slot.
        slot: String,
        /// The backend that holds it, if the server named it.
        pid: Option<i32>,
    },
    /// The slot is gone or invalidated: the changes since its position are lost.
    #[error(
        "slot {slot:?} at {place} is lost: {reason}. The changes since its last position are gone; drop it if it still \
         exists (select pg_drop_replication_slot('{slot}')) and start again with fresh snapshots."
    )]
    SlotLost {
        /// Which server.
        place: String,
        /// The slot.
        slot: String,
        /// How it was lost.
        reason: String,
    },
    /// A slot of this name exists and is not ours.
    #[error("slot {slot:?} at {place} cannot be used: {reason}. Choose another slot name.")]
    SlotMismatch {
        /// Which server.
        place: String,
        /// The slot.
        slot: String,
        /// In what it differs.
        reason: String,
    },
    /// Making a slot waits for every transaction that was writing when it began; one did not end in time.
    #[error(
        "slot {slot:?} at {place} was not ready after {seconds} s: it has to wait for transactions that are open (see \
         xact_start in pg_stat_activity, and pg_prepared_xacts). End them, or raise slot_create_timeout."
    )]
    SlotBlocked {
        /// Which server.
        place: String,
        /// The slot that was to be made.
        slot: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The publication does not exist, or did not at the point of the WAL that is read.
    #[error(
        "publication {publication:?} does not exist at {place}. Create it (rowcast's migrations do), then start with a \
         new slot: what was written without it is not in the stream."
    )]
    PublicationMissing {
        /// Which server.
        place: String,
        /// The publication.
        publication: String,
    },
    /// The outbox was not created, was removed, or was written in another cluster.
    #[error(
        "{place} has no outbox. Run rowcast migrate, then select rowcast.start_outbox() as the owner of the watched \
         tables (the engine does both where it may)."
    )]
    OutboxMissing {
        /// Which server.
        place: String,
    },
    /// The outbox dropped unread changes, because this reader gave no sign of life for a minute.
    #[error(
        "the outbox at {place} no longer has the changes from {position} on: this process was stopped or cut off for more than a \
         minute. The changes since then are gone; start again with fresh snapshots."
    )]
    OutboxTrimmed {
        /// Which server.
        place: String,
        /// Where this reader would have gone on.
        position: Lsn,
    },
    /// The outbox has a row that no trigger wrote.
    #[error("the outbox at {place} has an invalid row: {reason}. Only rowcast's triggers may write to it.")]
    OutboxMalformed {
        /// Which server.
        place: String,
        /// Which row, and what is wrong with it; never its values.
        reason: String,
    },
    /// Another cluster, or one whose history left ours, now answers at this place.
    #[error(
        "{place} is not the server that this engine captured from: {reason}. Start again with a new slot and fresh snapshots."
    )]
    ServerReplaced {
        /// Which server.
        place: String,
        /// How that was seen.
        reason: String,
    },
}

impl CaptureError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connection(error) => error.code(),
            Self::SettingsInvalid { .. } => "SETTINGS_INVALID",
            Self::ServerTooOld { .. } => "SERVER_TOO_OLD",
            Self::WalLevelNotLogical { .. } => "WAL_LEVEL_NOT_LOGICAL",
            Self::SlotsExhausted { .. } => "SLOTS_EXHAUSTED",
            Self::SlotActive { .. } => "SLOT_ACTIVE",
            Self::SlotLost { .. } => "SLOT_LOST",
            Self::SlotMismatch { .. } => "SLOT_MISMATCH",
            Self::SlotBlocked { .. } => "SLOT_BLOCKED",
            Self::PublicationMissing { .. } => "PUBLICATION_MISSING",
            Self::OutboxMissing { .. } => "OUTBOX_MISSING",
            Self::OutboxTrimmed { .. } => "OUTBOX_TRIMMED",
            Self::OutboxMalformed { .. } => "OUTBOX_MALFORMED",
            Self::ServerReplaced { .. } => "SERVER_REPLACED",
        }
    }

    /// Whether a running capture goes on trying. Narrow on purpose: an error that an operator must repair is reported at once.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_transient(),
            // A slot is active for a while after a crash of ours, until the server notices that its old walsender talks to
            // nobody.
            Self::SlotActive { .. } => true,
            Self::SettingsInvalid { .. }
            | Self::ServerTooOld { .. }
            | Self::WalLevelNotLogical { .. }
            | Self::SlotsExhausted { .. }
            | Self::SlotLost { .. }
            | Self::SlotMismatch { .. }
            | Self::SlotBlocked { .. }
            | Self::PublicationMissing { .. }
            | Self::OutboxMissing { .. }
            | Self::OutboxTrimmed { .. }
            | Self::OutboxMalformed { .. }
            | Self::ServerReplaced { .. } => false,
        }
    }
}
