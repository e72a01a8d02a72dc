//! The outbox: what triggers have written down, for databases without logical replication (`sql/outbox/`).
//!
//! It reads the rows of `rowcast.outbox` in the order that `rowcast.outbox_window` gives to their transactions, and yields
//! the messages of a replication stream: each transaction between Begin and Commit, tables described before their rows.
//!
//! - Each connection gets each transaction once, and all readers get the same order.
//! - A large transaction needs no more memory than a small one.
//! - While nothing is written, the only query is a check once a second that the other readers are alive.
//! - No window is skipped. A window that was emptied before it was read ends the capture with `OUTBOX_TRIMMED`.
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
//! Several engines read the same outbox. The first one closes a window and notifies the others. One of them, the
//! poller, asks every few milliseconds while changes come; it sleeps under a lock that makes writers notify.

mod line;
mod message;
mod reader;
mod rhythm;
mod scribe;
mod session;
mod settings;

pub use settings::OutboxSettings;

/// Outbox positions are not WAL positions: a cursor of one capture must not be accepted by the other. No server has as many timelines.
const TIMELINE: u32 = 1 << 31;
