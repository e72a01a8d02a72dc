//! The replication stream of a slot.
//!
//! What comes in: a slot of a [`SlotPool`] and a publication. What goes out: the server's `pgoutput` messages, as they are.
//! What is promised: the server hears from us on time however slow the consumer is (`feedback`); a slot is checked before
//! it is read (`slot`) and watched while it is (`watch`). What is never done: a slot that others may count on is not made anew.

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
