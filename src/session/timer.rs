//! All deadlines of a session in one place. Nothing here sleeps: the driver reads the next deadline and passes the
//! time.

use std::time::{Duration, Instant};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// `connection_init` did not arrive: 4408. Set when the session starts, stopped by the init, not by its hook's
    /// answer.
    Init,
    /// The credentials end: 4403. Set when they are accepted.
    Expiry,
    /// The client did not answer a ping: 3008. Set with each ping, stopped by any message from the client.
    Pong,
    /// The client has been silent: send a ping. Set when accepted and again by every message from the client.
    Ping,
}

impl Timer {
    /// In the order in which they fire when several are due: an end before a ping.
    pub(super) const VALUES: [Timer; 4] = [Timer::Init, Timer::Expiry, Timer::Pong, Timer::Ping];
}

/// The deadlines that are set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::VALUES.len()]);

impl Timers {
    /// Due at `deadline`, in place of an earlier setting.
    pub(super) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.0[timer as usize] = Some(deadline);
    }

    /// Due `wait` from now; never, when the clock cannot count that far.
    pub(super) fn after(&mut self, timer: Timer, now: Instant, wait: Duration) {
        self.0[timer as usize] = now.checked_add(wait);
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn stop_all(&mut self) {
        self.0 = Default::default();
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    pub(super) fn is_expired(&self, timer: Timer, now: Instant) -> bool {
        self.0[timer as usize].is_some_and(|deadline| deadline <= now)
    }
}
