//! The modules that stand before the gate: federation, then scope. In doubt the answer is no.

use serde_json::{Map, Value};

use super::core::Core;
use super::declare::Field;
use super::failure::Failure;
use crate::graphql::CompiledSubscription;
use crate::model::Principal;
use crate::security::Refusal;
use crate::security::{federation, scope};

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
        compiled.arguments.operations = watched.map_err(|refusal| self.refused_by_scope(refusal))?;
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
        federation::check(this, field.service.as_deref(), principal).map_err(|refusal| {
            self.metrics.federation_refusals_total.add(1);
            Failure::from(Refusal::from(refusal))
        })?;
        scope::check_variables(&self.settings.protected_variables, principal, variables)
            .and_then(|()| scope::check_scopes(&field.scope, principal))
            .map_err(|refusal| self.refused_by_scope(refusal))
    }

    fn refused_by_scope(&self, refusal: scope::ScopeRefusal) -> Failure {
        self.metrics.scope_refusals_total.add(1);
        Refusal::from(refusal).into()
    }
}
