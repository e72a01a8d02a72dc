//! Bytes become names, once: the messages of PostgreSQL's `pgoutput` plugin (protocol version 1) to shared events.
//!
//! What comes in: one message at a time, as the server framed it, and the watched tables. What is promised: every fact
//! that the wire keeps is kept (NULL, an unchanged TOAST value and a column that was not sent stay three things),
//! values are slices of the message, an event's position depends on the transaction alone and not on who watches what,
//! and bytes that PostgreSQL would not send are an error with a name and an offset. What is never done: no panic on any
//! input, no socket, no clock, no guess at a value.
//!
//! ```text
//!  Begin   Relation   Insert … Update … Delete … Truncate … Message   Commit
//!    │        │          └──────────────┬────────────────────┘           │
//!  position  wire columns          Arc<Event>, ordinal 0, 1, 2 …     end_lsn
//!            -> table columns
//! ```
//!
//! [`json`] is the second half: a value's text to its JSON form, straight into the payload's buffer.

mod assemble;
mod cursor;
mod error;
pub mod json;
mod partition;
mod pgoutput;
mod publication;
mod relation;

pub use assemble::{Decoded, Decoder, Tables};
pub use error::DecodeError;
pub use publication::Ignored;
