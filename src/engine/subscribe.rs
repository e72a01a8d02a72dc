//! From a request to a live subscription: compile, ask the gate, put it into the index.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::beginning::Beginning;
use super::core::Core;
use super::declare::{Field, Source as FieldSource};
use super::index::Condition;
use super::live::Live;
use super::outbound::Progress;
use super::rate::Key;
use super::subscription::{Maker, Sink, Source, Subscription};
use super::transaction::Grouping;
use crate::config::SlowClient;
use crate::failure::Failure;
use crate::graphql::{CompiledSubscription, EntityRequest, Operation as Compiled, Request};
use crate::journal::Origin;
use crate::matcher::OperationSet;
use crate::model::{Principal, SubscriptionId, Table};
use crate::predicate::{FilterLimits, Predicate};
use crate::security::Admission;

/// What became of a subscription whose table or role has changed.
pub(crate) enum Renewal {
    /// It continues under the new rules, or has ended.
    Done,
    /// Earlier events of it wait in a lane that it would leave.
    Later,
}

/// What became of a request.
pub(crate) enum Subscribed {
    /// A query: this is its response.
    Answer(Bytes),
    /// Rows by key, to be read as what is served now; the number is theirs alone.
    Entities(SubscriptionId, Arc<Live>, Box<EntityRequest>),
    /// A subscription: events from now on go to its sink.
    Live(SubscriptionId),
}

impl Core {
    /// Starts an operation. A subscription is in force when this returns: what is new comes behind what it missed.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        principal: &Arc<Principal>,
        rates: Key,
        request: &Arc<Request>,
        sink: Sink,
    ) -> Result<Subscribed, Failure> {
        let draft = Draft { id: SubscriptionId(self.next_id()), principal, request, sink };
        let progress = Progress::new();
        loop {
            let live = self.live()?;
            match live.compile(request)? {
                Compiled::Query(response) => return Ok(Subscribed::Answer(response)),
                Compiled::Entities(asked) => return Ok(Subscribed::Entities(draft.id, live, asked)),
                Compiled::Subscription(compiled) => {
                    let origin = self.outbound.history.origin();
                    let beginning = Beginning::wanted(&compiled.arguments, request, |cursor| {
                        self.outbound.history.contains(cursor)
                    })?;
                    progress.resume_from(beginning.after());
                    let lasting = Lasting {
                        progress: Arc::clone(&progress),
                        grouping: compiled.plan.transaction.is_some().then(|| Grouping::new(beginning.after())),
                        keeps_rows: beginning.keeps_rows(),
                    };
                    let made = self.make(&live, *compiled, &draft, lasting)?;
                    if let Some(lane) = &made.subscription.policy {
                        self.check_askable(lane.question())?;
                        self.rates.check_delegated(rates)?;
                    }
                    self.check_snapshot(&made.subscription, beginning)?;
                    if self.enlist(&live, made, beginning, origin)? {
                        self.bring_up(draft.id, beginning)?;
                        return Ok(Subscribed::Live(draft.id));
                    }
                }
            }
        }
    }

    /// Ends a subscription without a word to its reader; `None` when it had ended.
    pub(crate) fn complete(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        let subscription = self.index.lock().remove(id)?;
        subscription.progress.end();
        Some(subscription)
    }

    /// Compiles a subscription again after its table's shape or its schema has changed; it keeps id, reader and queue.
    pub(crate) fn renew(&self, live: &Live, old: &Subscription) -> Result<Renewal, Failure> {
        let made = self.make_again(live, old)?;
        if old.leaves_unfinished(&made.subscription) {
            return Ok(Renewal::Later);
        }
        if made.subscription.is_told_later() && !old.is_told_later() {
            made.subscription.sink.begins(true);
        }
        self.index.lock().replace(&made.subscription, made.condition);
        Ok(Renewal::Done)
    }

    /// Takes it out of the index until it has got the rows. False when it has ended.
    pub(crate) fn hold_again(&self, old: &Subscription) -> Result<bool, Failure> {
        let made = self.make_again(&*self.live()?, old)?;
        let mut index = self.index.lock();
        let is_there = index.remove(old.id).is_some();
        if is_there {
            index.hold(&made.subscription, made.condition);
        }
        Ok(is_there)
    }

    fn make_again(&self, live: &Live, old: &Subscription) -> Result<Made, Failure> {
        let compiled = live.compile(&old.request).map_err(schema_changed)?;
        let Compiled::Subscription(compiled) = compiled else {
            return Err(Failure::new("SCHEMA_CHANGED", "the schema has changed: subscribe again"));
        };
        let sink = old.sink.clone();
        let draft = Draft { id: old.id, principal: &old.principal, request: &old.request, sink };
        let (progress, grouping) = (Arc::clone(&old.progress), old.grouping.clone());
        self.make(live, *compiled, &draft, Lasting { progress, grouping, keeps_rows: old.keeps_rows })
    }

    /// False when the schema, or the history that the cursor was checked against, has been replaced since the
    /// subscription was compiled.
    fn enlist(&self, live: &Arc<Live>, made: Made, beginning: Beginning, origin: Origin) -> Result<bool, Failure> {
        let mut index = self.index.lock();
        let current = self.is_served(&index, live)? && self.outbound.history.origin() == origin;
        if current {
            index.admits(&made.subscription.source)?;
            made.subscription.sink.begins(beginning != Beginning::Now || made.subscription.is_told_later());
            if let Some(after) = beginning.after() {
                made.subscription.progress.told(after);
            }
            match beginning {
                Beginning::Now => index.insert(&made.subscription, made.condition.as_ref()),
                _ => index.hold(&made.subscription, made.condition),
            }
        }
        Ok(current)
    }

    fn make(
        &self,
        live: &Live,
        mut compiled: CompiledSubscription,
        draft: &Draft<'_>,
        lasting: Lasting,
    ) -> Result<Made, Failure> {
        let field = live.field(compiled.field);
        self.admit(draft.principal, field, &mut compiled)?;
        let (admission, source, condition) = self.source(live, draft.principal, field, &compiled)?;
        let slow_client = field.slow_client.unwrap_or(self.settings.slow_client);
        self.coalesces.fetch_or(slow_client == SlowClient::Coalesce, Ordering::Relaxed);
        let subscription = Arc::new(Subscription {
            id: draft.id,
            principal: Arc::clone(draft.principal),
            request: Arc::clone(draft.request),
            source,
            maker: self.maker(field, compiled.variables, draft.principal, &admission),
            policy: admission.question().map(|question| self.policies.lane(question)),
            admission,
            plan: compiled.plan,
            sink: draft.sink.clone(),
            slow_client,
            grouping: lasting.grouping,
            keeps_rows: lasting.keeps_rows,
            progress: lasting.progress,
            evictions: self.outbound.evictions.clone(),
        });
        Ok(Made { subscription, condition })
    }

    /// Asks the gate for a compiled subscription, and makes its condition.
    pub(crate) fn source(
        &self,
        live: &Live,
        principal: &Principal,
        field: &Field,
        compiled: &CompiledSubscription,
    ) -> Result<(Admission, Source, Option<Condition>), Failure> {
        match &field.source {
            FieldSource::Table(table) => {
                let wanted = wanted(&self.settings.filter, table, compiled)?;
                let reads = compiled.plan.columns().chain(wanted.iter().flat_map(Predicate::columns)).collect();
                let admitted = live.gate.admit_table(principal, table, &reads);
                let admission = admitted.map_err(|refusal| self.refused(refusal))?;
                let condition = condition(wanted, &admission, compiled);
                Ok((admission, Source::Table(Arc::clone(table)), Some(condition)))
            }
            FieldSource::Topic { name, public } => {
                let admitted = live.gate.admit_topic(principal, name, *public);
                let admission = admitted.map_err(|refusal| self.refused(refusal))?;
                Ok((admission, Source::Topic(name.as_str().into()), None))
            }
        }
    }

    fn maker(
        &self,
        field: &Field,
        variables: Map<String, Value>,
        principal: &Principal,
        admission: &Admission,
    ) -> Maker {
        let Some(resolver) = &field.resolver else { return Maker::Engine };
        let tenant = principal.tenant_id.as_deref().filter(|_| !admission.spans_tenants());
        let bytes_max = self.settings.resolver_backlog_bytes_max;
        let lane = self.lanes.lane(resolver.index, variables, tenant, admission.columns(), bytes_max);
        Maker::Resolver { lane, leave: resolver.leave }
    }
}

/// The parts of a subscription that outlive a change of the schema.
struct Draft<'a> {
    id: SubscriptionId,
    principal: &'a Arc<Principal>,
    request: &'a Arc<Request>,
    sink: Sink,
}

/// What its client has got so far.
struct Lasting {
    progress: Arc<Progress>,
    grouping: Option<Arc<Grouping>>,
    keeps_rows: bool,
}

/// A subscription that is not in the index yet, and by what it is found there.
struct Made {
    subscription: Arc<Subscription>,
    condition: Option<Condition>,
}

/// Why a document that was valid when its subscription began is refused now.
fn schema_changed(failure: Failure) -> Failure {
    let Failure::Request(_) = failure else { return failure };
    Failure::new(
        "SCHEMA_CHANGED",
        format!("the schema has changed, and this document does not fit it any more: {failure}"),
    )
}

/// The `where` argument.
fn wanted(limits: &FilterLimits, table: &Table, compiled: &CompiledSubscription) -> Result<Option<Predicate>, Failure> {
    let filter = Some(&compiled.arguments.filter).filter(|filter| !filter.is_null());
    Ok(filter.map(|filter| Predicate::parse_where_within(limits, table, filter)).transpose()?)
}

fn condition(wanted: Option<Predicate>, admission: &Admission, compiled: &CompiledSubscription) -> Condition {
    let predicate = Predicate::and(wanted.into_iter().chain(admission.condition()));
    let operations = compiled.arguments.operations.as_ref();
    let operations = operations.map_or(OperationSet::ALL, |set| set.iter().copied().collect());
    Condition { predicate: Arc::new(predicate), operations }
}
