//! The gate's answer to a compiled request, in the engine's terms: counted, and with the condition for the index.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::engine::deliver::{Condition, Core, Source};
use crate::engine::served::{Field, FieldSource, Live};
use crate::failure::Failure;
use crate::graphql::CompiledSubscription;
use crate::matcher::OperationSet;
use crate::metrics::Metrics;
use crate::model::{Principal, Table, Timestamp};
use crate::predicate::{FilterLimits, Predicate};
use crate::security::{AccessRequest, Admission, Module, Refusal, SourceAccess};

/// What the gate grants to a subscription.
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    pub(crate) source: Source,
    /// `None` for a topic.
    pub(crate) condition: Option<Condition>,
}

/// Asks the gate for a compiled subscription, and makes its condition.
pub(crate) fn admit(
    core: &Core,
    live: &Live,
    principal: &Principal,
    field: &Field,
    compiled: &CompiledSubscription,
) -> Result<Admitted, Failure> {
    let wanted = match &field.source {
        FieldSource::Table(table) => wanted(&core.settings.filter, table, compiled)?,
        FieldSource::Topic { .. } => None,
    };
    let reads = compiled.plan.columns().chain(wanted.iter().flat_map(Predicate::columns)).collect();
    let request = AccessRequest {
        principal,
        field: &field.rules,
        variables: &compiled.variables,
        operations: compiled.arguments.operations.as_deref(),
        source: access(&field.source, &reads),
    };
    let admission = live.gate.admit(&request).map_err(|refusal| refused(&core.metrics, &refusal))?;
    Ok(match &field.source {
        FieldSource::Table(table) => {
            let condition = Some(condition(wanted, &admission));
            Admitted { admission, source: Source::Table(Arc::clone(table)), condition }
        }
        FieldSource::Topic { name, .. } => {
            Admitted { admission, source: Source::Topic(name.as_str().into()), condition: None }
        }
    })
}

/// What of a field's source is to be read.
pub(crate) fn access<'a>(source: &'a FieldSource, reads: &'a BTreeSet<usize>) -> SourceAccess<'a> {
    match source {
        FieldSource::Table(table) => SourceAccess::Table(table, reads),
        FieldSource::Topic { name, public } => SourceAccess::Topic { name, public: *public },
    }
}

/// What the client gets for a module's no, which is counted. What it does not get is the operator's to know.
pub(crate) fn refused(metrics: &Metrics, refusal: &Refusal) -> Failure {
    let refusals = match refusal.module() {
        Module::Federation => &metrics.federation_refusals_total,
        Module::Scope => &metrics.scope_refusals_total,
        Module::Tenant => &metrics.tenant_refusals_total,
        Module::RowPolicy => &metrics.row_policy_refusals_total,
        Module::Columns => &metrics.columns_refusals_total,
    };
    refusals.add(1);
    if refusal.is_for_the_operator() {
        tracing::warn!(code = refusal.code(), "a client was refused: {refusal}");
    }
    Failure::new(refusal.code(), refusal.to_client())
}

/// The `where` argument.
fn wanted(limits: &FilterLimits, table: &Table, compiled: &CompiledSubscription) -> Result<Option<Predicate>, Failure> {
    let filter = Some(&compiled.arguments.filter).filter(|filter| !filter.is_null());
    Ok(filter.map(|filter| Predicate::parse_where_within(limits, table, filter)).transpose()?)
}

fn condition(wanted: Option<Predicate>, admission: &Admission) -> Condition {
    let predicate = Predicate::and(wanted.into_iter().chain(admission.condition()));
    let operations = admission.operations().map_or(OperationSet::ALL, |set| set.iter().copied().collect());
    Condition { predicate: Arc::new(predicate), operations }
}

/// A token that has expired admits no subscription.
pub(crate) fn refuse_expired(principal: &Principal, now: Timestamp) -> Result<(), Failure> {
    let is_over = |at: Timestamp| at.0 <= now.0;
    if principal.expires_at.is_some_and(is_over) { Err(expired()) } else { Ok(()) }
}

/// The token of a principal ends, or has ended.
pub(crate) fn expired() -> Failure {
    Failure::new("TOKEN_EXPIRED", "the principal's token has expired: subscribe again with a fresh one")
}
