//! The modules that stand before the gate: federation, then scope. In doubt the answer is no.

use serde_json::{Map, Value};

use super::core::Core;
use super::declare::Field;
use crate::failure::Failure;
use crate::graphql::CompiledSubscription;
use crate::model::{Principal, Timestamp};
use crate::security::{Module, Refusal, federation, scope};

impl Core {
    /// Whether the principal may use the field in this way. What it did not ask for in particular is narrowed to what
    /// the field gives.
    pub(crate) fn admit(
        &self,
        principal: &Principal,
        field: &Field,
        compiled: &mut CompiledSubscription,
    ) -> Result<(), Failure> {
        self.admit_field(principal, field, &compiled.variables)?;
        let asked = compiled.arguments.operations.take();
        let watched = scope::watched(&field.scope, asked.as_deref());
        compiled.arguments.operations = watched.map_err(|refusal| self.refused(refusal))?;
        Ok(())
    }

    /// The same, of what is asked without watching anything.
    pub(crate) fn admit_field(
        &self,
        principal: &Principal,
        field: &Field,
        variables: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let this = self.settings.service.as_deref();
        federation::check(this, field.service.as_deref(), principal).map_err(|refusal| self.refused(refusal))?;
        scope::check_variables(&self.settings.protected_variables, principal, variables)
            .and_then(|()| scope::check_scopes(&field.scope, principal))
            .map_err(|refusal| self.refused(refusal))
    }

    /// What the client gets for a module's no, which is counted. What it does not get is the operator's to know.
    pub(crate) fn refused(&self, refusal: impl Into<Refusal>) -> Failure {
        let refusal = refusal.into();
        let metrics = &self.metrics;
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
