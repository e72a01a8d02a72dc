//! The modules that stand before the gate: federation, then scope. In doubt the answer is no.

use serde_json::{Map, Value};

use crate::engine::deliver::{Condition, Core, Source};
use crate::engine::served::{Field, FieldSource, Live};
use crate::failure::Failure;
use crate::graphql::CompiledSubscription;
use crate::matcher::OperationSet;
use crate::model::{Principal, Table, Timestamp};
use crate::predicate::{FilterLimits, Predicate};
use crate::security::{Admission, Module, Refusal, federation, scope};
use std::sync::Arc;

/// Whether the principal may use the field in this way. What it did not ask for in particular is narrowed to what
/// the field gives.
pub(crate) fn admit(
    core: &Core,
    principal: &Principal,
    field: &Field,
    compiled: &mut CompiledSubscription,
) -> Result<(), Failure> {
    admit_field(core, principal, field, &compiled.variables)?;
    let asked = compiled.arguments.operations.take();
    let watched = scope::watched(&field.scope, asked.as_deref());
    compiled.arguments.operations = watched.map_err(|refusal| refused(core, refusal))?;
    Ok(())
}

/// The same, of what is asked without watching anything.
pub(crate) fn admit_field(
    core: &Core,
    principal: &Principal,
    field: &Field,
    variables: &Map<String, Value>,
) -> Result<(), Failure> {
    let this = core.settings.service.as_deref();
    federation::check(this, field.service.as_deref(), principal).map_err(|refusal| refused(core, refusal))?;
    scope::check_variables(&core.settings.protected_variables, principal, variables)
        .and_then(|()| scope::check_scopes(&field.scope, principal))
        .map_err(|refusal| refused(core, refusal))
}

/// What the client gets for a module's no, which is counted. What it does not get is the operator's to know.
pub(crate) fn refused(core: &Core, refusal: impl Into<Refusal>) -> Failure {
    let refusal = refusal.into();
    let metrics = &core.metrics;
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

/// Asks the gate for a compiled subscription, and makes its condition.
pub(crate) fn source(
    core: &Core,
    live: &Live,
    principal: &Principal,
    field: &Field,
    compiled: &CompiledSubscription,
) -> Result<(Admission, Source, Option<Condition>), Failure> {
    match &field.source {
        FieldSource::Table(table) => {
            let wanted = wanted(&core.settings.filter, table, compiled)?;
            let reads = compiled.plan.columns().chain(wanted.iter().flat_map(Predicate::columns)).collect();
            let admitted = live.gate.admit_table(principal, table, &reads);
            let admission = admitted.map_err(|refusal| refused(core, refusal))?;
            let condition = condition(wanted, &admission, compiled);
            Ok((admission, Source::Table(Arc::clone(table)), Some(condition)))
        }
        FieldSource::Topic { name, public } => {
            let admitted = live.gate.admit_topic(principal, name, *public);
            let admission = admitted.map_err(|refusal| refused(core, refusal))?;
            Ok((admission, Source::Topic(name.as_str().into()), None))
        }
    }
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

/// A token that has expired admits no subscription.
pub(crate) fn refuse_expired(principal: &Principal, now: Timestamp) -> Result<(), Failure> {
    let is_over = |at: Timestamp| at.0 <= now.0;
    if principal.expires_at.is_some_and(is_over) { Err(expired()) } else { Ok(()) }
}

/// The token of a principal ends, or has ended.
pub(crate) fn expired() -> Failure {
    Failure::new("TOKEN_EXPIRED", "the principal's token has expired: subscribe again with a fresh one")
}
