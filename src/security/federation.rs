//! Federation: which service a field belongs to, and which services a principal may use.
//!
//! - Only a field's own service serves it, to principals that may use that service.
//! - A principal that is restricted to some services may not use a field without a declared service.

use crate::model::Principal;

/// Federation's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FederationRefusal {
    /// The field belongs to another service.
    #[error(
        "this field belongs to service {field}, and this is service {this}: send the operation to {field} or to the gateway"
    )]
    Foreign {
        /// The field's service.
        field: String,
        /// This service.
        this: String,
    },
    /// The principal may not use the service.
    #[error("the principal may not use {}: its token names other services", spoken(.service.as_deref()))]
    Forbidden {
        /// The service; `None` where neither the engine nor the field names one.
        service: Option<String>,
    },
}

impl FederationRefusal {
    /// The stable code for clients.
    pub fn code(&self) -> &'static str {
        match self {
            FederationRefusal::Foreign { .. } => "SERVICE_FOREIGN",
            FederationRefusal::Forbidden { .. } => "SERVICE_FORBIDDEN",
        }
    }
}

fn spoken(name: Option<&str>) -> String {
    name.map_or_else(|| "a service without a name".to_owned(), |name| format!("service {name}"))
}

/// Whether this engine serves the field. An engine without a name serves them all.
pub fn is_foreign(this: Option<&str>, field: Option<&str>) -> bool {
    matches!((this, field), (Some(this), Some(field)) if this != field)
}

/// Whether this engine (`this`) serves the field (declared for service `field`) to this principal.
pub fn check(this: Option<&str>, field: Option<&str>, principal: &Principal) -> Result<(), FederationRefusal> {
    if let (Some(this), Some(field)) = (this, field)
        && is_foreign(Some(this), Some(field))
    {
        return Err(FederationRefusal::Foreign { field: field.to_owned(), this: this.to_owned() });
    }
    let service = field.or(this);
    let may_use = |service: &str| principal.services.iter().any(|allowed| allowed == service);
    if principal.services.is_empty() || service.is_some_and(may_use) {
        return Ok(());
    }
    Err(FederationRefusal::Forbidden { service: service.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(this: Option<&str>, field: Option<&str>, services: &[&str]) -> Option<&'static str> {
        let services = services.iter().map(|service| (*service).into()).collect();
        let principal = Principal { services, ..Principal::default() };
        check(this, field, &principal).err().map(|refusal| refusal.code())
    }

    #[test]
    fn a_field_of_another_service_is_refused() {
        assert_eq!(code(Some("orders"), Some("billing"), &[]), Some("SERVICE_FOREIGN"));
        assert_eq!(code(Some("orders"), Some("billing"), &["billing"]), Some("SERVICE_FOREIGN"));
        assert_eq!(code(Some("orders"), Some("orders"), &[]), None);
        assert_eq!(code(Some("orders"), None, &[]), None);
        assert_eq!(code(None, Some("billing"), &[]), None, "an engine without a name serves every field");
    }

    #[test]
    fn a_principal_that_is_held_to_services_may_use_those_alone() {
        assert_eq!(code(Some("orders"), None, &["billing", "orders"]), None);
        assert_eq!(code(Some("orders"), None, &["billing"]), Some("SERVICE_FORBIDDEN"));
        assert_eq!(code(None, Some("billing"), &["billing"]), None);
        assert_eq!(code(None, Some("billing"), &["orders"]), Some("SERVICE_FORBIDDEN"));
        assert_eq!(code(None, None, &["orders"]), Some("SERVICE_FORBIDDEN"), "in doubt no");
    }
}
