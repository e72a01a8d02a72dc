//! Tests of lanes and workers with a substitute for PostgreSQL.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::scheduler::{Asker, run};
use super::{AskedImage, Candidate, Judgement, PolicyLane, PolicyLanes, Teller};
use crate::config::Settings;
use crate::engine::clock::Clock;
use crate::engine::deliver::{Core, Sink, Stamp, Subscription};
use crate::engine::follow::start;
use crate::engine::outbound::{Eviction, Evictions, PullQueue};
use crate::engine::serve::Subscribe;
use crate::graphql::Request;
use crate::model::{Change, Event, Lsn, Message, Position, TableName, Timestamp};
use crate::predicate::Truth;
use crate::probe::{Ask, ProbeError, RowVerdict};
use crate::security::{Question, Reads};

/// Real subscriptions (of a topic: lanes do not look at what they are to), and what became of them.
struct Audience {
    core: Arc<Core>,
    evicted: tokio::sync::mpsc::UnboundedReceiver<Eviction>,
}

impl Audience {
    fn new() -> Self {
        let (evictions, evicted) = Evictions::new();
        let core = Arc::new(Core::new(Settings::default(), Clock::default(), evictions));
        let fields = r#"[{"name": "alerts", "topic": "alerts", "public": true}]"#;
        start::memory(&core, start::describe_memory(&core, fields).unwrap()).unwrap();
        Audience { core, evicted }
    }

    fn subscription(&self) -> Arc<Subscription> {
        let request = Request { query: "subscription { alerts { payload } }".to_owned(), ..Request::default() };
        let sink = Sink::Pull(Arc::new(PullQueue::new(1000)));
        let known = self.core.subscriptions();
        let (core, principal, rates) = (&self.core, &Arc::default(), self.core.rates.of_address(None));
        let subscribe = Subscribe { core, principal, rates, request: &Arc::new(request), sink };
        subscribe.begin().unwrap_or_else(|error| panic!("{error}"));
        let fresh = |subscription: &Arc<Subscription>| known.iter().all(|other| other.id != subscription.id);
        self.core.subscriptions().into_iter().find(fresh).unwrap()
    }

    /// The codes of those who ended.
    fn endings(&mut self) -> Vec<&'static str> {
        let code = |eviction| match eviction {
            Eviction::Fail(_, failure) => failure.code(),
            _ => "",
        };
        std::iter::from_fn(|| self.evicted.try_recv().ok()).map(code).collect()
    }
}

/// Records what is delivered.
#[derive(Default)]
struct Told(Mutex<Vec<(u64, Truth)>>);

impl Teller for Told {
    fn tell_judged(&self, judgement: &Judgement) {
        self.0.lock().push((judgement.stamp.position.unwrap().commit_lsn.0, judgement.new.truth()));
    }
}

impl Told {
    fn numbers(&self) -> Vec<u64> {
        self.0.lock().iter().map(|(number, _)| *number).collect()
    }

    async fn wait_for(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.0.lock().len() < count {
            assert!(Instant::now() < deadline, "only {} were told", self.0.lock().len());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Says yes to images that start with `y`; policies named `slow…` and `raising…` are what they are called.
#[derive(Default)]
struct Oracle {
    troubles: Mutex<VecDeque<ProbeError>>,
    trips: AtomicUsize,
    largest: AtomicUsize,
    slow_at_once: AtomicUsize,
    slow_at_most: AtomicUsize,
}

impl Asker for Oracle {
    fn ask_all<'a>(
        &'a self,
        asks: &'a [Ask],
    ) -> Pin<Box<dyn Future<Output = Vec<Result<Vec<RowVerdict>, ProbeError>>> + Send + 'a>> {
        Box::pin(async move {
            self.trips.fetch_add(1, Ordering::Relaxed);
            self.largest.fetch_max(asks.iter().map(|ask| ask.images.len()).max().unwrap_or(0), Ordering::Relaxed);
            let slow = asks.iter().any(|ask| ask.question.condition.starts_with("slow"));
            if slow {
                self.slow_at_most.fetch_max(self.slow_at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(200)).await;
                self.slow_at_once.fetch_sub(1, Ordering::Relaxed);
            } else {
                tokio::task::yield_now().await;
            }
            let trouble = self.troubles.lock().pop_front();
            asks.iter().map(|ask| trouble.clone().map_or_else(|| Ok(verdicts(ask)), Err)).collect()
        })
    }
}

fn verdicts(ask: &Ask) -> Vec<RowVerdict> {
    let condition = &*ask.question.condition;
    let verdict = |image: &Arc<str>| match image.starts_with('y') {
        _ if condition.starts_with("slow") => RowVerdict::TimedOut,
        _ if condition.starts_with("raising") => RowVerdict::Raised("22P02".into()),
        true => RowVerdict::Visible,
        false => RowVerdict::Hidden,
    };
    ask.images.iter().map(verdict).collect()
}

struct Office {
    audience: Audience,
    policies: PolicyLanes,
    told: Arc<Told>,
    oracle: Arc<Oracle>,
    subscription: Arc<Subscription>,
    workers: Option<tokio::task::JoinHandle<()>>,
}

impl Office {
    fn new(bytes_max: usize) -> Self {
        let audience = Audience::new();
        let policies = PolicyLanes::new(Arc::clone(&audience.core.metrics), bytes_max);
        let subscription = audience.subscription();
        Office { audience, policies, told: Arc::default(), oracle: Arc::default(), subscription, workers: None }
    }

    fn open(&mut self) {
        let (told, oracle) = (Arc::clone(&self.told), Arc::clone(&self.oracle));
        let metrics = Arc::clone(&self.audience.core.metrics);
        self.workers = Some(tokio::spawn(run(self.policies.ready(), metrics, told, oracle, 3)));
    }

    fn lane(&self, condition: &str, user: usize) -> Arc<PolicyLane> {
        self.policies.lane(&Arc::new(Question {
            table: TableName { schema: "public".into(), name: "t".into() },
            role: "app".into(),
            settings: Box::new([("app.user".into(), user.to_string().into())]),
            condition: condition.into(),
            reads: Reads::Row,
            binding: None,
        }))
    }

    fn enqueue(&self, lane: &Arc<PolicyLane>, number: u64, new: AskedImage) {
        self.enqueue_for(&self.subscription, lane, number, new);
    }

    fn enqueue_for(&self, subscription: &Arc<Subscription>, lane: &Arc<PolicyLane>, number: u64, new: AskedImage) {
        let position = Position { commit_lsn: Lsn(number), ordinal: 0 };
        let subscription = Arc::clone(subscription);
        let message = Message { topic: "t".into(), tenant: None, payload: bytes::Bytes::new() };
        let judgement = Judgement {
            event: Arc::new(Event { position, committed_at: Timestamp(0), xid: 0, change: Change::Message(message) }),
            stamp: Stamp { position: Some(position), cursor: "".into(), row: None, committed_at: Timestamp::default() },
            audience: vec![Candidate { subscription, old: Truth::False, new: Truth::True }],
            old: AskedImage::known(Truth::False),
            new,
            is_commit: false,
        };
        lane.enqueue(judgement, &*self.told);
    }

    fn waiting(&self) -> u64 {
        self.audience.core.metrics.policy_waiting.get()
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        self.policies.close();
        self.workers.take().inspect(tokio::task::JoinHandle::abort);
    }
}

fn asked(text: &str) -> AskedImage {
    AskedImage::asked(text.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_is_told_once_in_order_with_its_truth() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    office.open();
    for number in 0..5000 {
        let image = match number % 3 {
            0 => asked("yes"),
            1 => asked("no"),
            _ => AskedImage::known(Truth::Unknown),
        };
        office.enqueue(&lane, number, image);
    }
    office.told.wait_for(5000).await;
    let expected = [Truth::True, Truth::False, Truth::Unknown];
    let told = office.told.0.lock();
    assert!(told.iter().enumerate().all(|(at, told)| *told == (at as u64, expected[at % 3])));
    assert_eq!(office.waiting(), 0);
    assert!(office.oracle.largest.load(Ordering::Relaxed) <= 512);
}

#[tokio::test]
async fn what_is_known_waits_for_what_is_not() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    office.enqueue(&lane, 1, AskedImage::known(Truth::True));
    office.enqueue(&lane, 2, asked("yes"));
    office.enqueue(&lane, 3, AskedImage::known(Truth::True));
    assert_eq!((office.told.numbers(), office.waiting()), (vec![1], 1));
    office.open();
    office.told.wait_for(3).await;
    assert_eq!(office.told.numbers(), [1, 2, 3]);
}

#[tokio::test]
async fn beyond_the_bound_whoever_would_miss_an_event_ends() {
    let mut office = Office::new(5000);
    let (lane, other) = (office.lane("quick", 0), office.audience.subscription());
    for number in 0..100 {
        let concerned = if number == 0 { &office.subscription } else { &other };
        office.enqueue_for(concerned, &lane, number, asked("yes"));
    }
    assert_eq!(office.audience.endings(), ["POLICY_OVERLOADED"]);
    assert!(office.subscription.is_live() && !other.is_live());
    office.open();
    office.told.wait_for(1).await;
    assert_eq!(office.told.numbers()[0], 0);
}

#[tokio::test]
async fn many_lanes_of_a_quick_policy_share_a_trip() {
    let mut office = Office::new(usize::MAX);
    let lanes: Vec<_> = (0..1000).map(|user| office.lane("quick", user)).collect();
    office.open();
    office.enqueue(&lanes[0], 0, asked("yes"));
    office.told.wait_for(1).await;
    for lane in &lanes {
        office.enqueue(lane, 1, asked("yes"));
    }
    office.told.wait_for(1001).await;
    let trips = office.oracle.trips.load(Ordering::Relaxed);
    assert!(trips <= 1 + 1000 / 64 + 6, "{trips}");
}

#[tokio::test]
async fn slow_policies_share_one_worker_and_others_do_not_wait() {
    let mut office = Office::new(usize::MAX);
    let slow: Vec<_> = (0..8).map(|user| office.lane("slow", user)).collect();
    let quick = office.lane("quick", 0);
    office.open();
    office.enqueue(&slow[0], 0, asked("no"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    office.oracle.slow_at_most.store(0, Ordering::Relaxed);
    for (number, lane) in slow.iter().enumerate() {
        (0..4).for_each(|event| office.enqueue(lane, number as u64 * 10 + event, asked("no")));
    }
    let mut longest = Duration::ZERO;
    for number in 0..200 {
        let (started, before) = (Instant::now(), office.told.numbers().iter().filter(|told| **told >= 1000).count());
        office.enqueue(&quick, 1000 + number, asked("yes"));
        while office.told.numbers().iter().filter(|told| **told >= 1000).count() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        longest = longest.max(started.elapsed());
    }
    assert!(longest < Duration::from_millis(150), "{longest:?}");
    assert_eq!(office.oracle.slow_at_most.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_timeout_is_no_answer_and_one_that_persists_ends_the_subscription() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("slow", 0);
    office.open();
    office.enqueue(&lane, 1, asked("yes"));
    while office.subscription.is_live() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(office.audience.endings(), ["POLICY_FAILED"]);
    assert!(office.told.numbers().is_empty(), "nothing is decided that nobody answered");
}

#[tokio::test]
async fn a_lost_session_is_no_answer_and_the_order_is_kept() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    office.oracle.troubles.lock().extend([1, 2].map(|_| ProbeError::ConnectionLost { reason: "gone".into() }));
    office.open();
    (0..20).for_each(|number| office.enqueue(&lane, number, asked("yes")));
    office.told.wait_for(20).await;
    assert!(office.told.0.lock().iter().enumerate().all(|(at, told)| *told == (at as u64, Truth::True)));
    assert!(office.audience.endings().is_empty());
}

/// No event is delivered that was not decided, and no subscription waits for one.
#[tokio::test]
async fn policies_that_cannot_be_bound_end_their_subscriptions_at_once() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    let unbound = ProbeError::Unbound { table: "t".into(), role: "r".into(), reason: "" };
    office.oracle.troubles.lock().push_back(unbound);
    office.open();
    (0..3).for_each(|number| office.enqueue(&lane, number, asked("yes")));
    while office.subscription.is_live() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(office.audience.endings(), ["POLICY_UNBOUND"]);
    assert!(office.told.numbers().is_empty());
}

#[tokio::test]
async fn what_raises_is_hidden_and_counted() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("raising", 0);
    office.open();
    office.enqueue(&lane, 1, asked("yes"));
    office.told.wait_for(1).await;
    assert_eq!(office.told.0.lock()[0], (1, Truth::False));
    assert_eq!(office.audience.core.metrics.policy_errors_total.get(), 1);
    assert!(office.audience.endings().is_empty());
}

#[tokio::test]
async fn a_policy_that_fails_persistently_ends_its_subscriptions_and_starts_afresh() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("raising", 0);
    office.open();
    let started = Instant::now();
    let mut number = 0;
    while office.subscription.is_live() {
        number += 1;
        office.enqueue(&lane, number, asked("yes"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(started.elapsed() < Duration::from_secs(20));
    }
    assert!(started.elapsed() >= Duration::from_secs(5));
    assert_eq!(office.audience.endings(), ["POLICY_FAILED"]);
    let next = office.audience.subscription();
    let before = office.told.numbers().len();
    office.enqueue_for(&next, &lane, number + 1, asked("yes"));
    office.told.wait_for(before + 1).await;
    assert!(next.is_live());
}

#[tokio::test]
async fn nobody_is_asked_for_subscriptions_that_have_ended() {
    let mut office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    office.enqueue(&lane, 1, asked("yes"));
    office.subscription.progress.end();
    office.open();
    office.told.wait_for(1).await;
    assert_eq!((office.oracle.trips.load(Ordering::Relaxed), office.waiting()), (0, 0));
}

#[tokio::test]
async fn at_the_end_nothing_waits_any_more() {
    let office = Office::new(usize::MAX);
    let lane = office.lane("quick", 0);
    (0..10).for_each(|number| office.enqueue(&lane, number, asked("yes")));
    assert_eq!(office.waiting(), 10);
    office.policies.close();
    assert_eq!((office.waiting(), Arc::strong_count(&lane)), (0, 1));
}

#[test]
fn equal_questions_share_a_lane_and_lanes_that_nobody_uses_are_forgotten() {
    let office = Office::new(1);
    let kept = office.lane("quick", 0);
    for user in 1..1000 {
        assert!(!Arc::ptr_eq(&kept, &office.lane("quick", user)));
    }
    assert!(office.policies.known.lock().lanes.len() <= super::SWEEP_MIN);
    assert!(Arc::ptr_eq(&kept, &office.lane("quick", 0)));
}
