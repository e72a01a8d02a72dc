//! How much of what an address or a principal may do in a second.
//!
//! Each decision is O(1) (governor's cell rate), the number of remembered keys is bounded, and a refusal says how long to
//! wait. Nothing waits here, and no name is kept: keys are hashes under a secret of this process.
//!
//! An IPv6 address counts as its /64, which is what one customer of a provider has. A principal is its user within its
//! tenant, else its tenant, else the address it comes from, else one key for all clients without an address.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::config::{Rate, RateLimits};
use crate::failure::{Failure, RetryAfter};
use crate::metrics::{Metric, Metrics};
use crate::model::Principal;

/// Keys remembered for each kind; about 50 bytes each. While there are more, all keys share [`SHARED`] cells between
/// them, until the sweep has removed the idle ones: clients may then be refused because of others.
const KEYS_MAX: usize = 100_000;
const SHARED: u64 = 1024;

/// A request for the schema counts as so many operations more: it costs milliseconds, and its answer many KiB.
const INTROSPECTION: u32 = 20;

/// A hash of the address or principal that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateKey(u64);

/// The four kinds.
pub(crate) struct Rates {
    connects: Option<Limiter>,
    subscribes: Option<Limiter>,
    messages: Option<Limiter>,
    delegated: Option<Limiter>,
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

impl Rates {
    pub(crate) fn new(limits: &RateLimits, metrics: Arc<Metrics>) -> Self {
        let limiter = |rate: Option<Rate>| rate.and_then(|rate| Limiter::new(rate, KEYS_MAX, DefaultClock::default()));
        Rates {
            connects: limiter(limits.connects),
            subscribes: limiter(limits.subscribes),
            messages: limiter(limits.messages),
            delegated: limiter(limits.delegated),
            hasher: RandomState::new(),
            metrics,
        }
    }

    /// The key of a connection that has not authenticated.
    pub(crate) fn of_address(&self, address: Option<&str>) -> RateKey {
        RateKey(match address.map(|text| (text, text.parse::<IpAddr>())) {
            None => self.hasher.hash_one("nobody"),
            Some((_, Ok(IpAddr::V6(address)))) if address.to_ipv4_mapped().is_none() => {
                self.hasher.hash_one(("network", &address.octets()[..8]))
            }
            Some((_, Ok(address))) => self.hasher.hash_one(("address", address.to_canonical())),
            Some((text, Err(_))) => self.hasher.hash_one(("name", text)),
        })
    }

    /// The key of a principal that comes from this address.
    pub(crate) fn of_principal(&self, principal: &Principal, address: Option<&str>) -> RateKey {
        match (&principal.user_id, &principal.tenant_id) {
            (Some(user), tenant) => RateKey(self.hasher.hash_one(("user", user, tenant))),
            (None, Some(tenant)) => RateKey(self.hasher.hash_one(("tenant", tenant))),
            (None, None) => self.of_address(address),
        }
    }

    /// Forgets the keys that were idle for long enough to have their whole burst again.
    pub(crate) fn sweep(&self) {
        for limiter in [&self.connects, &self.subscribes, &self.messages, &self.delegated].into_iter().flatten() {
            limiter.sweep();
        }
    }
}

/// Each is counted when it is refused.
impl Rates {
    /// One more connection. Those without an address are not limited: one of them would shut out the others.
    pub(crate) fn check_connect(&self, address: Option<&str>) -> Result<(), RetryAfter> {
        let Some(address) = address else { return Ok(()) };
        let key = self.of_address(Some(address));
        counted(check(self.connects.as_ref(), key), &self.metrics.rate_limited_connects_total)
    }

    /// One more message.
    pub(crate) fn check_message(&self, key: RateKey) -> Result<(), RetryAfter> {
        counted(check(self.messages.as_ref(), key), &self.metrics.rate_limited_messages_total)
    }

    /// One more operation.
    pub(crate) fn check_subscribe(&self, key: RateKey) -> Result<(), Failure> {
        let checked = check(self.subscribes.as_ref(), key);
        let limited = |after| Failure::rate_limited("operations begin", after);
        counted(checked, &self.metrics.rate_limited_subscribes_total).map_err(limited)
    }

    /// The operation asks for the schema.
    pub(crate) fn check_introspection(&self, key: RateKey) -> Result<(), Failure> {
        let checked = self.subscribes.as_ref().map_or(Ok(()), |limiter| limiter.check_many(key, INTROSPECTION));
        let limited = |after| Failure::rate_limited("requests for the schema", after);
        counted(checked, &self.metrics.rate_limited_subscribes_total).map_err(limited)
    }

    /// One more subscription whose row policy PostgreSQL has to be asked about.
    pub(crate) fn check_delegated(&self, key: RateKey) -> Result<(), Failure> {
        let checked = check(self.delegated.as_ref(), key);
        let limited = |after| Failure::rate_limited("subscriptions begin whose policy has to be asked", after);
        counted(checked, &self.metrics.rate_limited_delegated_total).map_err(limited)
    }
}

fn check(limiter: Option<&Limiter>, key: RateKey) -> Result<(), RetryAfter> {
    limiter.map_or(Ok(()), |limiter| limiter.check(key))
}

fn counted(checked: Result<(), RetryAfter>, metric: &Metric) -> Result<(), RetryAfter> {
    checked.inspect_err(|_| metric.add(1))
}

/// One kind's cells.
struct Limiter<C: Clock = DefaultClock> {
    cells: RateLimiter<u64, DashMapStateStore<u64>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    burst: u32,
    keys_max: usize,
    /// No more keys than these are remembered: those of the last count and one for each check since.
    keys: AtomicUsize,
}

impl<C: Clock + Clone> Limiter<C> {
    /// `None` for a rate that settings do not let through.
    fn new(rate: Rate, keys_max: usize, clock: C) -> Option<Self> {
        let period = Duration::try_from_secs_f64(rate.per_s.recip()).ok()?;
        let quota = Quota::with_period(period)?.allow_burst(NonZeroU32::new(rate.burst)?);
        let cells = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Some(Limiter { cells, clock, burst: rate.burst, keys_max, keys: AtomicUsize::new(0) })
    }

    fn check(&self, key: RateKey) -> Result<(), RetryAfter> {
        self.check_many(key, 1)
    }

    /// As many cells at once, but never more than a burst has.
    fn check_many(&self, RateKey(key): RateKey, cells: u32) -> Result<(), RetryAfter> {
        let key = if self.is_full() { key % SHARED } else { key };
        let Some(cells) = NonZeroU32::new(cells.min(self.burst)) else { return Ok(()) };
        let checked = self.cells.check_key_n(&key, cells).unwrap_or(Ok(()));
        checked.map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            RetryAfter(wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero()))
        })
    }

    /// Counting takes every shard's lock, so it is done when there may be too many and not for each check.
    fn is_full(&self) -> bool {
        if self.keys.fetch_add(1, Ordering::Relaxed) < self.keys_max {
            return false;
        }
        let remembered = self.cells.len();
        self.keys.store(remembered.min(self.keys_max), Ordering::Relaxed);
        remembered >= self.keys_max
    }

    fn sweep(&self) {
        if !self.cells.is_empty() {
            self.cells.retain_recent();
            self.cells.shrink_to_fit();
            self.keys.store(self.cells.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limiter(per_s: f64, burst: u32, keys_max: usize) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::new(Rate { per_s, burst }, keys_max, clock.clone()).unwrap(), clock)
    }

    fn rates() -> Rates {
        Rates::new(&RateLimits::default(), Arc::default())
    }

    #[test]
    fn the_burst_is_had_at_once_and_then_the_rate() {
        let (limiter, clock) = limiter(0.5, 3, 10);
        let alice = RateKey(1);
        for _ in 0..3 {
            assert_eq!(limiter.check(alice), Ok(()));
        }
        assert_eq!(limiter.check(alice), Err(RetryAfter(2)));
        assert_eq!(limiter.check(RateKey(2)), Ok(()), "each key has its own burst");
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(limiter.check(alice), Err(RetryAfter(1)), "the wait is in whole seconds, never too short");
        clock.advance(Duration::from_millis(500));
        assert_eq!(limiter.check(alice), Ok(()));
        assert_eq!(limiter.check(alice), Err(RetryAfter(2)));
        clock.advance(Duration::from_hours(1));
        for _ in 0..3 {
            assert_eq!(limiter.check(alice), Ok(()));
        }
        assert!(limiter.check(alice).is_err(), "a long pause gives the burst once");
    }

    #[test]
    fn an_expensive_request_takes_many_cells_and_at_most_the_burst() {
        let (few, clock) = limiter(1.0, 3, 10);
        assert_eq!(few.check_many(RateKey(1), 20), Ok(()));
        assert_eq!(few.check(RateKey(1)), Err(RetryAfter(1)));
        clock.advance(Duration::from_secs(2));
        assert_eq!(few.check_many(RateKey(1), 3), Err(RetryAfter(1)));
        assert_eq!(few.check_many(RateKey(1), 2), Ok(()));
    }

    #[test]
    fn waiting_as_long_as_told_is_enough() {
        for per_s in [0.001, 0.3, 1.0, 7.0, 999.0] {
            let (limiter, clock) = limiter(per_s, 1, 10);
            assert_eq!(limiter.check(RateKey(1)), Ok(()));
            let RetryAfter(seconds) = limiter.check(RateKey(1)).unwrap_err();
            clock.advance(Duration::from_secs(seconds));
            assert_eq!(limiter.check(RateKey(1)), Ok(()), "{per_s}");
        }
    }

    #[test]
    fn the_keys_that_are_remembered_are_bounded_and_the_sweep_forgets_the_quiet_ones() {
        let (limiter, clock) = limiter(1.0, 1, 2_000);
        for key in 0..50_000 {
            let _ = limiter.check(RateKey(u64::MAX - key));
        }
        assert!(limiter.cells.len() <= 2_000 + SHARED as usize, "{}", limiter.cells.len());
        clock.advance(Duration::from_secs(2));
        limiter.sweep();
        assert_eq!(limiter.cells.len(), 0);
        assert_eq!(limiter.check(RateKey(u64::MAX)), Ok(()));
        assert!(limiter.check(RateKey(u64::MAX)).is_err(), "each has its own again");
        assert_eq!(limiter.check(RateKey(u64::MAX - 1)), Ok(()));
    }

    #[test]
    fn a_few_keys_that_are_busy_are_not_taken_for_many() {
        let (limiter, _) = limiter(1_000_000.0, u32::MAX, 10);
        for round in 0..10_000_u64 {
            assert_eq!(limiter.check(RateKey(round % 5)), Ok(()));
        }
        assert_eq!(limiter.cells.len(), 5);
    }

    #[test]
    fn a_principal_is_its_user_else_its_tenant_else_its_address() {
        let rates = rates();
        let principal = |user: Option<&str>, tenant: Option<&str>| Principal {
            user_id: user.map(Into::into),
            tenant_id: tenant.map(Into::into),
            ..Principal::default()
        };
        let key = |user, tenant, address| rates.of_principal(&principal(user, tenant), address);
        let (here, there) = (Some("192.0.2.1"), Some("192.0.2.2"));
        assert_eq!(key(Some("7"), Some("acme"), here), key(Some("7"), Some("acme"), there));
        assert_ne!(key(Some("7"), Some("acme"), here), key(Some("7"), Some("globex"), here));
        assert_eq!(key(None, Some("acme"), here), key(None, Some("acme"), there));
        assert_ne!(key(Some("acme"), None, here), key(None, Some("acme"), here));
        assert_eq!(key(None, None, here), rates.of_address(here));
        assert_ne!(key(None, None, here), key(None, None, there));
        assert_eq!(key(None, None, None), rates.of_address(None));
    }

    #[test]
    fn an_address_of_ipv6_counts_as_its_network() {
        let rates = rates();
        let of = |text| rates.of_address(Some(text));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("::ffff:192.0.2.1"), of("::ffff:192.0.2.2"));
        assert_ne!(of("unix:1"), of("unix:2"));
    }

    #[test]
    fn twenty_thousand_sockets_of_one_principal_may_come_back_at_once() {
        let limits = RateLimits::default();
        assert_eq!(limits.connects, None);
        let clock = FakeRelativeClock::default();
        for (rate, each) in [(limits.subscribes, 1), (limits.messages, 4)] {
            let limiter = Limiter::new(rate.unwrap(), KEYS_MAX, clock.clone()).unwrap();
            for _ in 0..20_000 * each {
                assert_eq!(limiter.check(RateKey(1)), Ok(()));
            }
        }
    }
}
