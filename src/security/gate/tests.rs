//! The gate by its modules: tables, topics and what an inspection says.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::{
    Access, Change, Column, Datum, Event, Message, Operation, PgType, Position, ReplicaIdentity, RowChange, TableName,
    Timestamp, Transition, Tuple,
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

fn ask<T>(principal: &Principal, source: SourceAccess<'_>, ask: impl FnOnce(&Gate, &AccessRequest<'_>) -> T) -> T {
    let (field, variables) = (&FieldRules::default(), &Map::new());
    ask(&Gate::default(), &AccessRequest { principal, field, variables, operations: None, source })
}

fn admit(principal: &Principal, table: &Table) -> Result<Admission, Refusal> {
    ask(principal, SourceAccess::Table(table, &BTreeSet::new()), Gate::admit)
}

fn admit_topic(principal: &Principal, name: &str, public: bool) -> Result<Admission, Refusal> {
    ask(principal, SourceAccess::Topic { name, public }, Gate::admit)
}

fn row(id: &'static str, tenant: &'static str) -> Tuple {
    Tuple::new(vec![Datum::Text(Bytes::from_static(id.as_bytes())), Datum::Text(Bytes::from_static(tenant.as_bytes()))])
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
        let admission = admit_topic(principal, "alerts", public).unwrap();
        Inspection::new(event).visible(&admission, Transition::Enter, Judged::NOT).is_some()
    };
    assert!(sees(&principal("acme"), false, &message(Some("acme"))));
    assert!(!sees(&principal("acme"), true, &message(Some("globex"))));
    assert!(!sees(&principal("acme"), false, &message(None)));
    assert!(sees(&Principal::default(), true, &message(None)));
    assert_eq!(admit_topic(&Principal::default(), "alerts", false).unwrap_err().code(), "TENANT_REQUIRED");
}

/// The report for an operator must match what a subscriber would get.
#[test]
fn the_first_no_of_an_inspection_is_what_admit_says() {
    let access = Access { row_security: true, ..Access::default() };
    let tables = [
        table(),
        Table { tenant: None, ..table() },
        Table { tenant: None, public: true, ..table() },
        Table { access, ..table() },
    ];
    let principals = [
        Principal::default(),
        principal(ACME),
        principal("not a uuid"),
        Principal { role: Some("nobody".into()), ..principal(ACME) },
        Principal { services: vec!["billing".to_owned()], ..principal(ACME) },
    ];
    let scope = FieldScope { scopes: ["read".into()].into(), operations: Some([Operation::Insert].into()) };
    let fields = [FieldRules::default(), FieldRules { service: Some("orders".into()), scope }];
    let reads = BTreeSet::from([0, 1]);
    let mut refused = BTreeSet::new();
    for (table, principal, field) in tables
        .iter()
        .flat_map(|table| principals.iter().map(move |principal| (table, principal)))
        .flat_map(|(table, principal)| fields.iter().map(move |field| (table, principal, field)))
    {
        let operations = Some([Operation::Delete].as_slice());
        let source = SourceAccess::Table(table, &reads);
        let request = AccessRequest { principal, field, variables: &Map::new(), operations, source };
        let verdicts = Gate::default().inspect(&request);
        let first = verdicts.into_iter().find_map(|verdict| verdict.says.err().map(|no| (verdict.module, no)));
        assert_eq!(Gate::default().admit(&request).err(), first.as_ref().map(|(_, no)| no.clone()));
        refused.extend(first.map(|(module, _)| module.name()));
    }
    assert_eq!(refused, BTreeSet::from(["federation", "row_policy", "scope", "tenant"]));
}
