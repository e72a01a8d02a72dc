//! Makes a subscription from its compiled request: admitted by the gate, with its condition and the maker of its
//! results.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value};

use super::admit::{Admitted, admit};
use crate::config::SlowClient;
use crate::engine::deliver::{Condition, Core, Grouping, Maker, Sink, Subscription};
use crate::engine::outbound::Progress;
use crate::engine::served::{Field, Live};
use crate::failure::Failure;
use crate::graphql::{CompiledSubscription, Request};
use crate::model::{Principal, SubscriptionId};
use crate::security::Admission;

/// The parts of a subscription that outlive a change of the schema.
pub(super) struct SubscriptionDraft<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) id: SubscriptionId,
    pub(super) principal: &'a Arc<Principal>,
    pub(super) request: &'a Arc<Request>,
    pub(super) sink: Sink,
}

/// What its client has got so far.
pub(super) struct Lasting {
    pub(super) progress: Arc<Progress>,
    pub(super) grouping: Option<Arc<Grouping>>,
    pub(super) keeps_rows: bool,
}

/// A subscription that is not in the index yet, and by what it is found there.
pub(super) struct Made {
    pub(super) subscription: Arc<Subscription>,
    pub(super) condition: Option<Condition>,
}

impl SubscriptionDraft<'_> {
    pub(super) fn make(&self, live: &Live, compiled: CompiledSubscription, lasting: Lasting) -> Result<Made, Failure> {
        let core = self.core;
        let field = live.field(compiled.field);
        let Admitted { admission, source, condition } = admit(core, live, self.principal, field, &compiled)?;
        let slow_client = field.slow_client.unwrap_or(core.settings.slow_client);
        core.coalesces.fetch_or(slow_client == SlowClient::Coalesce, Ordering::Relaxed);
        let subscription = Arc::new(Subscription {
            id: self.id,
            principal: Arc::clone(self.principal),
            request: Arc::clone(self.request),
            source,
            maker: self.maker(field, compiled.variables, &admission),
            policy: admission.question().map(|question| core.policies.lane(question)),
            admission,
            plan: compiled.plan,
            sink: self.sink.clone(),
            slow_client,
            grouping: lasting.grouping,
            keeps_rows: lasting.keeps_rows,
            progress: lasting.progress,
            evictions: core.outbound.evictions.clone(),
        });
        Ok(Made { subscription, condition })
    }

    fn maker(&self, field: &Field, variables: Map<String, Value>, admission: &Admission) -> Maker {
        let Some(resolver) = &field.resolver else { return Maker::Engine };
        let tenant = self.principal.tenant_id.as_deref().filter(|_| !admission.spans_tenants());
        let bytes_max = self.core.settings.resolver_backlog_bytes_max;
        let lane = self.core.lanes.lane(resolver.index, variables, tenant, admission.columns(), bytes_max);
        Maker::Resolver { lane, leave: resolver.leave }
    }
}
