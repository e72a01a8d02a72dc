//! The clock of one engine: the machine's time, or the time that a test sets.
//!
//! - A clock that a test moves stands still between the moves.
//! - Its monotonic time and its calendar time move together.
//! - The clock does not pace anything: rates, waiting threads and everything about a server use the machine's own time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::model::Timestamp;

/// The machine's, unless it was made by [`Clock::by_hand`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Option<Arc<Hand>>);

#[derive(Debug)]
struct Hand {
    born: Instant,
    begins: Timestamp,
    moved_us: AtomicU64,
}

impl Clock {
    /// A clock that stands at `begins` until a test moves it.
    pub(crate) fn by_hand(begins: Timestamp) -> Self {
        Clock(Some(Arc::new(Hand { born: Instant::now(), begins, moved_us: AtomicU64::new(0) })))
    }

    /// For intervals.
    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(hand) => hand.born.checked_add(hand.moved()).unwrap_or(hand.born),
        }
    }

    /// For dates.
    pub(crate) fn date(&self) -> Timestamp {
        match &self.0 {
            None => {
                let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp(micros(since_epoch))
            }
            Some(hand) => Timestamp(hand.begins.0.saturating_add(micros(hand.moved()))),
        }
    }

    /// A date on the monotonic face; a past one is now.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let left = u64::try_from(at.0.saturating_sub(self.date().0)).unwrap_or(0);
        // Tokens do not live for centuries; one that says so does not overflow the clock.
        self.now() + Duration::from_micros(left).min(Duration::from_hours(100 * 365 * 24))
    }

    /// Whether a test moves it.
    pub(crate) fn is_by_hand(&self) -> bool {
        self.0.is_some()
    }

    /// Moves it on; whether it can be moved.
    pub(crate) fn advance(&self, by: Duration) -> bool {
        let Some(hand) = &self.0 else { return false };
        hand.moved_us.fetch_add(by.as_micros().try_into().unwrap_or(0), Ordering::SeqCst);
        true
    }
}

impl Hand {
    fn moved(&self) -> Duration {
        Duration::from_micros(self.moved_us.load(Ordering::SeqCst))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_by_hand_stands_still_until_it_is_moved_and_both_faces_move_together() {
        let clock = Clock::by_hand(Timestamp(1_000_000));
        let (born, later) = (clock.now(), clock.instant_of(Timestamp(61_000_000)));
        assert_eq!((clock.now(), clock.date()), (born, Timestamp(1_000_000)));
        assert!(clock.advance(Duration::from_mins(1)));
        assert_eq!((clock.now(), clock.date()), (later, Timestamp(61_000_000)));
        assert_eq!(clock.instant_of(Timestamp(0)), later, "what is over is now");
    }

    #[test]
    fn the_machines_clock_cannot_be_moved() {
        assert!(!Clock::default().advance(Duration::from_secs(1)));
    }
}
