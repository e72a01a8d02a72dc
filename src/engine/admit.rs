//! The modules that stand before the gate: federation, then scope. In doubt the answer is no.

use serde_json::{Map, Value};

use super::core::Core;
use super::declare::Field;
use crate::failure::Failure;
use crate::graphql::CompiledSubscription;
use crate::model::Principal;
use crate::security::{Module, Refusal, federation, scope};

impl Core {
    /// Whether the principal may use the field in this way. What it did not ask for in particular is narrowed to what
    /// the field gives.
    pub(super) fn admit(
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
    pub(super) fn admit_field(
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
    pub(super) fn refused(&self, refusal: impl Into<Refusal>) -> Failure {
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
