//! From one event to everybody who is to be told: match, gate, encode once, queue.
//!
//! One fair lock guards the index. Registering takes it as well, so a subscription is in force from the moment that
//! `subscribe` returns: a row committed after that is told. (A command channel to an index of one owner was considered:
//! it makes registration asynchronous and needs a bound of its own.)
//!
//! One thread tells all: to spread one event's sessions over two threads was measured (median of two engines with half
//! of the sessions each, against one with all; two busy cores): 8 us became 51 for 100 sessions, 91 became 157 to 283
//! for 1,000, and for 10,000 it was between 1.5 times slower and 1.25 times faster. The second core has an event loop
//! to run.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::core::Core;
use super::failure::Failure;
use super::index::Concern;
use super::resolve::{Call, Enqueued, Lane};
use super::subscription::{Maker, Stamp, Subscription};
use crate::graphql::Plan;
use crate::journal::Cursor;
use crate::model::{Event, Transition};
use crate::payload;
use crate::security::{Columns, Inspection, Judged, Visible};

impl Core {
    /// Tells everybody whom the event concerns. The index is held until all are told, so that two events
    /// are never told in two orders.
    pub(super) fn dispatch(&self, event: &Arc<Event>) {
        self.metrics.events_total.add(1);
        self.metrics.commit_lsn.set(event.position.commit_lsn.0);
        let mut telling = None;
        let mut index = self.index.lock();
        index.audience(event, |subscription, concern| {
            telling.get_or_insert_with(|| Telling::new(self, event)).tell(subscription, concern);
        });
        if let Some(telling) = telling {
            telling.call_resolvers();
        }
    }
}

/// Everybody who waits for one resolver's answer.
type Audience = (Arc<Lane>, Vec<Arc<Subscription>>);

/// One event on its way: what was encoded for one subscription is shared with all that get the same bytes.
struct Telling<'a> {
    core: &'a Core,
    event: &'a Arc<Event>,
    stamp: Stamp,
    now: Instant,
    inspection: Inspection<'a>,
    scratch: payload::Scratch,
    /// By the plan's address: the index holds its subscriptions, and so their plans, until the event is told.
    bodies: FxHashMap<(*const Plan, Transition, Columns), Option<Bytes>>,
    calls: FxHashMap<(*const Lane, Transition, Judged), Audience>,
}

impl<'a> Telling<'a> {
    fn new(core: &'a Core, event: &'a Arc<Event>) -> Self {
        let cursor = Cursor { origin: core.origin(), position: event.position }.to_string().into();
        Telling {
            core,
            event,
            stamp: Stamp { position: event.position, cursor },
            now: Instant::now(),
            inspection: Inspection::new(event),
            scratch: payload::Scratch::default(),
            bodies: FxHashMap::default(),
            calls: FxHashMap::default(),
        }
    }

    /// The gate has the last word on whatever the index proposes.
    fn tell(&mut self, subscription: &Arc<Subscription>, concern: Concern) {
        self.tell_judged(subscription, concern.transition, Judged::NOT);
    }

    fn tell_judged(&mut self, subscription: &Arc<Subscription>, transition: Transition, judged: Judged) {
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
                let group = self.calls.entry((Arc::as_ptr(lane), transition, judged));
                group.or_insert_with(|| (Arc::clone(lane), Vec::new())).1.push(Arc::clone(subscription));
            }
        }
    }

    fn encode(&mut self, subscription: &Subscription, visible: &Visible<'_>) {
        let key = (Arc::as_ptr(&subscription.plan), visible.transition(), visible.columns().clone());
        let body = self.bodies.entry(key).or_insert_with(|| {
            self.core.metrics.payloads_total.add(1);
            let plan = &subscription.plan;
            self.core.encoder.event_body(plan, visible, &self.stamp.cursor, &mut self.scratch)
        });
        if let Some(body) = body {
            self.core.metrics.deliveries_total.add(1);
            subscription.tell(body.clone(), &self.stamp, self.now);
        }
    }

    fn call_resolvers(mut self) {
        for ((_, transition, judged), (lane, audience)) in self.calls.drain() {
            let call = Arc::new(Call::new(&lane, self.event, transition, judged, &self.stamp, audience));
            match lane.enqueue(&call) {
                Enqueued::Yes => self.core.calls.push(call),
                Enqueued::Overflow => call.audience().iter().for_each(|subscription| overload(subscription)),
            }
        }
    }
}

fn overload(subscription: &Subscription) {
    let message = "the resolver is too slow for the rate of events: more waited than resolver_backlog_bytes_max allows";
    subscription.fail_later(Failure::new("RESOLVER_OVERLOADED", message));
}
