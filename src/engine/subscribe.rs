//! From a request to a live subscription: compile, ask the gate, put it into the index.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::Core;
use super::declare::{Field, Source as FieldSource};
use super::failure::Failure;
use super::live::Live;
use super::subscription::{Maker, Sink, Source, Subscription};
use crate::graphql::{CompiledSubscription, Operation as Compiled, Request};
use crate::matcher::OperationSet;
use crate::model::{Principal, SubscriptionId, Table};
use crate::predicate::Predicate;
use crate::security::{Admission, admit_table, admit_topic};

/// What became of a request.
pub(super) enum Subscribed {
    /// A query: this is its response.
    Answer(Bytes),
    /// A subscription: events from now on go to its sink.
    Live(SubscriptionId),
}

impl Core {
    /// Starts an operation. A subscription is in force when this returns.
    pub(super) fn subscribe(
        &self,
        principal: &Arc<Principal>,
        request: &Arc<Request>,
        sink: Sink,
    ) -> Result<Subscribed, Failure> {
        let live = self.live()?;
        match live.schema.compile(request)? {
            Compiled::Query(response) => Ok(Subscribed::Answer(response)),
            Compiled::Subscription(compiled) => {
                let id = self.registry.next_subscription_id();
                let flag = Arc::new(AtomicBool::new(true));
                let draft = Draft { id, principal, request, sink: Arc::new(sink), live: flag };
                let subscription = self.build(&live, *compiled, draft)?;
                self.enlist(&Arc::new(subscription));
                Ok(Subscribed::Live(id))
            }
        }
    }

    /// Ends a subscription without telling its reader; `None` when it had ended.
    pub(super) fn complete(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        let mut index = self.index.lock();
        let subscription = self.registry.remove_subscription(id)?;
        subscription.live.store(false, Ordering::Release);
        index.remove(&subscription);
        Some(subscription)
    }

    /// Compiles a subscription anew, after its table's shape or its schema has changed; the same id, reader and queue.
    pub(super) fn renew(&self, live: &Live, old: &Subscription) -> Result<(), Failure> {
        let Compiled::Subscription(compiled) = live.schema.compile(&old.request)? else {
            return Err(Failure::new("SCHEMA_CHANGED", "the schema has changed: subscribe again"));
        };
        let draft = Draft {
            id: old.id,
            principal: &old.principal,
            request: &old.request,
            sink: Arc::clone(&old.sink),
            live: Arc::clone(&old.live),
        };
        let subscription = Arc::new(self.build(live, *compiled, draft)?);
        let mut index = self.index.lock();
        if let Some(replaced) = self.registry.subscription(old.id) {
            index.remove(&replaced);
            self.registry.put_subscription(&subscription);
            index.insert(&subscription);
        }
        Ok(())
    }

    fn enlist(&self, subscription: &Arc<Subscription>) {
        let mut index = self.index.lock();
        self.registry.put_subscription(subscription);
        index.insert(subscription);
    }

    fn build(&self, live: &Live, compiled: CompiledSubscription, draft: Draft<'_>) -> Result<Subscription, Failure> {
        let field = live.field(compiled.field);
        let (admission, source) = source(draft.principal, field, &compiled)?;
        Ok(Subscription {
            id: draft.id,
            principal: Arc::clone(draft.principal),
            request: Arc::clone(draft.request),
            source,
            admission,
            maker: self.maker(field, compiled.variables),
            plan: compiled.plan,
            sink: draft.sink,
            live: draft.live,
            evictions: self.evictions.clone(),
        })
    }

    fn maker(&self, field: &Field, variables: serde_json::Map<String, serde_json::Value>) -> Maker {
        match &field.resolver {
            None => Maker::Engine,
            Some(resolver) => {
                let bytes_max = self.settings.resolver_backlog_bytes_max;
                Maker::Resolver { lane: self.lanes.lane(resolver.index, variables, bytes_max), leave: resolver.leave }
            }
        }
    }
}

/// The parts of a subscription that outlive a change of the schema.
struct Draft<'a> {
    id: SubscriptionId,
    principal: &'a Arc<Principal>,
    request: &'a Arc<Request>,
    sink: Arc<Sink>,
    live: Arc<AtomicBool>,
}

fn source(
    principal: &Principal,
    field: &Field,
    compiled: &CompiledSubscription,
) -> Result<(Admission, Source), Failure> {
    match &field.source {
        FieldSource::Table(table) => {
            let admission = admit_table(principal, table)?;
            let predicate = Arc::new(condition(table, &admission, compiled)?);
            let operations =
                compiled.arguments.operations.as_ref().map_or(OperationSet::ALL, |set| set.iter().copied().collect());
            Ok((admission, Source::Table { table: Arc::clone(table), predicate, operations }))
        }
        FieldSource::Topic { name, public } => {
            Ok((admit_topic(principal, name, *public)?, Source::Topic(name.as_str().into())))
        }
    }
}

fn condition(table: &Table, admission: &Admission, compiled: &CompiledSubscription) -> Result<Predicate, Failure> {
    let filter = Some(&compiled.arguments.filter).filter(|filter| !filter.is_null());
    let wanted = filter.map(|filter| Predicate::parse_where(table, filter)).transpose()?;
    Ok(Predicate::and(wanted.into_iter().chain(admission.condition().cloned())))
}
