//! Sessions with a PostgreSQL server: where it is, how it is reached, and what each session has set.
//!
//! ```text
//! conninfo ─▶ socket + tls ─▶ a stream ─▶ sql: an ordinary session, or the capture's own replication session
//! ```
//!
//! - A connection string means what it means to libpq (manual, section 34.1.1), `PG*` variables and `~/.pgpass` included.
//! - Every session pins the settings that could change an answer or end it: see `pinned`.
//! - An error says which server, what is wrong and what to do. It never has a password.

mod certificate;
mod conninfo;
mod error;
mod pinned;
mod refusal;
mod socket;
mod sql;
mod tls;

pub(crate) use conninfo::{ChannelBinding, Endpoint};
pub use conninfo::{Conninfo, SslMode};
pub use error::{ConnectionError, ServerError};
pub(crate) use pinned::{LATER, STARTUP};
pub(crate) use refusal::{check_encoding, classify};
pub(crate) use socket::{Found, Stream};
pub(crate) use sql::Bell;
pub use sql::hidden_error;
