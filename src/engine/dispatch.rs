//! From one event to everybody who is to be told: match, gate, encode once, queue.
//!
//! One fair lock guards the index. Registering takes it as well, so a subscription is in force from the moment that
//! `subscribe` returns: a row committed after that is told. (A command channel to an index of one owner was considered:
//! it makes registration asynchronous and needs a bound of its own.)

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Core;
use super::failure::Failure;
use super::resolve::{Call, Enqueued, Lane};
use super::subscription::{Maker, Source, Stamp, Subscription};
use crate::graphql::Plan;
use crate::journal::Cursor;
use crate::matcher::{Match, Matcher, Scratch};
use crate::model::{Change, Event, Operation, SubscriptionId, Transition};
use crate::payload;
use crate::security::Inspection;

/// Which subscriptions an event may concern.
#[derive(Default)]
pub(super) struct Index {
    matcher: Matcher,
    scratch: Scratch,
    topics: FxHashMap<TopicKey, FxHashSet<SubscriptionId>>,
    tables: FxHashMap<u32, FxHashSet<SubscriptionId>>,
}

/// A topic and the tenant whose messages are meant; no tenant for messages to everybody.
type TopicKey = (Box<str>, Option<Box<str>>);

impl Index {
    pub(super) fn insert(&mut self, subscription: &Subscription) {
        let id = subscription.id;
        match &subscription.source {
            Source::Table { table, predicate, operations } => {
                self.matcher.insert(id, table, predicate, *operations);
                if operations.contains(Operation::Truncate) {
                    self.tables.entry(table.oid).or_default().insert(id);
                }
            }
            Source::Topic(topic) => {
                for tenant in subscription.admission.audiences() {
                    self.topics.entry((topic.clone(), tenant)).or_default().insert(id);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, subscription: &Subscription) {
        let id = subscription.id;
        match &subscription.source {
            Source::Table { table, .. } => {
                self.matcher.remove(id);
                prune(&mut self.tables, &table.oid, id);
            }
            Source::Topic(topic) => {
                for tenant in subscription.admission.audiences() {
                    prune(&mut self.topics, &(topic.clone(), tenant), id);
                }
            }
        }
    }

    /// The audience of an event, in no particular order.
    fn audience(&mut self, event: &Event) -> Vec<Match> {
        match &event.change {
            Change::Row(change) => self.matcher.matches(change, &mut self.scratch).to_vec(),
            Change::Truncate(table) => everybody(self.tables.get(&table.oid), Transition::Leave),
            Change::Message(message) => {
                let key = (message.topic.clone(), message.tenant.clone());
                everybody(self.topics.get(&key), Transition::Enter)
            }
        }
    }
}

fn everybody(ids: Option<&FxHashSet<SubscriptionId>>, transition: Transition) -> Vec<Match> {
    ids.into_iter().flatten().map(|&id| Match { id, transition }).collect()
}

fn prune<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, FxHashSet<SubscriptionId>>, key: &K, id: SubscriptionId) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

impl Core {
    /// Tells an event to everybody who may see it. The index stays locked until all are told, so that two events are
    /// never told in two orders.
    pub(super) fn dispatch(&self, event: &Arc<Event>) {
        self.metrics.events_total.add(1);
        self.metrics.commit_lsn.set(event.position.commit_lsn.0);
        let mut index = self.index.lock();
        let audience = index.audience(event);
        if audience.is_empty() {
            return;
        }
        let mut telling = Telling::new(self, event);
        for found in audience {
            if let Some(subscription) = self.registry.subscription(found.id) {
                telling.tell(&subscription, found.transition);
            }
        }
        telling.call_resolvers();
    }
}

/// Everybody who waits for one resolver's answer.
type Audience = (Arc<Lane>, Vec<Arc<Subscription>>);

/// One event on its way: what was encoded for one subscription is shared with all that get the same bytes.
struct Telling<'a> {
    core: &'a Core,
    event: &'a Arc<Event>,
    stamp: Stamp,
    inspection: Inspection<'a>,
    scratch: payload::Scratch,
    bodies: FxHashMap<(*const Plan, Transition), Option<Bytes>>,
    calls: FxHashMap<(*const Lane, Transition), Audience>,
}

impl<'a> Telling<'a> {
    fn new(core: &'a Core, event: &'a Arc<Event>) -> Self {
        let cursor = Cursor { origin: core.origin(), position: event.position }.to_string().into();
        Telling {
            core,
            event,
            stamp: Stamp { position: event.position, cursor },
            inspection: Inspection::new(event),
            scratch: payload::Scratch::default(),
            bodies: FxHashMap::default(),
            calls: FxHashMap::default(),
        }
    }

    fn tell(&mut self, subscription: &Arc<Subscription>, transition: Transition) {
        match &subscription.maker {
            Maker::Engine => self.encode(subscription, transition),
            Maker::Resolver { leave: false, .. } if transition == Transition::Leave => {}
            Maker::Resolver { lane, .. } => {
                if self.inspection.visible(&subscription.admission, transition).is_some() {
                    let group = self.calls.entry((Arc::as_ptr(lane), transition));
                    group.or_insert_with(|| (Arc::clone(lane), Vec::new())).1.push(Arc::clone(subscription));
                }
            }
        }
    }

    fn encode(&mut self, subscription: &Arc<Subscription>, transition: Transition) {
        let Some(visible) = self.inspection.visible(&subscription.admission, transition) else {
            self.core.metrics.gate_refusals_total.add(1);
            return;
        };
        let key = (Arc::as_ptr(&subscription.plan), transition);
        let body = self.bodies.entry(key).or_insert_with(|| {
            self.core.metrics.payloads_total.add(1);
            let plan = &subscription.plan;
            self.core.encoder.event_body(plan, &visible, &self.stamp.cursor, &mut self.scratch)
        });
        if let Some(body) = body {
            self.core.metrics.deliveries_total.add(1);
            subscription.tell(body.clone(), &self.stamp);
        }
    }

    fn call_resolvers(&mut self) {
        for ((_, transition), (lane, audience)) in self.calls.drain() {
            let call = Arc::new(Call::new(&lane, self.event, transition, &self.stamp, audience));
            match lane.enqueue(&call) {
                Enqueued::Yes => {
                    self.core.metrics.resolver_calls_total.add(1);
                    self.core.calls.push(call);
                }
                Enqueued::Overflow => {
                    let overloaded = || overloaded(&self.stamp.cursor);
                    call.audience().iter().for_each(|subscription| subscription.fail_later(overloaded()));
                }
            }
        }
    }
}

fn overloaded(cursor: &str) -> Failure {
    let message = "the resolver is too slow for the rate of events: more waited than resolver_backlog_bytes_max allows";
    Failure::new("RESOLVER_OVERLOADED", message).with_cursor(cursor)
}
