//! Every bound of a session, its unit, what happens there, and what it costs at worst.

use std::time::Duration;

/// How deep a message may nest. Below `serde_json`'s own limit of 128, so that ours is the reason given, and far below
/// what Python's `json` can follow.
pub const DEPTH_MAX: usize = 100;

/// The longest operation id. It is repeated in each frame of its operation.
pub const ID_BYTES_MAX: usize = 4096;

/// The bounds of one session.
///
/// What a session can hold, at worst, is `queue_bytes_max + one frame + held_bytes_max + operations_max * ID_BYTES_MAX`
/// bytes (where frames are larger than a sixteenth of `queue_bytes_max`, up to 16 frames of 16 times that for a quarter
/// of `queue_age_max`), and for the moment in which a message is parsed up to about 100 times `message_bytes_max` (an
/// array of one-key objects is that much larger as a tree than as text). A process is bounded by its number of sessions
/// times that. An idle session holds none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a client may take to send `connection_init`; then 4408. The reference server gives it 3 s; ours is
    /// longer because `connectionParams` often fetch a token after the socket has opened.
    pub init_wait: Duration,
    /// How long a client may be silent before it is sent a `ping`; `None` never asks. 12 s as in the reference server.
    pub ping_interval: Option<Duration>,
    /// How long it may stay silent after that; then 3008. 12 s as in the reference server.
    pub pong_timeout: Duration,
    /// The longest message in bytes; beyond it 4400. It is checked before anything is parsed.
    pub message_bytes_max: usize,
    /// The most operations that are active at once; one more is answered with an `error`, code `OPERATION_LIMIT`.
    pub operations_max: usize,
    /// What a client may pipeline behind an unanswered `connection_init`, in bytes of its messages; beyond it 4401,
    /// which is what the protocol's text says of any subscribe before the ack.
    pub held_bytes_max: usize,
    /// The most bytes that wait for the sender, counted with what the queue itself spends on each frame; at the bound
    /// what may be folded is, and if that does not help the queue is freed and the session closes with 1013. Up to 16
    /// frames may exceed it, 16 times at most, as long as the sender came within a quarter of `queue_age_max`.
    pub queue_bytes_max: usize,
    /// The longest that a frame may wait for the sender; at the bound as above. The socket's own buffers come on top:
    /// they swallow about 4 MiB before anything is seen to wait.
    pub queue_age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            init_wait: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(12)),
            pong_timeout: Duration::from_secs(12),
            message_bytes_max: 256 * 1024,
            operations_max: 100,
            held_bytes_max: 64 * 1024,
            queue_bytes_max: 1024 * 1024,
            queue_age_max: Duration::from_secs(10),
        }
    }
}
