//! From one event to all its subscribers: match, gate, encode once, queue.
//!
//! One fair lock guards the index. Registering takes it as well, so a subscription is in force from the moment that
//! `subscribe` returns: a row committed after that is delivered. (A command channel to an index of one owner was
//! considered: it makes registration asynchronous and needs a bound of its own.)
//!
//! One thread delivers to all sessions. Two threads were measured (median of two engines with half of the sessions
//! each, compared with one that has all; two busy cores): 8 us became 51 for 100 sessions, 91 became 157 to 283 for
//! 1,000, and for 10,000 the result was between 1.5 times slower and 1.25 times faster. The second core has an event
//! loop to run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::core::Core;
use super::index::{Concern, Index};
use super::policies::{AskedImage, Candidate, Judgement, PolicyLane, Teller};
use super::resolvers::{Call, Enqueued, ResolverLane};
use super::subscription::{Maker, Stamp, Subscription};
use super::transaction::Concerned;
use crate::failure::Failure;
use crate::graphql::Plan;
use crate::matcher::transition;
use crate::model::{Change, Event, Lsn, Operation, RowKey, SubscriptionId, Transition};
use crate::payload;
use crate::predicate::Truth;
use crate::probe;
use crate::security::{Columns, Inspection, Judged, Reads, Standing, Visible};

impl Core {
    /// Delivers the event to all its subscribers. The index is locked until that is done, so no two subscribers get two
    /// events in different orders.
    pub(crate) fn dispatch(&self, event: &Arc<Event>) {
        self.metrics.commit_lsn.set(event.position.commit_lsn.0);
        let mut index = self.index.lock();
        each_half(event, |event| self.dispatch_one(&mut index, event));
    }

    fn dispatch_one(&self, index: &mut Index, event: &Arc<Event>) {
        self.metrics.events_total.add(1);
        self.remember_one(event);
        let mut telling = None;
        index.audience(event, |subscription, concern| {
            telling.get_or_insert_with(|| Telling::new(self, event)).tell(subscription, concern);
        });
        if let Some(telling) = telling {
            telling.finish();
        }
    }
}

impl Core {
    /// Keeps an event for clients that resume.
    pub(crate) fn remember(&self, event: &Arc<Event>) {
        each_half(event, |event| self.remember_one(event));
    }

    fn remember_one(&self, event: &Arc<Event>) {
        let mut ring = self.ring.lock();
        ring.append(event, self.clock.now());
        self.metrics.replay_window_bytes.set(ring.bytes() as u64);
    }

    /// The key for coalescing, if any session's results may be coalesced.
    fn row_of(&self, event: &Event) -> Option<RowKey> {
        match &event.change {
            Change::Row(change) if self.coalesces.load(Ordering::Relaxed) => RowKey::of(change),
            Change::Row(_) | Change::Truncate(_) | Change::Message(_) | Change::SnapshotEnd(_) => None,
        }
    }
}

impl Core {
    /// The stream's transaction is over: its last event was dispatched.
    pub(crate) fn commit(&self) {
        let index = self.index.lock();
        for concerned in self.transactions.over(&index) {
            self.end_transaction(concerned);
        }
    }

    /// A subscription that catches up has come to an event of transaction `next`, or to the present.
    pub(crate) fn commit_again(&self, id: SubscriptionId, next: Option<Lsn>) {
        if let Some(concerned) = self.transactions.over_for(id, next) {
            self.end_transaction(concerned);
        }
    }

    fn end_transaction(&self, concerned: Concerned) {
        let Concerned { subscription, event, stamp } = concerned;
        match subscription.policy.clone() {
            Some(lane) => lane.enqueue(Judgement::of_commit(event, stamp, subscription), self),
            None => end_judged(&subscription, &event, &stamp, self.clock.now()),
        }
    }
}

/// After the judgements of delegated policies.
pub(crate) fn end_judged(subscription: &Arc<Subscription>, event: &Arc<Event>, stamp: &Stamp, now: Instant) {
    match &subscription.maker {
        Maker::Engine => subscription.end_transaction(now),
        Maker::Resolver { lane, .. } => lane.commit(event, stamp, subscription),
    }
}

impl Teller for Core {
    /// What the index proposed, now that PostgreSQL's word on both images is there.
    fn tell_judged(&self, judgement: &Judgement) {
        if judgement.is_commit {
            let concerned = judgement.audience.iter().map(|candidate| &candidate.subscription);
            return concerned.for_each(|subscription| {
                end_judged(subscription, &judgement.event, &judgement.stamp, self.clock.now());
            });
        }
        let judged = Judged { old: judgement.old.truth(), new: judgement.new.truth() };
        let mut telling = Telling::stamped(self, &judgement.event, judgement.stamp.clone());
        for candidate in judgement.audience.iter().filter(|candidate| candidate.subscription.is_live()) {
            if let Some(transition) = decided(judgement.event.operation(), candidate.old, candidate.new, judged) {
                telling.tell_judged(&candidate.subscription, transition, judged);
            }
        }
        telling.finish();
    }
}

/// What the change means to a view once the policies have been asked.
pub(crate) fn decided(operation: Operation, old: Truth, new: Truth, judged: Judged) -> Option<Transition> {
    match operation {
        // It has no row, but keeps its place among the events that have one.
        Operation::Truncate => Some(Transition::Leave),
        Operation::SnapshotEnd => Some(Transition::Stay),
        _ => transition(operation, both(old, judged.old), both(new, judged.new)),
    }
}

/// A condition that is NULL does not hold, regardless of the policies, which were not evaluated for that image.
fn both(condition: Truth, policies: Truth) -> Truth {
    if condition == Truth::Unknown { Truth::False } else { condition.and(policies) }
}

/// An UPDATE that changed the key is delivered, kept and resumed as two events.
fn each_half(event: &Arc<Event>, mut each: impl FnMut(&Arc<Event>)) {
    match event.halves() {
        Some(halves) => halves.map(Arc::new).iter().for_each(each),
        None => each(event),
    }
}

/// What may differ between subscribers of one event: with equal views they get equal bytes.
#[derive(PartialEq, Eq, Hash)]
struct View {
    transition: Transition,
    columns: Columns,
    seen_before: bool,
}

impl View {
    fn of(visible: &Visible<'_>) -> Self {
        let (transition, columns) = (visible.transition(), visible.columns().clone());
        View { transition, columns, seen_before: visible.seen_before() }
    }
}

/// All subscriptions that wait for one resolver's answer.
type Audience = (Arc<ResolverLane>, Vec<Arc<Subscription>>);

/// One event on its way: what was encoded for one subscription is shared with all that get the same bytes.
pub(crate) struct Telling<'a> {
    core: &'a Core,
    event: &'a Arc<Event>,
    stamp: Stamp,
    now: Instant,
    inspection: Inspection<'a>,
    scratch: payload::Scratch,
    /// By the plan's address: the index holds its subscriptions, and so their plans, until the event is delivered.
    bodies: FxHashMap<(*const Plan, View), Option<payload::Body>>,
    calls: FxHashMap<(*const ResolverLane, View, Judged), Audience>,
    /// Those whose policies were not compiled, by their question.
    questions: FxHashMap<*const PolicyLane, (Arc<PolicyLane>, Vec<Candidate>)>,
}

impl<'a> Telling<'a> {
    pub(crate) fn new(core: &'a Core, event: &'a Arc<Event>) -> Self {
        let cursor = core.outbound.history.cursor(event.position).to_string().into();
        let (row, committed_at) = (core.row_of(event), event.committed_at);
        Self::stamped(core, event, Stamp { position: Some(event.position), cursor, row, committed_at })
    }

    pub(crate) fn stamped(core: &'a Core, event: &'a Arc<Event>, stamp: Stamp) -> Self {
        Telling {
            core,
            event,
            stamp,
            now: core.clock.now(),
            inspection: Inspection::new(event),
            scratch: payload::Scratch::default(),
            bodies: FxHashMap::default(),
            calls: FxHashMap::default(),
            questions: FxHashMap::default(),
        }
    }

    pub(crate) fn tell(&mut self, subscription: &Arc<Subscription>, concern: Concern) {
        if subscription.grouping.is_some() {
            self.core.transactions.concern(subscription, self.event, &self.stamp);
        }
        let Some(lane) = &subscription.policy else {
            return self.tell_judged(subscription, concern.transition, Judged::NOT);
        };
        let group = self.questions.entry(Arc::as_ptr(lane)).or_insert_with(|| (Arc::clone(lane), Vec::new()));
        group.1.push(Candidate { subscription: Arc::clone(subscription), old: concern.old, new: concern.new });
    }

    /// The gate makes the final decision on each candidate that the index proposes.
    pub(crate) fn tell_judged(&mut self, subscription: &Arc<Subscription>, transition: Transition, judged: Judged) {
        if matches!(subscription.maker, Maker::Resolver { leave: false, .. }) && transition == Transition::Leave {
            return;
        }
        let Some(visible) = self.inspection.visible(&subscription.admission, transition, judged) else {
            self.core.metrics.gate_refusals_total.add(1);
            return;
        };
        match &subscription.maker {
            Maker::Engine => self.encode(subscription, &visible),
            Maker::Resolver { lane, .. } => {
                let group = self.calls.entry((Arc::as_ptr(lane), View::of(&visible), judged));
                group.or_insert_with(|| (Arc::clone(lane), Vec::new())).1.push(Arc::clone(subscription));
            }
        }
    }

    fn encode(&mut self, subscription: &Subscription, visible: &Visible<'_>) {
        let key = (Arc::as_ptr(&subscription.plan), View::of(visible));
        let body = self.bodies.entry(key).or_insert_with(|| {
            self.core.metrics.payloads_total.add(1);
            let plan = &subscription.plan;
            self.core.encoder.event_body(plan, visible, &self.stamp.cursor, &mut self.scratch)
        });
        if let Some(body) = body {
            self.core.metrics.deliveries_total.add(1);
            subscription.tell(body.clone(), &self.stamp, visible.transition(), self.now);
        }
    }

    pub(crate) fn finish(mut self) {
        self.ask_policies();
        self.call_resolvers();
    }

    /// Many questions share one image: its JSON is written once.
    fn ask_policies(&mut self) {
        let mut images = Images { event: self.event, written: HashMap::new() };
        for (_, (lane, audience)) in self.questions.drain() {
            let Some(first) = audience.first() else { continue };
            let (old, new) = self.inspection.standing(&first.subscription.admission);
            let reads = &lane.question().reads;
            let old = images.image(Side::Old, old, reads, audience.iter().any(|candidate| candidate.old.is_true()));
            let new = images.image(Side::New, new, reads, audience.iter().any(|candidate| candidate.new.is_true()));
            let (event, stamp) = (Arc::clone(self.event), self.stamp.clone());
            lane.enqueue(Judgement { event, stamp, audience, old, new, is_commit: false }, self.core);
        }
    }

    fn call_resolvers(&mut self) {
        for ((_, view, judged), (lane, audience)) in self.calls.drain() {
            let call = Arc::new(Call::new(&lane, self.event, view.transition, judged, &self.stamp, audience));
            match lane.enqueue(&call) {
                // No row, nothing to resolve; but it keeps its place behind the rows.
                Enqueued::Yes if self.event.operation() == Operation::SnapshotEnd => call.settle_without_result(),
                Enqueued::Yes => self.core.calls.push(call),
                Enqueued::Overflow => call.audience().iter().for_each(|subscription| overload(subscription)),
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Old,
    New,
}

/// The row images of one event as JSON.
struct Images<'a> {
    event: &'a Event,
    written: HashMap<(Side, Reads), Option<Arc<str>>>,
}

impl Images<'_> {
    /// PostgreSQL cannot evaluate policies on an image that lacks what they read, and need not on one without
    /// subscribers.
    fn image(&mut self, side: Side, standing: Standing<'_>, reads: &Reads, wanted: bool) -> AskedImage {
        let (tuple, change) = match (standing, &self.event.change) {
            (Standing::Known(truth), _) => return AskedImage::known(truth),
            (Standing::Ask(tuple), Change::Row(change)) if wanted => (tuple, change),
            (Standing::Ask(_), _) => return AskedImage::known(Truth::Unavailable),
        };
        let written = self.written.entry((side, reads.clone()));
        let json = written.or_insert_with(|| probe::image(&change.table, tuple, reads).map(Into::into));
        json.clone().map_or_else(|| AskedImage::known(Truth::Unavailable), AskedImage::asked)
    }
}

fn overload(subscription: &Subscription) {
    let message = "the resolver is too slow for the rate of events: more waited than resolver_backlog_bytes_max allows";
    subscription.fail_later(Failure::new("RESOLVER_OVERLOADED", message));
}
