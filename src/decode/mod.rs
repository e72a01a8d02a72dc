//! Decodes messages of PostgreSQL's `pgoutput` plugin (protocol version 1) into shared events.
//!
//! The decoder takes one message at a time, as the server framed it, and the watched tables. It returns the events that
//! these messages describe.
//!
//! - The decoder keeps every distinction of the wire format: NULL, an unchanged TOAST value and a column that was not
//!   sent remain three different things.
//! - Values are slices of the message.
//! - An event's position depends on its transaction alone, not on which tables are watched.
//! - Bytes that PostgreSQL would not send are an error with a name and an offset. No input causes a panic.
//! - The decoder uses no socket and no clock, and never guesses a value.
//!
//! ```text
//!  Begin   Relation   Insert … Update … Delete … Truncate … Message   Commit
//!    │        │          └──────────────┬────────────────────┘           │
//!  position  wire columns          Arc<Event>, ordinal 0, 1, 2 …     end_lsn
//!            -> table columns
//! ```
//!
//! [`json`] converts a value's text to JSON and writes it directly into the payload's buffer.

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
