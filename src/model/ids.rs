//! Names of things inside one process. None of them leaves it, but for the client's own operation id.

use std::sync::Arc;

/// One subscription of one session. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u64);

/// One connected client. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// The id that the client chose for its operation: opaque, unique only within its session.
pub type OperationId = Arc<str>;
