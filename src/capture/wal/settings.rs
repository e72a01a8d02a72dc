//! The settings of one WAL capture, each with its unit and what happens at its bound.

use std::time::Duration;

use crate::capture::error::CaptureError;

/// Settings of a replication stream: see [`Capture::wal`](crate::capture::Capture::wal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalSettings {
    /// The replication slot: 1 to 63 of `a-z`, `0-9` and `_`. Made when it does not exist.
    pub slot: String,
    /// The publication whose tables are captured. It has to exist, and is watched while we stream.
    pub publication: String,
    /// A slot that ends with the connection. It cannot bridge an outage: a lost connection is `SLOT_LOST`, said openly.
    pub temporary: bool,
    /// The server hears from us at least this often, idle or not. Keep it well below `wal_sender_timeout`.
    pub status_interval: Duration,
    /// An acknowledgement that moved is on the wire after at most this time; one that the server waits for, at once.
    pub ack_delay: Duration,
    /// Silence of the server for half of this makes us ask for a sign of life, silence for all of it is
    /// `CONNECTION_LOST`. A walsender answers between transactions, so this must exceed the decoding of one of them.
    pub liveness: Duration,
    /// How long one attempt to connect and authenticate may take; `connect_timeout` of the connection string goes first.
    pub connect_timeout: Duration,
    /// How long making a slot may wait for transactions that are open. Then it is cancelled: `SLOT_BLOCKED`.
    pub slot_create_timeout: Duration,
    /// The shortest wait between two attempts to reconnect.
    pub backoff_min: Duration,
    /// The longest wait between two attempts to reconnect. The number of attempts is unlimited.
    pub backoff_max: Duration,
    /// How often the publication is looked for, over a connection of its own. A dropped one is `PUBLICATION_MISSING`.
    pub publication_check: Duration,
    /// How many bytes of messages may wait for the consumer (64 are added for each). At the bound reading stops and TCP
    /// holds the server back, while status updates go on. Worst case: this, one message (1 GiB by PostgreSQL's own
    /// limit), and one read of 64 KiB.
    pub buffer_bytes: usize,
    /// How long `stop` waits for the server to end the stream after the last acknowledgement.
    pub stop_timeout: Duration,
}

impl WalSettings {
    /// The defaults, for a slot and a publication.
    pub fn new(slot: impl Into<String>, publication: impl Into<String>) -> Self {
        Self {
            slot: slot.into(),
            publication: publication.into(),
            temporary: false,
            status_interval: Duration::from_secs(10),
            ack_delay: Duration::from_millis(200),
            liveness: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(10),
            slot_create_timeout: Duration::from_mins(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            publication_check: Duration::from_secs(5),
            buffer_bytes: 8 << 20,
            stop_timeout: Duration::from_secs(2),
        }
    }

    /// Refuses what would only fail later and less clearly.
    pub(super) fn check(&self) -> Result<(), CaptureError> {
        let refuse = |reason: String| Err(CaptureError::SettingsInvalid { reason });
        let in_slot = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=63).contains(&self.slot.len()) || !self.slot.bytes().all(in_slot) {
            return refuse(format!("the slot name {:?} must be 1 to 63 of a-z, 0-9 and _", self.slot));
        }
        if !(1..=63).contains(&self.publication.len()) || self.publication.contains('\0') {
            return refuse(format!("the publication name {:?} must have 1 to 63 bytes", self.publication));
        }
        if self.buffer_bytes == 0 || self.buffer_bytes > u32::MAX as usize {
            return refuse("buffer_bytes must be between 1 byte and 4 GiB".to_owned());
        }
        let durations = [
            ("status_interval", self.status_interval),
            ("liveness", self.liveness),
            ("connect_timeout", self.connect_timeout),
            ("slot_create_timeout", self.slot_create_timeout),
            ("backoff_min", self.backoff_min),
            ("publication_check", self.publication_check),
        ];
        match durations.iter().find(|(_, duration)| duration.is_zero()) {
            Some((name, _)) => refuse(format!("{name} must be more than zero")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WalSettings;
    use std::time::Duration;

    #[test]
    fn names_that_postgresql_would_refuse_are_refused_here() {
        assert!(WalSettings::new("rowcast_1", "Any name").check().is_ok());
        for slot in ["", "Upper", "dash-ed", &"x".repeat(64)] {
            assert_eq!(WalSettings::new(slot, "p").check().unwrap_err().code(), "SETTINGS_INVALID", "{slot}");
        }
        assert!(WalSettings::new("s", "").check().is_err());
    }

    #[test]
    fn a_setting_of_zero_is_named() {
        let settings = WalSettings { liveness: Duration::ZERO, ..WalSettings::new("s", "p") };
        assert!(settings.check().unwrap_err().to_string().contains("liveness"));
        assert!(WalSettings { buffer_bytes: 0, ..WalSettings::new("s", "p") }.check().is_err());
    }
}
