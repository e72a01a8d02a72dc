//! The outbox: what triggers have written down, for databases without logical replication (`sql/tables/outbox*.sql`).
//!
//! What comes in: the rows of `rowcast.outbox`, in the order that `rowcast.outbox_window` gives to their transactions. What
//! goes out: the same messages that a replication stream has, so that nobody behind knows the difference: each
//! transaction between Begin and Commit, descriptions of tables before their rows. What is promised: every transaction
//! once for each connection, in the same order for every reader; a large one needs no more memory than a small one; while
//! nothing is written nothing is asked, but once a second whether everybody is still alive. What is never done: a window is not
//! passed over, and one that was emptied before it was read ends the capture (`OUTBOX_TRIMMED`), never in silence.
//!
//! ```text
//!  triggers ─▶ rowcast.outbox ─▶ close_window: whose transactions have ended, in which order ─▶ outbox_window
//!                    │                                                                             │
//!                    └────────────▶ session: rows of a window, one after the other ◀────────────────┘
//!                                        │ change                        rhythm: when to ask again
//!                                        ▼
//!                                   scribe: messages of pgoutput ─▶ handover ─▶ the consumer
//! ```
//!
//! Several engines read the same outbox. Whoever comes first closes a window, the others are notified. One of them, the
//! poller, asks every few milliseconds while changes come; it sleeps under a lock that makes writers notify.

mod line;
mod message;
mod reader;
mod rhythm;
mod scribe;
mod session;
mod settings;

pub use settings::OutboxSettings;

/// Positions of an outbox are no places in the WAL that a replication stream would know: a cursor of the one must not be
/// taken for one of the other. No server has as many timelines.
const TIMELINE: u32 = 1 << 31;
