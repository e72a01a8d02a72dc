//! Chance, by seed: the same seed makes the same world.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(super) struct Dice(StdRng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(StdRng::seed_from_u64(seed))
    }

    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }

    /// At least `least`, at most `most`.
    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        self.0.random_range(least..=most)
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.0.random_range(0..from.len())]
    }

    /// So many different ones, in their order.
    pub(super) fn some<T: Copy>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut left = from.len();
        let mut wanted = count.min(left);
        let mut taken = Vec::with_capacity(wanted);
        for item in from {
            if wanted > 0 && self.0.random_range(0..left) < wanted {
                taken.push(*item);
                wanted -= 1;
            }
            left -= 1;
        }
        taken
    }
}
