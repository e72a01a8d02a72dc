//! The replication stream of a slot.
//!
//! It reads the server's unmodified `pgoutput` messages from a slot of a [`SlotPool`], for one publication.
//!
//! - The server gets status updates on time, even if the consumer is slow (`feedback`).
//! - The slot is checked before it is read (`slot`), and the publication is watched while it is read (`watch`).
//! - A slot that other clients may rely on is never replaced.

mod feedback;
mod line;
mod link;
mod pool;
mod pump;
mod settings;
mod slot;
mod startup;
mod watch;

pub use pool::{IdleSlots, SlotPool, pool_slots};
pub use settings::WalSettings;
