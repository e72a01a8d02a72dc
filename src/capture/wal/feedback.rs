//! Decides when to send the server a status update, and which. Pure: it maps time and positions to the next step.
//!
//! The server keeps WAL until its position is confirmed, drops a receiver that is silent for `wal_sender_timeout`, and does
//! not finish a fast shutdown before its last position is confirmed. So a status update is due: at once when it was
//! asked for, at once when the position it waits for is reached, `ack_delay` after another acknowledgement moved, and
//! every `status_interval` anyway.
//!
//! A server that shuts down keeps asking for its last position, which the consumer may hold back on purpose.
//! Confirming it would lose changes and waiting would delay the shutdown, so the connection is closed.

use std::time::{Duration, Instant};

use super::settings::WalSettings;
use crate::model::Lsn;

/// A server that stops asks again the moment it has its answer. While the consumer has not caught up the answer stays
/// the same, and repeating it faster than this would only burn both processors.
const SAME_ANSWER: Duration = Duration::from_millis(10);

/// So many questions, none of them answered as the server wants and each soon after the last, are asked by a server that
/// shuts down alone: otherwise it asks when half of its patience is over.
const PRESSED_MAX: u32 = 25;
const PRESSING: Duration = Duration::from_millis(300);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send a status update; `ask` for an answer.
    Tell { ask: bool },
    /// The server was silent for too long.
    GiveUp,
    /// The server shuts down and waits for us.
    GiveWay,
    /// Nothing before this instant, unless something is read or acknowledged.
    WaitUntil(Instant),
}

/// The feedback of one connection.
#[derive(Clone, Debug)]
pub(super) struct Feedback {
    status_interval: Duration,
    ack_delay: Duration,
    liveness: Duration,
    acked: Lsn,
    told: Lsn,
    /// The server asked for an answer that was not sent yet.
    asked_by_server: bool,
    /// The position that the server asked about and does not have confirmed.
    awaited: Option<Lsn>,
    /// How often it asked in a row, and when it did last.
    pressed: u32,
    last_asked: Instant,
    last_told: Instant,
    last_heard: Instant,
    asked_by_us: bool,
}

impl Feedback {
    /// `wal_sender_timeout` is the server's patience (zero: endless); we stay well below it.
    pub(super) fn new(settings: &WalSettings, wal_sender_timeout: Duration, acked: Lsn, now: Instant) -> Self {
        let patience = if wal_sender_timeout.is_zero() { Duration::MAX } else { wal_sender_timeout / 3 };
        Self {
            status_interval: settings.status_interval.min(patience),
            ack_delay: settings.ack_delay,
            liveness: settings.liveness,
            acked,
            told: acked,
            asked_by_server: false,
            awaited: None,
            pressed: 0,
            last_asked: now,
            last_told: now,
            last_heard: now,
            asked_by_us: false,
        }
    }

    /// The consumer's position. It never moves back.
    pub(super) fn acknowledge(&mut self, lsn: Lsn) {
        self.acked = self.acked.max(lsn);
    }

    /// Whether an acknowledgement that moves would bring the next step forward.
    pub(super) fn is_moved_by_progress(&self) -> bool {
        self.told == self.acked || self.awaited.is_some()
    }

    /// The newest position of the consumer that is known here.
    pub(super) fn known(&self) -> Lsn {
        self.acked
    }

    /// Bytes came, or reading starts again after a pause of our own.
    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.asked_by_us = false;
    }

    /// A keepalive asked for an answer.
    pub(super) fn asked(&mut self, wal_end: Lsn, now: Instant) {
        self.asked_by_server = true;
        self.awaited = (wal_end > self.told).then_some(wal_end);
        let again = self.awaited.is_some() && now.saturating_duration_since(self.last_asked) < PRESSING;
        self.pressed = if again { self.pressed + 1 } else { 0 };
        self.last_asked = now;
    }

    /// A status update went out; returns the position that it must carry.
    pub(super) fn tell(&mut self, ask: bool, now: Instant) -> Lsn {
        self.told = self.acked;
        self.asked_by_server = false;
        self.awaited = self.awaited.filter(|awaited| *awaited > self.told);
        self.last_told = now;
        self.asked_by_us |= ask;
        self.told
    }

    /// The next step. While we do not read (`listening` is false) silence proves nothing.
    pub(super) fn step(&self, listening: bool, now: Instant) -> Step {
        let silence = |part: Duration| listening.then(|| after(self.last_heard, part));
        let dead = silence(self.liveness);
        if dead.is_some_and(|at| at <= now) {
            return Step::GiveUp;
        }
        if self.pressed >= PRESSED_MAX {
            return Step::GiveWay;
        }
        let question = silence(self.liveness / 2).filter(|_| !self.asked_by_us);
        if question.is_some_and(|at| at <= now) {
            return Step::Tell { ask: true };
        }
        let status = [self.answer_at(now), self.progress_at(now)].into_iter().flatten();
        let status = status.fold(after(self.last_told, self.status_interval), Instant::min);
        if status <= now {
            return Step::Tell { ask: false };
        }
        Step::WaitUntil([dead, question].into_iter().flatten().fold(status, Instant::min))
    }

    fn answer_at(&self, now: Instant) -> Option<Instant> {
        let same = self.acked == self.told;
        self.asked_by_server.then(|| if same { after(self.last_told, SAME_ANSWER) } else { now })
    }

    fn progress_at(&self, now: Instant) -> Option<Instant> {
        let reached = self.awaited.is_some_and(|awaited| self.acked >= awaited);
        (self.acked > self.told).then(|| if reached { now } else { after(self.last_told, self.ack_delay) })
    }
}

/// `Instant + Duration` panics past the end of time; settings may be that long.
fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait).unwrap_or(start + Duration::from_hours(365 * 24))
}

#[cfg(test)]
mod tests {
    use super::{Feedback, Step};
    use crate::capture::wal::WalSettings;
    use crate::model::Lsn;
    use std::time::{Duration, Instant};

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn feedback() -> (Feedback, Instant) {
        let now = Instant::now();
        (Feedback::new(&WalSettings::new("s", "p"), ms(60_000), Lsn(10), now), now)
    }

    #[test]
    fn an_idle_connection_speaks_every_status_interval() {
        let (mut feedback, start) = feedback();
        assert_eq!(feedback.step(true, start), Step::WaitUntil(start + ms(10_000)));
        assert_eq!(feedback.step(true, start + ms(10_000)), Step::Tell { ask: false });
        assert_eq!(feedback.tell(false, start + ms(10_000)), Lsn(10));
        assert_eq!(feedback.step(true, start + ms(10_000)), Step::WaitUntil(start + ms(20_000)));
    }

    #[test]
    fn a_third_of_the_servers_patience_is_never_exceeded() {
        let start = Instant::now();
        let feedback = Feedback::new(&WalSettings::new("s", "p"), ms(3_000), Lsn(0), start);
        assert_eq!(feedback.step(false, start), Step::WaitUntil(start + ms(1_000)));
    }

    #[test]
    fn progress_is_told_after_the_ack_delay_and_never_moves_back() {
        let (mut feedback, start) = feedback();
        feedback.acknowledge(Lsn(20));
        feedback.acknowledge(Lsn(15));
        assert_eq!(feedback.step(true, start + ms(50)), Step::WaitUntil(start + ms(200)));
        assert_eq!(feedback.step(true, start + ms(200)), Step::Tell { ask: false });
        assert_eq!(feedback.tell(false, start + ms(200)), Lsn(20));
        assert!(feedback.is_moved_by_progress());
    }

    #[test]
    fn a_position_that_the_server_waits_for_is_told_at_once() {
        let (mut feedback, start) = feedback();
        let now = start + ms(100);
        feedback.asked(Lsn(30), now);
        assert_eq!(feedback.step(true, now), Step::Tell { ask: false });
        feedback.tell(false, now);
        feedback.acknowledge(Lsn(29));
        assert_eq!(feedback.step(true, now), Step::WaitUntil(now + ms(200)));
        feedback.acknowledge(Lsn(30));
        assert_eq!(feedback.step(true, now), Step::Tell { ask: false });
    }

    #[test]
    fn the_same_answer_is_not_repeated_without_a_pause() {
        let (mut feedback, start) = feedback();
        let now = start + ms(100);
        feedback.asked(Lsn(30), now);
        feedback.tell(false, now);
        feedback.asked(Lsn(30), now);
        assert_eq!(feedback.step(true, now), Step::WaitUntil(now + ms(10)));
        assert_eq!(feedback.step(true, now + ms(10)), Step::Tell { ask: false });
    }

    #[test]
    fn a_server_that_shuts_down_is_not_held_up_by_what_is_kept_back() {
        let (mut feedback, mut now) = feedback();
        for _ in 0..25 {
            assert_ne!(feedback.step(true, now), Step::GiveWay);
            now += ms(10);
            feedback.asked(Lsn(30), now);
            feedback.tell(false, now);
        }
        assert_eq!(feedback.step(true, now), Step::GiveWay);
    }

    #[test]
    fn a_server_that_asks_now_and_then_is_answered_for_ever() {
        let (mut feedback, mut now) = feedback();
        for _ in 0..100 {
            now += ms(500);
            feedback.heard(now);
            feedback.asked(Lsn(30), now);
            feedback.tell(false, now);
            assert_ne!(feedback.step(true, now), Step::GiveWay);
        }
    }

    #[test]
    fn silence_is_asked_about_once_and_then_given_up() {
        let (mut feedback, start) = feedback();
        assert_eq!(feedback.step(true, start + ms(30_000)), Step::Tell { ask: true });
        feedback.tell(true, start + ms(30_000));
        assert_eq!(feedback.step(true, start + ms(30_000)), Step::WaitUntil(start + ms(40_000)));
        assert_eq!(feedback.step(true, start + ms(60_000)), Step::GiveUp);
        assert_ne!(feedback.step(false, start + ms(60_000)), Step::GiveUp, "we did not listen");
        feedback.heard(start + ms(60_000));
        assert_ne!(feedback.step(true, start + ms(60_000)), Step::GiveUp);
    }

    #[test]
    fn endless_settings_are_no_panic() {
        let settings = WalSettings { liveness: Duration::MAX, ack_delay: Duration::MAX, ..WalSettings::new("s", "p") };
        let feedback = Feedback::new(&settings, Duration::ZERO, Lsn(0), Instant::now());
        assert!(matches!(feedback.step(true, Instant::now()), Step::WaitUntil(_)));
    }
}
