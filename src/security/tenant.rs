//! The tenant rule: a row, or a message, belongs to the tenant that it names.

use super::Refusal;
use crate::model::{Message, Principal, Table};
use crate::predicate::Predicate;

/// The condition that a row must meet for this principal; `None` on a table without a tenant column, which must be
/// public or leave the decision to row policies.
pub(super) fn admit(principal: &Principal, table: &Table) -> Result<Option<Predicate>, Refusal> {
    let what = || table.name.to_string();
    if table.tenant.is_none() {
        let decided = table.public || table.access.row_security;
        return if decided { Ok(None) } else { Err(Refusal::NotPublic { what: what() }) };
    }
    let tenant = principal.tenant_id.as_deref().ok_or_else(|| Refusal::TenantRequired { what: what() })?;
    Ok(Some(Predicate::tenant(table, tenant)?))
}

/// Which messages of a topic are visible: those of the principal's tenant, and on a public topic also those without a
/// tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicRule {
    tenant: Option<Box<str>>,
    public: bool,
}

impl TopicRule {
    pub(super) fn admit(principal: &Principal, topic: &str, public: bool) -> Result<Self, Refusal> {
        let tenant = principal.tenant_id.as_deref().map(Into::into);
        if tenant.is_none() && !public {
            return Err(Refusal::TenantRequired { what: format!("topic {topic}") });
        }
        Ok(TopicRule { tenant, public })
    }

    pub(super) fn is_public(&self) -> bool {
        self.public
    }

    pub(super) fn audiences(&self) -> Vec<Option<Box<str>>> {
        let everybody = self.public.then_some(None);
        self.tenant.clone().map(Some).into_iter().chain(everybody).collect()
    }

    pub(super) fn shows(&self, message: &Message) -> bool {
        match &message.tenant {
            Some(tenant) => self.tenant.as_ref() == Some(tenant),
            None => self.public,
        }
    }
}
