//! Capture: the committed changes of one PostgreSQL database as a stream of `pgoutput` messages.
//!
//! It takes a connection string and the names of a slot and a publication, and yields [`Captured`] in WAL order, each
//! message a slice of the buffer it was read into.
//!
//! - The server gets status updates on time, even if the consumer is slow.
//! - A lost connection is resumed at the acknowledged position and reported (`Interrupted`, `Resumed`). If that would
//!   leave a gap, the capture ends with `Failed`.
//! - Capture does not decode, filter or deduplicate. After a reconnect the server repeats unconfirmed changes, which the
//!   consumer recognises by position.
//! - Capture never replaces a lost slot by itself, because a new slot is a gap: the caller has to start again.
//!
//! ```text
//! conninfo ─▶ socket + tls ─▶ supervisor ⟲ wal (startup, slot, pump) or outbox (session, reader) ─▶ handover ─▶ Capture
//! what to reach   a stream     reconnects    a slot, checked and read    windows of a table          bounded    the consumer
//! ```
//!
//! The replication client is our own, on `postgres-protocol`, because a change feed must control the wire: the last
//! acknowledgement has to go out before the stream is closed, errors and notices are needed in their fields and not as
//! text (the server reports a dropped publication only by a WARNING), a dead peer has to be noticed, and status updates may not
//! wait for the consumer. `tokio-postgres` has no replication mode; it serves the ordinary sessions, over the same
//! sockets and the same TLS.

mod acknowledged;
mod backoff;
mod captured;
mod consumer;
mod error;
mod handover;
mod outbox;
mod supervisor;
mod wal;
mod wire;

pub use captured::{Captured, ServerIdentity};
pub use consumer::Capture;
pub use error::CaptureError;
pub use outbox::OutboxSettings;
pub use wal::{IdleSlots, SlotPool, WalSettings, pool_slots};
