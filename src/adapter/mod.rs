//! The contract between the engine and whatever moves frames to sockets: today Python's event loops.
//!
//! What comes in: a token that names a session. What is promised: [`Wake::wake`] is called from any thread, returns
//! without waiting, and never runs foreign code under one of the engine's locks. The side behind it then calls
//! [`SessionHandle::take`](crate::engine::SessionHandle::take) until nothing is left.

/// Tells an event loop that a session has something to send.
pub trait Wake: Send + Sync {
    /// `token` is the session's id; [`RESOLVERS`] says that resolver calls are waiting.
    fn wake(&self, token: u64);
}

/// The token of the resolver queue. No session has it.
pub const RESOLVERS: u64 = 0;
