//! The scope module: checks a field's required scopes, its operations and the variables that identify the caller.
//!
//! The input is a principal, the field's declared rules and the operation's coerced variables.
//!
//! - An operation cannot claim an identity other than the principal's.
//! - An operation runs only if the principal has all scopes of its field.
//! - A subscription watches only operations that the field allows.
//! - A refusal never contains the value of a variable.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::model::{Operation, Principal};

/// An attribute of the principal that a variable may have to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// `Principal.tenant_id`
    TenantId,
    /// `Principal.user_id`
    UserId,
}

impl Attribute {
    fn name(self) -> &'static str {
        match self {
            Attribute::TenantId => "tenant_id",
            Attribute::UserId => "user_id",
        }
    }

    fn of(self, principal: &Principal) -> Option<&str> {
        match self {
            Attribute::TenantId => principal.tenant_id.as_deref(),
            Attribute::UserId => principal.user_id.as_deref(),
        }
    }
}

/// GraphQL variables that must equal an attribute of the principal, by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ProtectedVariables(BTreeMap<Box<str>, Attribute>);

impl Default for ProtectedVariables {
    fn default() -> Self {
        let tenant = ["tenantId", "tenant_id"].map(|name| (name.into(), Attribute::TenantId));
        let user = ["userId", "user_id"].map(|name| (name.into(), Attribute::UserId));
        ProtectedVariables(tenant.into_iter().chain(user).collect())
    }
}

/// A field's declared scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldScope {
    /// The principal needs all of these.
    pub scopes: Box<[Box<str>]>,
    /// The operations that may be watched; `None` is all of them.
    pub operations: Option<Box<[Operation]>>,
}

/// Scope's no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeRefusal {
    /// A protected variable is not what the principal is.
    #[error(
        "variable ${variable} must equal the principal's {attribute}: leave it out, or send the caller's own value"
    )]
    Variable {
        /// The variable.
        variable: String,
        /// The principal's attribute.
        attribute: &'static str,
    },
    /// The token grants too little.
    #[error("the principal lacks {}: ask for a token that grants it", listed(.missing))]
    Required {
        /// The scopes that are missing.
        missing: Vec<Box<str>>,
    },
    /// The field does not give these operations.
    #[error(
        "this field does not give {}: watch {}", listed(.asked), listed(.allowed)
    )]
    Operation {
        /// What was asked for beyond it.
        asked: Vec<&'static str>,
        /// What it gives.
        allowed: Vec<&'static str>,
    },
}

impl ScopeRefusal {
    /// The stable code for clients.
    pub fn code(&self) -> &'static str {
        match self {
            ScopeRefusal::Variable { .. } => "SCOPE_VARIABLE_FORBIDDEN",
            ScopeRefusal::Required { .. } => "SCOPE_REQUIRED",
            ScopeRefusal::Operation { .. } => "OPERATION_FORBIDDEN",
        }
    }
}

fn listed<T: AsRef<str>>(names: &[T]) -> String {
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Checks that the operation's protected variables equal the principal's attributes.
pub fn check_variables(
    protected: &ProtectedVariables,
    principal: &Principal,
    variables: &Map<String, Value>,
) -> Result<(), ScopeRefusal> {
    let contradicts = |(name, value): &(&String, &Value)| {
        protected.0.get(name.as_str()).is_some_and(|attribute| !repeats(value, attribute.of(principal)))
    };
    let Some((name, _)) = variables.iter().find(contradicts) else { return Ok(()) };
    let attribute = protected.0[name.as_str()].name();
    Err(ScopeRefusal::Variable { variable: name.clone(), attribute })
}

/// Checks that the principal has every scope that the field requires.
pub fn check_scopes(field: &FieldScope, principal: &Principal) -> Result<(), ScopeRefusal> {
    let has = |scope: &str| principal.scopes.iter().any(|granted| granted == scope);
    let missing: Vec<_> = field.scopes.iter().filter(|scope| !has(scope)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(ScopeRefusal::Required { missing }) }
}

/// The operations that a subscription watches: the requested ones if the field allows them, or all that the field
/// allows if the subscription requests none. `None` is all operations.
pub fn watched(field: &FieldScope, asked: Option<&[Operation]>) -> Result<Option<Box<[Operation]>>, ScopeRefusal> {
    let Some(allowed) = &field.operations else { return Ok(asked.map(Into::into)) };
    let asked = asked.unwrap_or(allowed);
    let beyond: Vec<_> = asked.iter().filter(|operation| !allowed.contains(operation)).map(|it| it.name()).collect();
    if beyond.is_empty() {
        return Ok(Some(asked.into()));
    }
    Err(ScopeRefusal::Operation { asked: beyond, allowed: allowed.iter().map(|it| it.name()).collect() })
}

/// Text and whole numbers have one spelling; UUIDs, which variables carry in lower case, are the same in any case.
fn repeats(value: &Value, attribute: Option<&str>) -> bool {
    let Some(attribute) = attribute else { return false };
    match value {
        Value::String(text) => text == attribute || (is_uuid(text) && text.eq_ignore_ascii_case(attribute)),
        Value::Number(number) if !number.is_f64() => number.to_string() == attribute,
        _ => false,
    }
}

fn is_uuid(text: &str) -> bool {
    let hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if hyphen(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn principal(tenant: Option<&str>, user: Option<&str>) -> Principal {
        Principal { tenant_id: tenant.map(Into::into), user_id: user.map(Into::into), ..Principal::default() }
    }

    fn check(principal: &Principal, variables: &Value) -> Result<(), ScopeRefusal> {
        let Value::Object(variables) = variables else { panic!("an object") };
        check_variables(&ProtectedVariables::default(), principal, variables)
    }

    #[test]
    fn a_protected_variable_must_say_what_the_principal_is() {
        let acme = principal(Some("acme"), Some("7"));
        for variables in [
            json!({}),
            json!({"tenantId": "acme"}),
            json!({"tenant_id": "acme", "userId": "7", "user_id": 7}),
            json!({"tenant": "globex", "id": 1}),
        ] {
            assert_eq!(check(&acme, &variables), Ok(()), "{variables}");
        }
        for value in [json!("globex"), json!(null), json!(["acme"]), json!({"eq": "acme"}), json!("ACME"), json!("")] {
            for name in ["tenantId", "tenant_id"] {
                let refusal = check(&acme, &json!({ name: value })).unwrap_err();
                assert_eq!(refusal.code(), "SCOPE_VARIABLE_FORBIDDEN");
                assert!(refusal.to_string().contains(name), "{refusal}");
                assert!(!refusal.to_string().contains("globex") && !refusal.to_string().contains("acme"), "{refusal}");
            }
        }
        assert!(check(&acme, &json!({"userId": 7.0})).is_err(), "a float is not an identity");
    }

    #[test]
    fn a_principal_without_the_attribute_may_not_name_one() {
        for variables in [json!({"tenantId": "acme"}), json!({"tenantId": null}), json!({"userId": ""})] {
            assert!(check(&Principal::default(), &variables).is_err(), "{variables}");
        }
    }

    #[test]
    fn a_uuid_is_the_same_in_any_case() {
        let caller = principal(Some("AAAAAAAA-1111-1111-1111-111111111111"), None);
        assert_eq!(check(&caller, &json!({"tenantId": "aaaaaaaa-1111-1111-1111-111111111111"})), Ok(()));
        assert!(check(&caller, &json!({"tenantId": "aaaaaaaa-1111-1111-1111-111111111112"})).is_err());
    }

    #[test]
    fn the_developer_chooses_the_names_and_may_choose_none() {
        let chosen: ProtectedVariables = serde_json::from_value(json!({"owner": "user_id"})).unwrap();
        let given = |name: &str| Map::from_iter([(name.to_owned(), json!("x"))]);
        assert!(check_variables(&chosen, &Principal::default(), &given("owner")).is_err());
        assert!(check_variables(&chosen, &Principal::default(), &given("tenantId")).is_ok());
        assert!(serde_json::from_value::<ProtectedVariables>(json!({"owner": "role"})).is_err());
    }

    #[test]
    fn every_scope_is_needed_and_the_missing_ones_are_named() {
        let field = FieldScope { scopes: ["orders:read".into(), "live".into()].into(), operations: None };
        let with = |scopes: &[&str]| Principal {
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            ..Principal::default()
        };
        assert_eq!(check_scopes(&field, &with(&["live", "orders:read", "more"])), Ok(()));
        let refusal = check_scopes(&field, &with(&["live", "orders"])).unwrap_err();
        assert_eq!(refusal.code(), "SCOPE_REQUIRED");
        assert!(refusal.to_string().contains("orders:read") && !refusal.to_string().contains("live"), "{refusal}");
        assert_eq!(check_scopes(&FieldScope::default(), &Principal::default()), Ok(()));
    }

    #[test]
    fn a_field_gives_the_operations_that_it_was_declared_with() {
        use Operation::{Delete, Insert, Truncate, Update};
        let field = FieldScope { operations: Some([Insert, Update].into()), ..FieldScope::default() };
        assert_eq!(watched(&field, None), Ok(Some([Insert, Update].into())));
        assert_eq!(watched(&field, Some(&[Update])), Ok(Some([Update].into())));
        let refusal = watched(&field, Some(&[Insert, Delete, Truncate])).unwrap_err();
        assert_eq!(refusal.code(), "OPERATION_FORBIDDEN");
        assert_eq!(refusal.to_string(), "this field does not give DELETE, TRUNCATE: watch INSERT, UPDATE");
        assert_eq!(watched(&FieldScope::default(), None), Ok(None));
        assert_eq!(watched(&FieldScope::default(), Some(&[Delete])), Ok(Some([Delete].into())));
    }
}
