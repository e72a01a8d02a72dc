//! The modules in their order, asked once when somebody subscribes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::admission::{Admission, RowsRule, Rule};
use super::row_policy::{RowRule, TablePolicies};
use super::tenant::{self, TopicRule};
use super::{Refusal, columns};
use crate::model::{Principal, Role, Roles, Table};

/// What is known of roles, policies and settings at one position of the stream. Frozen, as the tables are.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    roles: Arc<Roles>,
    setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
    policies: HashMap<u32, TablePolicies>,
}

impl Gate {
    /// Reads the policies of these tables.
    pub fn new<'t>(
        tables: impl IntoIterator<Item = &'t Arc<Table>>,
        roles: Arc<Roles>,
        setting_defaults: Arc<BTreeMap<Box<str>, Box<str>>>,
    ) -> Self {
        let policies = tables.into_iter().map(|table| (table.oid, TablePolicies::of(table))).collect();
        Gate { roles, setting_defaults, policies }
    }

    /// Asks the modules that decide about a table. `reads` are the columns that are selected or filtered on.
    pub fn admit_table(
        &self,
        principal: &Principal,
        table: &Table,
        reads: &BTreeSet<usize>,
    ) -> Result<Admission, Refusal> {
        let tenant = tenant::admit(principal, table)?;
        let role = self.role(principal)?;
        let policy = self.row_policy(principal, role, table)?;
        let columns = columns::admit(role, table)?;
        columns.require(table, reads)?;
        let for_everybody = tenant.is_none() && !table.access.row_security;
        Ok(Admission(Rule::Rows(RowsRule { tenant, policy, columns, for_everybody })))
    }

    /// The same for a topic; `public` as its field was declared.
    pub fn admit_topic(&self, principal: &Principal, topic: &str, public: bool) -> Result<Admission, Refusal> {
        Ok(Admission(Rule::Topic(TopicRule::admit(principal, topic, public)?)))
    }

    /// Whether both know the same of this principal: then they differ in tables alone.
    pub fn treats_alike(&self, other: &Gate, principal: &Principal) -> bool {
        let role = principal.role.as_deref();
        self.setting_defaults == other.setting_defaults
            && role.and_then(|role| self.roles.named(role)) == role.and_then(|role| other.roles.named(role))
    }

    fn role(&self, principal: &Principal) -> Result<Option<&Role>, Refusal> {
        let Some(name) = principal.role.as_deref() else { return Ok(None) };
        self.roles.named(name).map(Some).ok_or_else(|| Refusal::RoleUnknown { role: name.to_owned() })
    }

    fn row_policy(&self, principal: &Principal, role: Option<&Role>, table: &Table) -> Result<RowRule, Refusal> {
        if !table.access.row_security {
            return Ok(RowRule::All);
        }
        let required = || Refusal::RoleRequired { what: table.name.to_string() };
        let (role, policies) = (role.ok_or_else(required)?, self.policies.get(&table.oid).ok_or_else(required)?);
        Ok(policies.bind(table, role, principal, &self.setting_defaults)?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{
        Access, Change, Column, Datum, Event, Message, Operation, PgType, Position, ReplicaIdentity, RowChange,
        TableName, Timestamp, Transition, Tuple,
    };
    use crate::security::{Inspection, Judged};

    const ACME: &str = "11111111-1111-1111-1111-111111111111";
    const GLOBEX: &str = "22222222-2222-2222-2222-222222222222";

    fn table() -> Table {
        let column = |name: &str, pg_type| Column {
            name: name.into(),
            field: name.into(),
            type_oid: 0,
            pg_type,
            not_null: true,
            collation: crate::model::Collation::Plain,
            folding: crate::model::Folding::Simple,
        };
        Table {
            oid: 1,
            name: TableName { schema: "public".into(), name: "orders".into() },
            type_name: "Orders".into(),
            field: "orders".into(),
            columns: [column("id", PgType::Int8), column("tenant_id", PgType::Uuid)].into(),
            key: [0].into(),
            tenant: Some(1),
            public: false,
            access: Access::default(),
            identity: ReplicaIdentity::Full,
            comment: None,
        }
    }

    fn principal(tenant: &str) -> Principal {
        Principal { tenant_id: Some(tenant.into()), ..Principal::default() }
    }

    fn admit(principal: &Principal, table: &Table) -> Result<Admission, Refusal> {
        Gate::default().admit_table(principal, table, &BTreeSet::new())
    }

    fn row(id: &'static str, tenant: &'static str) -> Tuple {
        Tuple::new(vec![
            Datum::Text(Bytes::from_static(id.as_bytes())),
            Datum::Text(Bytes::from_static(tenant.as_bytes())),
        ])
    }

    fn event(change: Change) -> Event {
        Event { position: Position::default(), committed_at: Timestamp(0), xid: 1, change }
    }

    fn update(old: Option<Tuple>, new: Option<Tuple>) -> Event {
        event(Change::Row(RowChange { table: Arc::new(table()), operation: Operation::Update, old, new }))
    }

    fn sees(event: &Event, tenant: &str, transition: Transition) -> bool {
        let admission = admit(&principal(tenant), &table()).unwrap();
        Inspection::new(event).visible(&admission, transition, Judged::NOT).is_some()
    }

    #[test]
    fn a_row_is_shown_to_its_own_tenant_alone() {
        let moved = update(Some(row("1", ACME)), Some(row("1", GLOBEX)));
        assert!(sees(&moved, ACME, Transition::Leave) && !sees(&moved, ACME, Transition::Stay));
        assert!(sees(&moved, GLOBEX, Transition::Enter) && !sees(&moved, GLOBEX, Transition::Leave));
    }

    #[test]
    fn what_changed_is_not_told_of_an_image_that_may_have_been_hidden() {
        let changed = |old: Tuple| {
            let event = update(Some(old), Some(row("2", ACME)));
            let admission = admit(&principal(ACME), &table()).unwrap();
            let inspection = Inspection::new(&event);
            let visible = inspection.visible(&admission, Transition::Stay, Judged::NOT).unwrap();
            visible.changed_columns().collect::<Vec<_>>()
        };
        assert_eq!(changed(row("1", ACME)), [0]);
        assert!(changed(row("1", GLOBEX)).is_empty());
        // The key alone, as where replica identity is not full.
        assert!(changed(Tuple::new(vec![Datum::Text(Bytes::from_static(b"1")), Datum::Absent])).is_empty());
    }

    #[test]
    fn a_tenant_spelled_in_upper_case_is_the_same_tenant() {
        let admission = admit(&principal("AAAAAAAA-1111-1111-1111-111111111111"), &table()).unwrap();
        let event = update(None, Some(row("1", "aaaaaaaa-1111-1111-1111-111111111111")));
        assert!(Inspection::new(&event).visible(&admission, Transition::Stay, Judged::NOT).is_some());
    }

    #[test]
    fn a_row_whose_tenant_is_not_known_is_shown_to_nobody() {
        for tenant in [Datum::Absent, Datum::Unchanged, Datum::Null] {
            let tuple = Tuple::new(vec![Datum::Text(Bytes::from_static(b"1")), tenant]);
            let event = update(Some(tuple.clone()), Some(tuple));
            assert!(!sees(&event, ACME, Transition::Stay) && !sees(&event, ACME, Transition::Leave));
        }
    }

    #[test]
    fn without_a_tenant_there_are_no_rows() {
        let code = |principal: &Principal, table: &Table| admit(principal, table).unwrap_err().code();
        assert_eq!(code(&Principal::default(), &table()), "TENANT_REQUIRED");
        assert_eq!(code(&principal("not a uuid"), &table()), "TENANT_INVALID");
        assert_eq!(code(&principal(ACME), &Table { tenant: None, ..table() }), "NOT_PUBLIC");
        assert!(admit(&Principal::default(), &Table { tenant: None, public: true, ..table() }).is_ok());
    }

    #[test]
    fn a_table_with_row_security_needs_a_role_even_when_it_is_public() {
        let access = Access { row_security: true, ..Access::default() };
        let table = Table { access, public: true, tenant: None, ..table() };
        assert_eq!(admit(&principal(ACME), &table).unwrap_err().code(), "ROLE_REQUIRED");
        let stranger = Principal { role: Some("nobody".into()), ..principal(ACME) };
        assert_eq!(admit(&stranger, &table).unwrap_err().code(), "ROLE_UNKNOWN");
    }

    #[test]
    fn a_message_is_shown_to_the_tenant_it_names_and_a_nameless_one_on_public_topics_only() {
        let message = |tenant: Option<&str>| {
            let tenant = tenant.map(Into::into);
            event(Change::Message(Message { topic: "alerts".into(), tenant, payload: Bytes::from_static(b"1") }))
        };
        let sees = |principal: &Principal, public, event: &Event| {
            let admission = Gate::default().admit_topic(principal, "alerts", public).unwrap();
            Inspection::new(event).visible(&admission, Transition::Enter, Judged::NOT).is_some()
        };
        assert!(sees(&principal("acme"), false, &message(Some("acme"))));
        assert!(!sees(&principal("acme"), true, &message(Some("globex"))));
        assert!(!sees(&principal("acme"), false, &message(None)));
        assert!(sees(&Principal::default(), true, &message(None)));
        assert_eq!(
            Gate::default().admit_topic(&Principal::default(), "alerts", false).unwrap_err().code(),
            "TENANT_REQUIRED"
        );
    }
}
