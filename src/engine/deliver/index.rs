//! All live subscriptions, and which of them an event may concern.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::subscription::{Source, Subscription};
use crate::failure::Failure;
use crate::matcher::{Matcher, OperationSet, Scratch};
use crate::model::{Change, Event, Operation, SubscriptionId, Transition};
use crate::predicate::{Predicate, Truth};

/// What is live, by id and by what it wants.
#[derive(Default)]
pub(crate) struct Index {
    subscriptions: FxHashMap<SubscriptionId, Arc<Subscription>>,
    matcher: Matcher,
    scratch: Scratch,
    topics: FxHashMap<TopicKey, Everybody>,
    /// The subscriptions that get a table's TRUNCATE.
    truncations: FxHashMap<u32, Everybody>,
    /// Subscriptions that are not matched yet: they first get what they missed.
    held: FxHashMap<SubscriptionId, Option<Condition>>,
    /// Tables whose shape in the stream is not known.
    set_aside: FxHashMap<u32, Failure>,
}

/// A topic and the tenant of its messages; `None` for messages without a tenant.
type TopicKey = (Box<str>, Option<Box<str>>);

/// Subscriptions that get every event of a source. In order of age, which is about the order in memory: a walk over
/// 10,000 is twice as fast as in the order of a hash.
type Everybody = BTreeMap<SubscriptionId, Arc<Subscription>>;

/// The rows that a subscription to a table wants. The index alone keeps it, and equal ones once.
#[derive(Clone)]
pub(crate) struct Condition {
    pub(crate) predicate: Arc<Predicate>,
    pub(crate) operations: OperationSet,
}

/// What an event means to one subscription, as far as the index can tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concern {
    pub(crate) transition: Transition,
    /// What its condition says of the image before.
    pub(crate) old: Truth,
    /// What its condition says of the image after.
    pub(crate) new: Truth,
}

impl Index {
    pub(crate) fn insert(&mut self, subscription: &Arc<Subscription>, condition: Option<&Condition>) {
        let id = subscription.id;
        match (&subscription.source, condition) {
            (Source::Table(table), Some(Condition { predicate, operations })) => {
                self.matcher.insert(id, table, predicate, *operations);
                if operations.contains(Operation::Truncate) {
                    self.truncations.entry(table.oid).or_default().insert(id, Arc::clone(subscription));
                }
            }
            (Source::Table(_), None) => {}
            (Source::Topic(topic), _) => {
                for tenant in subscription.admission.audiences() {
                    self.topics.entry((topic.clone(), tenant)).or_default().insert(id, Arc::clone(subscription));
                }
            }
        }
        self.subscriptions.insert(id, Arc::clone(subscription));
    }

    /// Adds a subscription that gets nothing until it is [let in](Self::let_in).
    pub(crate) fn hold(&mut self, subscription: &Arc<Subscription>, condition: Option<Condition>) {
        self.held.insert(subscription.id, condition);
        self.subscriptions.insert(subscription.id, Arc::clone(subscription));
    }

    /// One that is still held.
    pub(crate) fn held(&self, id: SubscriptionId) -> Option<(Arc<Subscription>, Option<Condition>)> {
        Some((Arc::clone(self.subscriptions.get(&id)?), self.held.get(&id)?.clone()))
    }

    /// Whether it is known and gets nothing new yet.
    pub(crate) fn is_held(&self, id: SubscriptionId) -> bool {
        self.held.contains_key(&id)
    }

    /// It has got what it missed.
    pub(crate) fn let_in(&mut self, id: SubscriptionId) {
        if let Some((subscription, condition)) = self.held(id) {
            self.held.remove(&id);
            self.insert(&subscription, condition.as_ref());
        }
    }

    /// Puts its successor in its place, if it is still there.
    pub(crate) fn replace(&mut self, successor: &Arc<Subscription>, condition: Option<Condition>) {
        let is_held = self.held.contains_key(&successor.id);
        match self.remove(successor.id) {
            Some(_) if is_held => self.hold(successor, condition),
            Some(_) => self.insert(successor, condition.as_ref()),
            None => {}
        }
    }

    /// `None` when it was not there, or not any more.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        let subscription = self.subscriptions.remove(&id)?;
        self.held.remove(&id);
        match &subscription.source {
            Source::Table(table) => {
                self.matcher.remove(id);
                prune(&mut self.truncations, &table.oid, id);
            }
            Source::Topic(topic) => {
                for tenant in subscription.admission.audiences() {
                    prune(&mut self.topics, &(topic.clone(), tenant), id);
                }
            }
        }
        Some(subscription)
    }

    /// One that is there, held or not.
    pub(crate) fn find(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.subscriptions.get(&id).cloned()
    }

    /// In no particular order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.subscriptions.values()
    }

    pub(crate) fn len(&self) -> u64 {
        self.subscriptions.len() as u64
    }

    /// Subscriptions to this table are refused from now on.
    pub(crate) fn set_aside(&mut self, table: u32, failure: Failure) {
        self.set_aside.insert(table, failure);
    }

    /// The catalog is known again.
    pub(crate) fn readmit(&mut self) {
        self.set_aside.clear();
    }

    /// Whether events of this source can be delivered.
    pub(crate) fn admits(&self, source: &Source) -> Result<(), Failure> {
        source.table().and_then(|table| self.set_aside.get(&table)).map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Visits every subscription that the event may concern, each once, in no particular order.
    pub(crate) fn audience(&mut self, event: &Event, mut tell: impl FnMut(&Arc<Subscription>, Concern)) {
        match &event.change {
            Change::Row(change) => {
                for found in self.matcher.matches(change, &mut self.scratch) {
                    if let Some(subscription) = self.subscriptions.get(&found.id) {
                        tell(subscription, Concern { transition: found.transition, old: found.old, new: found.new });
                    }
                }
            }
            Change::Truncate(table) => tell_all(self.truncations.get(&table.oid), Transition::Leave, tell),
            Change::Message(message) => {
                let key = (message.topic.clone(), message.tenant.clone());
                tell_all(self.topics.get(&key), Transition::Enter, tell);
            }
            // For one subscription: the snapshot that read the rows delivers it.
            Change::SnapshotEnd(_) => {}
        }
    }
}

fn tell_all(everybody: Option<&Everybody>, transition: Transition, mut tell: impl FnMut(&Arc<Subscription>, Concern)) {
    let concern = Concern { transition, old: Truth::Unavailable, new: Truth::Unavailable };
    everybody.into_iter().flat_map(BTreeMap::values).for_each(|subscription| tell(subscription, concern));
}

fn prune<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, Everybody>, key: &K, id: SubscriptionId) {
    if let Some(everybody) = map.get_mut(key) {
        everybody.remove(&id);
        if everybody.is_empty() {
            map.remove(key);
        }
    }
}
