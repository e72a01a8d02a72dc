//! When to ask again: often while changes come, not at all while none do. Pure: time comes in.

use std::time::{Duration, Instant};

/// Between two questions right behind a change, and when a while has gone by without one: a question costs the server 0.2 ms,
/// and a change waits for half of this on average.
const SHORTEST: Duration = Duration::from_millis(2);
const LONGEST: Duration = Duration::from_millis(5);
/// Polling stops after this long without a change.
const AWAKE: Duration = Duration::from_millis(250);

/// What to do until the next question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Ask again after this time.
    For(Duration),
    /// Sleep, if somebody would wake us.
    Asleep,
}

/// Since when nothing came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    quiet_since: Instant,
}

impl Rhythm {
    pub(super) fn new(now: Instant) -> Self {
        Self { quiet_since: now }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.quiet_since = now;
    }

    pub(super) fn wait(&self, now: Instant) -> Wait {
        let quiet = now.saturating_duration_since(self.quiet_since);
        if quiet >= AWAKE { Wait::Asleep } else { Wait::For((quiet / 2).clamp(SHORTEST, LONGEST)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{AWAKE, LONGEST, Rhythm, SHORTEST, Wait};
    use std::time::{Duration, Instant};

    #[test]
    fn it_is_asked_less_and_less_often_and_then_not_at_all() {
        let start = Instant::now();
        let mut rhythm = Rhythm::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(rhythm.wait(start), Wait::For(SHORTEST));
        assert_eq!(rhythm.wait(at(6)), Wait::For(Duration::from_millis(3)));
        assert_eq!(rhythm.wait(at(100)), Wait::For(LONGEST));
        assert_eq!(rhythm.wait(start + AWAKE), Wait::Asleep);
        rhythm.heard(at(300));
        assert_eq!(rhythm.wait(at(301)), Wait::For(SHORTEST));
    }
}
