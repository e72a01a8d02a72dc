//! One question, and the events that wait for its answers in commit order.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;

use super::Teller;
use super::policy::{Policy, PolicyState, Speed, Streak, Turn};
use super::ready::Ready;
use crate::engine::deliver::{Stamp, Subscription};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::model::{Change, Datum, Event, Tuple};
use crate::predicate::Truth;
use crate::security::Question;

/// Judgements that a worker looks at for images to ask: some wait only for others.
const LOOK_MAX: usize = 4096;

/// A subscription and what its own condition says of the images.
pub(crate) struct Candidate {
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) old: Truth,
    pub(crate) new: Truth,
}

/// What the policies say of one image: known, or to be asked.
pub(crate) struct AskedImage {
    json: Option<Arc<str>>,
    truth: OnceLock<Truth>,
}

impl AskedImage {
    pub(crate) fn known(truth: Truth) -> Self {
        AskedImage { json: None, truth: truth.into() }
    }

    /// JSON as `probe::image` makes it.
    pub(crate) fn asked(json: Arc<str>) -> Self {
        AskedImage { json: Some(json), truth: OnceLock::new() }
    }

    /// `Unavailable` before the answer.
    pub(crate) fn truth(&self) -> Truth {
        self.truth.get().copied().unwrap_or(Truth::Unavailable)
    }

    fn to_ask(&self) -> Option<&Arc<str>> {
        if self.truth.get().is_some() { None } else { self.json.as_ref() }
    }
}

/// One event for one lane.
pub(crate) struct Judgement {
    pub(crate) event: Arc<Event>,
    pub(crate) stamp: Stamp,
    pub(crate) audience: Vec<Candidate>,
    pub(crate) old: AskedImage,
    pub(crate) new: AskedImage,
    /// Nothing is asked: the transaction of the event is over.
    pub(crate) is_commit: bool,
}

impl Judgement {
    /// Keeps its place behind what the transaction changed.
    pub(crate) fn of_commit(event: Arc<Event>, stamp: Stamp, subscription: Arc<Subscription>) -> Self {
        let audience = vec![Candidate { subscription, old: Truth::False, new: Truth::False }];
        let (old, new) = (AskedImage::known(Truth::False), AskedImage::known(Truth::False));
        Judgement { event, stamp, audience, old, new, is_commit: true }
    }

    fn images(&self) -> [&AskedImage; 2] {
        [&self.old, &self.new]
    }

    fn waiting(&self) -> u64 {
        self.images().iter().filter(|image| image.to_ask().is_some()).count() as u64
    }

    fn is_awaited(&self) -> bool {
        self.audience.iter().any(|candidate| candidate.subscription.is_live())
    }

    fn fail(&self, failure: &Failure) {
        self.audience.iter().for_each(|candidate| candidate.subscription.fail_later(failure.clone()));
    }

    fn json_bytes(&self) -> usize {
        self.images().iter().filter_map(|image| image.json.as_ref()).map(|json| json.len()).sum()
    }
}

/// One question.
pub(crate) struct PolicyLane {
    question: Arc<Question>,
    policy: Arc<Policy>,
    bytes_max: usize,
    metrics: Arc<Metrics>,
    ready: Arc<Ready>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    judgements: VecDeque<Arc<Judgement>>,
    bytes: usize,
    /// It is in the ready queue or with a worker.
    scheduled: bool,
    streak: Streak,
}

/// An image that is being asked.
struct Ticket {
    judgement: Arc<Judgement>,
    is_new: bool,
}

impl Ticket {
    fn image(&self) -> &AskedImage {
        if self.is_new { &self.judgement.new } else { &self.judgement.old }
    }
}

/// Images of one lane on their way.
pub(super) struct Batch {
    pub(super) lane: Arc<PolicyLane>,
    tickets: Vec<Ticket>,
}

impl Batch {
    pub(super) fn images(&self) -> Vec<Arc<str>> {
        self.tickets.iter().filter_map(|ticket| ticket.image().json.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.tickets.iter().filter_map(|ticket| ticket.image().json.as_ref()).map(|json| json.len()).sum()
    }
}

impl PolicyLane {
    pub(super) fn new(
        question: &Arc<Question>,
        policy: Arc<Policy>,
        bytes_max: usize,
        metrics: &Arc<Metrics>,
        ready: &Arc<Ready>,
    ) -> Arc<Self> {
        Arc::new(PolicyLane {
            question: Arc::clone(question),
            policy,
            bytes_max,
            metrics: Arc::clone(metrics),
            ready: Arc::clone(ready),
            queue: Mutex::default(),
        })
    }

    pub(crate) fn question(&self) -> &Arc<Question> {
        &self.question
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn standing(&self) -> PolicyState {
        self.policy.standing()
    }

    /// Whether much more fits.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.lock().bytes <= self.bytes_max / 2
    }

    /// Whether no event waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.lock().judgements.is_empty()
    }

    /// Puts a judgement at the end and delivers it at once when no other waits. If the lane's events would exceed
    /// their bound, whoever this one concerns ends: nobody misses an event in silence.
    pub(crate) fn enqueue(self: &Arc<Self>, judgement: Judgement, teller: &dyn Teller) {
        let mut queue = self.queue.lock();
        let weight = weight(&judgement);
        if queue.bytes + weight > self.bytes_max {
            drop(queue);
            judgement.fail(&overload(&self.question));
            return;
        }
        queue.bytes += weight;
        self.metrics.policy_waiting.add(judgement.waiting());
        let asks = judgement.waiting() > 0;
        queue.judgements.push_back(Arc::new(judgement));
        queue.release(teller);
        if asks && !std::mem::replace(&mut queue.scheduled, true) {
            self.ready.push(Arc::clone(self));
        }
    }

    /// Takes waiting images, oldest first, within these bounds; at least one image if there is any. An image that no
    /// subscription awaits any more is not evaluated.
    pub(super) fn take(self: &Arc<Self>, images_max: usize, bytes_max: usize) -> Batch {
        let queue = self.queue.lock();
        let mut batch = Batch { lane: Arc::clone(self), tickets: Vec::new() };
        let (images_max, mut bytes) = (images_max.min(self.policy.images_max()), 0);
        for judgement in queue.judgements.iter().take(LOOK_MAX) {
            if judgement.waiting() > 0 && !judgement.is_awaited() {
                judgement.images().into_iter().for_each(|image| self.decide(image, Truth::Unavailable));
            }
            for is_new in [false, true] {
                let ticket = Ticket { judgement: Arc::clone(judgement), is_new };
                let Some(json) = ticket.image().to_ask() else { continue };
                bytes += json.len();
                if batch.len() == images_max || (bytes > bytes_max && batch.len() > 0) {
                    return batch;
                }
                batch.tickets.push(ticket);
            }
        }
        batch
    }

    /// Puts the answers in; `None` is asked again. Delivers what is decided. True when something is left to ask: then the lane
    /// is still with whoever has it in hand, and has to [`come back`](PolicyLane::come_back).
    pub(super) fn settle(&self, batch: &Batch, truths: &[Option<Truth>], teller: &dyn Teller) -> bool {
        for (ticket, truth) in batch.tickets.iter().zip(truths) {
            if let Some(truth) = truth {
                self.decide(ticket.image(), *truth);
            }
        }
        let mut queue = self.queue.lock();
        queue.release(teller);
        // The first that is left is undecided, or it would have been delivered.
        queue.scheduled = !queue.judgements.is_empty();
        queue.scheduled
    }

    /// To the workers, with the rest.
    pub(super) fn come_back(self: &Arc<Self>) {
        self.ready.push(Arc::clone(self));
    }

    /// Whether the lane fails persistently, or its policy does in all lanes.
    pub(super) fn note(&self, turn: Turn, pace: Speed, now: Instant) -> bool {
        let policy = self.policy.note(turn, pace, now);
        let lane = self.queue.lock().streak.note(turn, now);
        policy || lane
    }

    /// Ends all subscriptions whose events wait; the lane starts empty.
    pub(super) fn fail(&self, failure: &Failure) {
        let mut queue = self.queue.lock();
        for judgement in queue.clear() {
            judgement.fail(failure);
            judgement.images().into_iter().for_each(|image| self.decide(image, Truth::Unavailable));
        }
        self.policy.forgive();
    }

    /// Lets go of everything.
    pub(super) fn close(&self) {
        let judgements = self.queue.lock().clear();
        let waiting = judgements.iter().map(|judgement| judgement.waiting()).sum();
        self.metrics.policy_waiting.sub(waiting);
    }

    fn decide(&self, image: &AskedImage, truth: Truth) {
        if image.truth.set(truth).is_ok() {
            self.metrics.policy_waiting.sub(1);
        }
    }
}

impl Queue {
    /// The worker that has the lane keeps it.
    fn clear(&mut self) -> VecDeque<Arc<Judgement>> {
        (self.bytes, self.streak) = (0, Streak::default());
        std::mem::take(&mut self.judgements)
    }

    /// Tells every decided judgement that no undecided one precedes. The lock is held while telling: it is what keeps
    /// the order when two threads come at once.
    fn release(&mut self, teller: &dyn Teller) {
        while let Some(judgement) = self.judgements.pop_front_if(|judgement| judgement.waiting() == 0) {
            self.bytes -= weight(&judgement);
            teller.tell_judged(&judgement);
        }
    }
}

fn overload(question: &Question) -> Failure {
    let message = format!(
        "the row policies of {} are too slow for the rate of events: more waited than policy_backlog_bytes_max allows",
        question.table
    );
    Failure::new("POLICY_OVERLOADED", message)
}

/// The bytes that a waiting judgement keeps alive.
fn weight(judgement: &Judgement) -> usize {
    let tuples = match &judgement.event.change {
        Change::Row(row) => row.old.iter().chain(&row.new).flat_map(Tuple::values).map(datum_weight).sum(),
        Change::Truncate(_) | Change::Message(_) | Change::SnapshotEnd(_) => 0,
    };
    size_of::<Judgement>()
        + size_of::<Event>()
        + tuples
        + judgement.json_bytes()
        + judgement.audience.len() * size_of::<Candidate>()
}

fn datum_weight(datum: &Datum) -> usize {
    size_of::<Datum>() + datum.text().map_or(0, <[u8]>::len)
}
