//! How a policy behaves: fast ones share trips, slow ones have a session to themselves, and failures are counted.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::TableName;
use crate::security::Question;

/// As many images as one statement takes at most.
pub(super) const IMAGES_MAX: usize = 512;
/// Beyond this for one image a policy is slow: a simple one takes 0.3 ms alone and 5 us among many.
const SLOW: Duration = Duration::from_millis(50);
/// A trip that takes longer is made with fewer images the next time: others wait for its session.
const TRIP: Duration = Duration::from_millis(100);
/// By how much a batch shrinks after a timeout: 512 images come to one in three steps.
const SHRINK: usize = 8;
/// One failure may be chance, and so may five at once: both together are a lasting failure.
const FAILURES: u32 = 5;
const PERSISTS: Duration = Duration::from_secs(5);
/// A policy that keeps raising costs the server a statement for each image. It is asked again only after several times as
/// long as that took, so that other policies have the server.
const SHARE: u32 = 8;
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// The engine waits for a server that restarts: until then the stream brings nothing either.
const OUTAGE: Duration = Duration::from_secs(30);

/// Policies of one table as one role, whatever the settings.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PolicyKey {
    table: TableName,
    role: Box<str>,
    condition: Box<str>,
}

impl PolicyKey {
    pub(super) fn of(question: &Question) -> Self {
        let Question { table, role, condition, .. } = question;
        PolicyKey { table: table.clone(), role: role.clone(), condition: condition.clone() }
    }
}

/// What may be expected of a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PolicyState {
    /// Nothing is known: it is asked alone. Entered at birth, and by a trip of several that took long.
    #[default]
    Unknown,
    /// It answered quickly: it shares trips with others.
    Fast,
    /// It was slow, ran into its timeout, keeps raising, or its session was lost: it is asked alone in the session kept
    /// for such.
    Slow,
}

/// How one batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// At least one image was decided.
    Answered,
    /// Not one was: each raised, or the question cannot be asked.
    Failed,
    /// The time limit was hit.
    TimedOut,
    /// No session, or one that was lost.
    Disconnected,
    /// Its turn did not come.
    Passed,
}

/// One policy's standing.
#[derive(Debug, Default)]
pub(super) struct Policy(Mutex<Behaviour>);

#[derive(Debug)]
struct Behaviour {
    standing: PolicyState,
    images_max: usize,
    streak: Streak,
}

impl Default for Behaviour {
    fn default() -> Self {
        Behaviour { standing: PolicyState::default(), images_max: IMAGES_MAX, streak: Streak::default() }
    }
}

/// How many images were asked by the whole trip, by this batch, and how long the trip took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    pub(super) batch: usize,
    pub(super) trip: usize,
    pub(super) took: Duration,
}

impl Policy {
    pub(super) fn standing(&self) -> PolicyState {
        self.0.lock().standing
    }

    /// How many images to ask at once.
    pub(super) fn images_max(&self) -> usize {
        self.0.lock().images_max
    }

    /// Whether it persistently fails.
    pub(super) fn note(&self, turn: Turn, pace: Speed, now: Instant) -> bool {
        let mut behaviour = self.0.lock();
        let persists = behaviour.streak.note(turn, now);
        behaviour.standing = match turn {
            Turn::Failed if behaviour.streak.is_long() => PolicyState::Slow,
            _ => behaviour.standing.after(turn, pace),
        };
        behaviour.images_max = after(behaviour.images_max, turn, pace);
        persists
    }

    /// How long to leave it alone after this turn.
    pub(super) fn pause(&self, pace: Speed) -> Duration {
        let pause = if self.0.lock().streak.is_long() { pace.took * SHARE } else { Duration::ZERO };
        pause.min(PAUSE_MAX)
    }

    /// The next image starts without this history.
    pub(super) fn forgive(&self) {
        self.0.lock().streak = Streak::default();
    }

    /// How long to wait after trouble with the connection.
    pub(super) fn backoff(&self) -> Duration {
        Duration::from_millis(50 << self.0.lock().streak.failures.min(4))
    }
}

impl PolicyState {
    fn after(self, turn: Turn, pace: Speed) -> PolicyState {
        let alone = pace.batch == pace.trip;
        let slow = pace.took > SLOW * u32::try_from(pace.trip.max(1)).unwrap_or(u32::MAX);
        match turn {
            Turn::TimedOut | Turn::Disconnected => PolicyState::Slow,
            Turn::Passed => self,
            Turn::Answered | Turn::Failed if !slow => PolicyState::Fast,
            Turn::Answered | Turn::Failed if alone => PolicyState::Slow,
            Turn::Answered | Turn::Failed => PolicyState::Unknown,
        }
    }
}

fn after(images_max: usize, turn: Turn, pace: Speed) -> usize {
    let next = match turn {
        Turn::TimedOut => pace.batch / SHRINK,
        Turn::Answered | Turn::Failed if pace.took > TRIP && pace.batch == pace.trip => pace.batch / 2,
        Turn::Answered | Turn::Failed if pace.took < TRIP / 2 => images_max * 2,
        Turn::Answered | Turn::Failed | Turn::Disconnected | Turn::Passed => images_max,
    };
    next.clamp(1, IMAGES_MAX)
}

/// Failures without a success between.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Streak {
    failures: u32,
    since: Option<Instant>,
}

impl Streak {
    /// Whether the failure lasts.
    pub(super) fn note(&mut self, turn: Turn, now: Instant) -> bool {
        let patience = match turn {
            Turn::Passed => return false,
            Turn::Answered => {
                *self = Streak::default();
                return false;
            }
            Turn::Failed | Turn::TimedOut => PERSISTS,
            Turn::Disconnected => OUTAGE,
        };
        self.failures = self.failures.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        self.is_long() && now.saturating_duration_since(since) >= patience
    }

    /// More than chance.
    fn is_long(&self) -> bool {
        self.failures >= FAILURES
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{IMAGES_MAX, Policy, PolicyState, Speed, Streak, Turn};

    fn pace(batch: usize, trip: usize, ms: u64) -> Speed {
        Speed { batch, trip, took: Duration::from_millis(ms) }
    }

    #[test]
    fn a_slow_policy_is_set_apart_until_it_answers_quickly() {
        let (policy, now) = (Policy::default(), Instant::now());
        policy.note(Turn::Answered, pace(10, 10, 2), now);
        assert_eq!(policy.standing(), PolicyState::Fast);
        policy.note(Turn::TimedOut, pace(10, 10, 1000), now);
        assert_eq!((policy.standing(), policy.images_max()), (PolicyState::Slow, 1));
        policy.note(Turn::Answered, pace(1, 1, 51), now);
        assert_eq!(policy.standing(), PolicyState::Slow);
        policy.note(Turn::Answered, pace(1, 1, 2), now);
        assert_eq!((policy.standing(), policy.images_max()), (PolicyState::Fast, 2));
    }

    #[test]
    fn a_policy_that_keeps_raising_is_set_apart_and_asked_less_until_it_answers() {
        let (policy, now) = (Policy::default(), Instant::now());
        (0..4).for_each(|_| assert!(!policy.note(Turn::Failed, pace(10, 10, 2), now)));
        assert_eq!((policy.standing(), policy.pause(pace(10, 10, 2))), (PolicyState::Fast, Duration::ZERO));
        policy.note(Turn::Failed, pace(10, 10, 2), now);
        assert_eq!((policy.standing(), policy.pause(pace(10, 10, 2))), (PolicyState::Slow, Duration::from_millis(16)));
        assert_eq!(policy.pause(pace(1, 1, 1000)), Duration::from_millis(250));
        policy.note(Turn::Answered, pace(10, 10, 2), now);
        assert_eq!((policy.standing(), policy.pause(pace(10, 10, 2))), (PolicyState::Fast, Duration::ZERO));
    }

    #[test]
    fn nobody_is_called_slow_for_the_company_it_was_in() {
        let policy = Policy::default();
        policy.note(Turn::Answered, pace(1, 3, 200), Instant::now());
        assert_eq!((policy.standing(), policy.images_max()), (PolicyState::Unknown, IMAGES_MAX));
    }

    #[test]
    fn only_many_failures_over_some_time_are_no_passing_trouble() {
        let (mut streak, start) = (Streak::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        assert!((0..10).all(|_| !streak.note(Turn::Failed, start)));
        assert!(streak.note(Turn::Failed, at(5)));
        assert!(!streak.note(Turn::Answered, at(5)) && !streak.note(Turn::Failed, at(60)));
        assert!((1..4).all(|s| !streak.note(Turn::Disconnected, at(60 + s))));
        assert!(!streak.note(Turn::Disconnected, at(80)) && streak.note(Turn::Disconnected, at(90)));
    }
}
