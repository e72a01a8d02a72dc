//! Capture: the committed changes of one PostgreSQL database as a stream of `pgoutput` messages.
//!
//! What comes in: a connection string and the names of a slot and a publication. What goes out: [`Captured`], in the
//! order of the WAL, each message a slice of the buffer it was read into. What is promised: the server hears from us
//! on time however slow the consumer is; a lost connection is taken up again at the acknowledged position and is told
//! (`Interrupted`, `Resumed`); what cannot be taken up again without a gap ends in `Failed`, never in silence. What is
//! never done: a message is not decoded, filtered or deduplicated here (after a reconnect the server sends again what
//! was not confirmed; the consumer knows by position what it has), and a lost slot is never made anew behind a
//! consumer's back, because a new slot is a gap: who starts again says so.
//!
//! ```text
//! conninfo ─▶ socket + tls ─▶ supervisor ⟲ wal (startup, slot, pump) or outbox (session, reader) ─▶ handover ─▶ Capture
//! what to reach   a stream     reconnects    a slot, checked and read    windows of a table          bounded    the consumer
//! ```
//!
//! The replication client is our own, on `postgres-protocol`, because a change feed must control the wire: the last
//! acknowledgement has to go out before the stream is closed, errors and notices are needed in their fields and not as
//! text (a dropped publication is told by a WARNING alone), a dead peer has to be noticed, and status updates may not
//! wait for the consumer. `tokio-postgres` has no replication mode; it serves the ordinary sessions, over the same
//! sockets and the same TLS.

mod backoff;
mod catalog;
mod certificate;
mod conninfo;
mod consumer;
mod error;
mod handover;
mod mode;
mod naming;
mod outbox;
mod pinned;
mod refusal;
mod socket;
mod sql;
mod supervisor;
mod tls;
mod wal;
mod wire;

pub use catalog::{CatalogError, Coverage, FACTS, Fact, Fingerprint, Notice, TableProblem, Tables, WrittenTable};
pub use conninfo::{Conninfo, SslMode};
pub use consumer::{Capture, Captured, ServerIdentity};
pub use error::{CaptureError, ServerError};
pub use mode::CaptureMode;
pub use naming::Naming;
pub use outbox::OutboxSettings;
pub use sql::hidden_error;
pub use wal::{IdleSlots, SlotPool, WalSettings, pool_slots};
