//! What rowcast keeps in the user's database: the migrations, and the calls of its SQL functions.
//!
//! What comes in: a connected client of a role that may do what is asked. What is promised: every call is one
//! statement or one transaction, so it happens wholly or not at all, also when its future is dropped; every error has a
//! stable code and names the grant or the statement that is missing. What is never done: no SQL is built from names or
//! values, and no row value gets into an error.

mod calls;
mod error;
mod migrate;
mod uninstall;

pub use calls::{
    ReplicaIdentityChoice, StatusLine, WatchRequest, close_sessions, ensure_publication, mend_publication,
    note_coverage, publish, relation, start_outbox, status, unwatch, wal_position, watch,
};
pub use error::{Refusal, StoreError};
pub use migrate::{Migration, migrate, migrations, pending};
pub use uninstall::{Uninstall, uninstall};
