//! Resolver calls: one call for all subscriptions that would get the same answer. Calls may finish in any order, and their
//! results are delivered in commit order.
//!
//! A [`ResolverLane`] is one resolver with one set of variables, and one tenant where events belong to tenants. Every event that
//! matched one of its subscriptions becomes a [`Call`] at the lane's end; several may run at once, and a finished one
//! waits until all before it are finished. So a slow call delays only its own lane.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::engine::clock::Clock;
use crate::engine::deliver::{Stamp, Subscription};
use crate::graphql::Plan;
use crate::metrics::Metrics;
use crate::model::{Event, Transition};
use crate::payload::{Body, FieldError, Meta, PathSegment, error_body, resolved_body};
use crate::security::{Inspection, Judged, Visible};

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The resolver returned `None`: nothing is delivered.
    Skip,
    /// A response body for each plan of [`Call::plans`].
    Bodies(Vec<(Arc<Plan>, Body)>),
    /// Not a call: the transaction of its event is over.
    Commit,
}

/// One resolver with one set of variables.
pub(crate) struct ResolverLane {
    resolver: usize,
    variables: Map<String, Value>,
    bytes_max: usize,
    metrics: Arc<Metrics>,
    clock: Clock,
    queue: Mutex<LaneQueue>,
}

#[derive(Default)]
struct LaneQueue {
    calls: VecDeque<Arc<Call>>,
    bytes: usize,
}

/// One event for one lane.
pub struct Call {
    lane: Arc<ResolverLane>,
    event: Arc<Event>,
    transition: Transition,
    judged: Judged,
    stamp: Stamp,
    audience: Vec<Arc<Subscription>>,
    outcome: OnceLock<Outcome>,
}

/// Whether the call fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Enqueued {
    Yes,
    Overflow,
}

impl ResolverLane {
    pub(crate) fn new(
        resolver: usize,
        variables: Map<String, Value>,
        bytes_max: usize,
        metrics: &Arc<Metrics>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(ResolverLane {
            resolver,
            variables,
            bytes_max,
            metrics: Arc::clone(metrics),
            clock,
            queue: Mutex::default(),
        })
    }

    /// Puts a call at the end, unless the lane's events would exceed their bound.
    pub(crate) fn enqueue(&self, call: &Arc<Call>) -> Enqueued {
        let mut queue = self.queue.lock();
        let weight = call.event.weight();
        if queue.bytes + weight > self.bytes_max {
            return Enqueued::Overflow;
        }
        queue.bytes += weight;
        queue.calls.push_back(Arc::clone(call));
        self.metrics.resolver_calls.add(1);
        self.metrics.resolver_calls_total.add(1);
        Enqueued::Yes
    }

    /// Ends the event's transaction for a subscription, behind the calls of what it changed.
    pub(crate) fn commit(self: &Arc<Self>, event: &Arc<Event>, stamp: &Stamp, subscription: &Arc<Subscription>) {
        let audience = vec![Arc::clone(subscription)];
        let call = Call::new(self, event, Transition::Stay, Judged::NOT, stamp, audience);
        let mut queue = self.queue.lock();
        queue.bytes += call.event.weight();
        queue.calls.push_back(Arc::new(Call { outcome: Outcome::Commit.into(), ..call }));
        queue.release();
    }

    /// Whether much more fits.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.lock().bytes <= self.bytes_max / 2
    }

    /// Whether no event waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.lock().calls.is_empty()
    }

    /// Discards every call. A lane and its calls hold each other, so this also frees both.
    pub(crate) fn close(&self) {
        let calls: Vec<_> = self.queue.lock().calls.iter().cloned().collect();
        for call in calls {
            call.settle(Outcome::Skip);
        }
    }

    /// Delivers every finished call that no unfinished one precedes. The lock is held during delivery: it keeps the
    /// order when two calls finish at once.
    fn release(&self) {
        self.queue.lock().release();
    }
}

impl LaneQueue {
    fn release(&mut self) {
        while let Some(call) = self.calls.pop_front_if(|call| call.outcome.get().is_some()) {
            self.bytes -= call.event.weight();
            call.tell();
        }
    }
}

impl Call {
    pub(crate) fn new(
        lane: &Arc<ResolverLane>,
        event: &Arc<Event>,
        transition: Transition,
        judged: Judged,
        stamp: &Stamp,
        audience: Vec<Arc<Subscription>>,
    ) -> Self {
        Call {
            lane: Arc::clone(lane),
            event: Arc::clone(event),
            transition,
            judged,
            stamp: stamp.clone(),
            audience,
            outcome: OnceLock::new(),
        }
    }

    /// The resolver's index, as declared.
    pub fn resolver(&self) -> usize {
        self.lane.resolver
    }

    /// The operation's coerced variables.
    pub fn variables(&self) -> &Map<String, Value> {
        &self.lane.variables
    }

    /// The event's cursor.
    pub fn cursor(&self) -> &str {
        &self.stamp.cursor
    }

    /// The event as the call's audience may see it; `None` when no subscription is left.
    pub fn visible(&self) -> Option<Visible<'_>> {
        Inspection::new(&self.event).visible(&self.audience.first()?.admission, self.transition, self.judged)
    }

    /// The subscriptions that get the result.
    pub(crate) fn audience(&self) -> &[Arc<Subscription>] {
        &self.audience
    }

    /// Whether a subscription still waits for the result. If none does, this settles the call: the worker need not run it,
    /// and may drop it without delaying the calls behind it.
    pub fn pending(&self) -> bool {
        if self.outcome.get().is_some() {
            return false;
        }
        let awaited = self.audience.iter().any(|subscription| subscription.is_live());
        if !awaited {
            self.settle(Outcome::Skip);
        }
        awaited
    }

    /// The distinct plans of the audience: the result is serialized once for each.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        let mut plans: Vec<Arc<Plan>> = Vec::new();
        for subscription in &self.audience {
            if !plans.iter().any(|plan| Arc::ptr_eq(plan, &subscription.plan)) {
                plans.push(Arc::clone(&subscription.plan));
            }
        }
        plans
    }

    /// What the result's extensions say of the event.
    pub fn meta(&self) -> Meta<'_> {
        Meta::of(&self.event, &self.stamp.cursor)
    }

    /// Delivers an error in place of a result. The subscriptions go on.
    pub fn fail(&self, message: &str, code: &str) {
        let body = |plan: &Plan| {
            let path = vec![PathSegment::Key(plan.response_key.clone())];
            error_body(plan, FieldError { message: message.to_owned(), path, code: code.to_owned() }, &self.meta())
        };
        self.lane.metrics.resolver_failures_total.add(1);
        self.settle(Outcome::Bodies(self.plans().into_iter().map(|plan| (Arc::clone(&plan), body(&plan))).collect()));
    }

    /// Delivers null, where the field may be null.
    pub(crate) fn settle_without_result(&self) {
        let nullable = self.plans().into_iter().filter(|plan| plan.is_nullable() && plan.transaction.is_none());
        let body = |plan: Arc<Plan>| {
            let body = resolved_body(&plan, None, Vec::new(), &self.meta());
            (plan, body)
        };
        self.settle(Outcome::Bodies(nullable.map(body).collect()));
    }

    /// Delivers the outcome, after those of all earlier events. Only the first outcome counts.
    pub fn settle(&self, outcome: Outcome) {
        if self.outcome.set(outcome).is_ok() {
            self.lane.metrics.resolver_calls.sub(1);
            self.lane.release();
        }
    }

    fn tell(&self) {
        let bodies = match self.outcome.get() {
            Some(Outcome::Bodies(bodies)) => bodies,
            Some(Outcome::Commit) => {
                return self
                    .audience
                    .iter()
                    .for_each(|subscription| subscription.end_transaction(self.lane.clock.now()));
            }
            Some(Outcome::Skip) | None => return,
        };
        let now = self.lane.clock.now();
        for subscription in self.audience.iter().filter(|subscription| subscription.is_live()) {
            let body = bodies.iter().find(|(plan, _)| Arc::ptr_eq(plan, &subscription.plan));
            if let Some((_, body)) = body {
                self.lane.metrics.deliveries_total.add(1);
                subscription.tell(body.clone(), &self.stamp, self.transition, now);
            }
        }
    }
}
