//! The settings of one outbox capture, each with its unit and what happens at its bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// Settings of a [`Capture::outbox`](crate::capture::Capture::outbox).
#[derive(Clone, Debug)]
pub struct OutboxSettings {
    /// The name under which everything that is unread is kept; no two readers share one.
    pub reader: String,
    /// Asks whether there is something new, at once.
    pub nudge: Arc<Notify>,
    /// How long one attempt to connect may take; `connect_timeout` of the connection string goes first.
    pub connect_timeout: Duration,
    /// Silence of the server for this long, while an answer is due, is `CONNECTION_LOST`. To close a window takes a second for
    /// each million changes in it.
    pub liveness: Duration,
    /// The shortest wait between two attempts to reconnect.
    pub backoff_min: Duration,
    /// The longest wait between two attempts to reconnect. The number of attempts is unlimited.
    pub backoff_max: Duration,
    /// How many bytes of messages may wait for the consumer. At the bound reading stops and TCP holds the server back. Worst
    /// case: this and one row.
    pub buffer_bytes: usize,
    /// How long `stop` waits for the last word to the server.
    pub stop_timeout: Duration,
}

impl Default for OutboxSettings {
    fn default() -> Self {
        Self {
            reader: format!("{}-{:016x}", std::process::id(), rand::random::<u64>()),
            nudge: Arc::default(),
            connect_timeout: Duration::from_secs(10),
            liveness: Duration::from_mins(1),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            buffer_bytes: 8 << 20,
            stop_timeout: Duration::from_secs(2),
        }
    }
}
