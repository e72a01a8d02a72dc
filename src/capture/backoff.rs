//! How long to wait before the next attempt: exponential with full jitter, so that many processes which lost the same
//! server do not come back in step. Pure: chance comes in as a number.

use std::time::Duration;

/// The state of one outage, or of a row of them that follow each other too quickly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    floor: Duration,
    ceiling: Duration,
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(floor: Duration, ceiling: Duration) -> Self {
        Self { floor, ceiling: ceiling.max(floor), attempts: 0 }
    }

    /// A wait between the floor and `floor * 2^attempts` (at most the ceiling), evenly spread by `chance` in `0..1`.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let reach = self.floor.saturating_mul(1 << self.attempts.min(20)).min(self.ceiling);
        self.attempts = self.attempts.saturating_add(1);
        self.floor + reach.saturating_sub(self.floor).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// A connection that lived as long as the ceiling ends the outage; a shorter life does not, so that a server which
    /// accepts and drops us is not hammered.
    pub(super) fn lived(&mut self, life: Duration) {
        if life >= self.ceiling {
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    const FLOOR: Duration = Duration::from_millis(50);
    const CEILING: Duration = Duration::from_secs(5);

    #[test]
    fn the_reach_doubles_up_to_the_ceiling_and_never_leaves_the_bounds() {
        let mut backoff = Backoff::new(FLOOR, CEILING);
        let reaches: Vec<u128> = (0..10).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(reaches, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(backoff.next(0.0), FLOOR);
        assert!((0..100).all(|_| backoff.next(0.5) <= CEILING));
    }

    #[test]
    fn a_short_life_does_not_reset_the_waits_and_a_long_one_does() {
        let mut backoff = Backoff::new(FLOOR, CEILING);
        let _spent: Vec<Duration> = (0..5).map(|_| backoff.next(1.0)).collect();
        backoff.lived(Duration::from_millis(10));
        assert_eq!(backoff.next(1.0).as_millis(), 1600);
        backoff.lived(CEILING);
        assert_eq!(backoff.next(1.0), FLOOR);
    }

    #[test]
    fn a_ceiling_below_the_floor_is_lifted_to_it() {
        assert_eq!(Backoff::new(CEILING, FLOOR).next(0.7), CEILING);
    }
}
