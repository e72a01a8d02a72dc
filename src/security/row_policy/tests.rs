//! What a policy comes to, one promise at a time. That PostgreSQL agrees is `tests/it/security/compiled_oracle.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PolicyRefusal, RowRule, TablePolicies};
use crate::model::{
    Access, ArrayType, Collation, Column, Datum, PUBLIC, PgType, Policy, Principal, ReplicaIdentity, Role, Table,
    TableName, Tuple,
};
use crate::predicate::{Predicate, RowImage, Scalar, Truth};

const TENANT: usize = 0;
const OWNER: usize = 1;
const OPEN: usize = 2;
const TAGS: usize = 3;
const ACME: &str = "11111111-1111-1111-1111-111111111111";
const OF_TENANT: &str = "(tenant_id = (current_setting('app.tenant_id'::text))::uuid)";
const RAISING: &str = "((1 / id) = 1)";

fn table(policies: &[(&str, bool, &str)]) -> Table {
    let texts = PgType::Array(Arc::new(ArrayType { element: PgType::Text, delimiter: b',' }));
    let column = |name: &str, type_oid, pg_type, collation| Column {
        name: name.into(),
        field: name.into(),
        type_oid,
        pg_type,
        not_null: false,
        collation,
        folding: crate::model::Folding::Simple,
    };
    let policy = |(name, permissive, using): &(&str, bool, &str)| Policy {
        name: (*name).into(),
        permissive: *permissive,
        roles: [PUBLIC].into(),
        using: Some((*using).into()),
        tree: Box::default(),
        unbound: false,
        columns: ["owner".into()].into(),
    };
    Table {
        oid: 1,
        name: TableName { schema: "public".into(), name: "orders".into() },
        type_name: "Orders".into(),
        field: "orders".into(),
        columns: [
            column("tenant_id", 2950, PgType::Uuid, Collation::Other),
            column("owner", 25, PgType::Text, Collation::Plain),
            column("open", 16, PgType::Bool, Collation::Other),
            column("tags", 1009, texts, Collation::Plain),
            column("folded", 25, PgType::Text, Collation::Deterministic),
            column("citext", 30_000, PgType::Text, Collation::Other),
        ]
        .into(),
        key: Box::default(),
        tenant: None,
        public: false,
        access: Access {
            owner: 10,
            row_security: true,
            policies: policies.iter().map(policy).collect(),
            ..Access::default()
        },
        identity: ReplicaIdentity::Full,
        comment: None,
    }
}

fn role() -> Role {
    Role {
        oid: 20,
        name: "app".into(),
        superuser: false,
        bypass_rls: false,
        settable: true,
        privileges_of: Box::default(),
    }
}

fn principal(settings: &[(&str, &str)]) -> Principal {
    let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Principal { settings, ..Principal::default() }
}

fn bound(table: &Table, role: &Role, settings: &[(&str, &str)]) -> Result<RowRule, PolicyRefusal> {
    TablePolicies::of(table).bind(table, role, &principal(settings), &BTreeMap::new())
}

fn one(using: &str, settings: &[(&str, &str)]) -> Result<RowRule, PolicyRefusal> {
    bound(&table(&[("p", true, using)]), &role(), settings)
}

fn decided(using: &str, settings: &[(&str, &str)]) -> Predicate {
    match one(using, settings) {
        Ok(RowRule::Decided(predicate)) => predicate,
        other => panic!("{using}: {other:?}"),
    }
}

fn is_asked(using: &str) -> bool {
    matches!(one(using, &[("app.tenant_id", ACME)]), Ok(RowRule::Delegated { .. }))
}

fn bounds(using: &str) -> (Predicate, Predicate) {
    match one(using, &[]) {
        Ok(RowRule::Delegated { possible, certain, .. }) => (possible, certain),
        other => panic!("{using}: {other:?}"),
    }
}

fn owner(name: &str) -> Predicate {
    Predicate::eq(OWNER, Scalar::Text(name.into()))
}

#[test]
fn a_tenant_in_a_setting_is_an_equality_for_the_index() {
    let tenant = Scalar::from_text(&PgType::Uuid, ACME.as_bytes()).unwrap();
    assert_eq!(decided(OF_TENANT, &[("app.tenant_id", ACME)]), Predicate::eq(TENANT, tenant.clone()));
    // Names of settings have no case.
    assert_eq!(decided(OF_TENANT, &[("App.Tenant_ID", ACME)]), Predicate::eq(TENANT, tenant));
}

#[test]
fn who_is_exempt_sees_all() {
    let table = table(&[("p", true, "false")]);
    let forced = Table { access: Access { force_row_security: true, ..table.access.clone() }, ..table.clone() };
    let heir = Role { privileges_of: [10].into(), ..role() };
    let all = |table, role: Role| bound(table, &role, &[]) == Ok(RowRule::All);
    assert!(all(&table, Role { superuser: true, ..role() }) && all(&forced, Role { bypass_rls: true, ..role() }));
    assert!(all(&table, heir.clone()) && !all(&forced, heir) && !all(&table, role()));
}

#[test]
fn without_a_permissive_policy_nothing_is_visible() {
    assert_eq!(bound(&table(&[]), &role(), &[]), Ok(RowRule::Decided(Predicate::False)));
    assert_eq!(bound(&table(&[("r", false, "true")]), &role(), &[]), Ok(RowRule::Decided(Predicate::False)));
}

#[test]
fn permissive_policies_are_joined_from_the_last_name_to_the_first() {
    let table = table(&[("a", true, RAISING), ("b", true, "(owner = 'me'::text)"), ("r", false, "open")]);
    let Ok(RowRule::Delegated { certain, question, .. }) = bound(&table, &role(), &[]) else { panic!() };
    assert_eq!(&*question.condition, "(((owner = 'me'::text)) OR (((1 / id) = 1))) AND (open)");
    assert_eq!(certain, Predicate::and([owner("me"), Predicate::eq(OPEN, Scalar::Bool(true))]));
}

#[test]
fn a_row_is_certain_only_where_nothing_that_may_raise_comes_first() {
    assert_eq!(bounds(&format!("((owner = 'me'::text) OR {RAISING})")), (Predicate::True, owner("me")));
    assert_eq!(bounds(&format!("({RAISING} OR (owner = 'me'::text))")), (Predicate::True, Predicate::False));
    assert_eq!(bounds(&format!("({RAISING} AND (owner = 'me'::text))")), (owner("me"), Predicate::False));
    let not = Predicate::not(owner("me"));
    assert_eq!(bounds(&format!("(NOT ((owner = 'me'::text) OR {RAISING}))")), (not.clone(), Predicate::False));
    assert_eq!(bounds(&format!("(NOT ((owner = 'me'::text) AND {RAISING}))")), (Predicate::True, not));
}

#[test]
fn a_setting_that_is_missing_or_unreadable_is_named_and_its_value_is_not() {
    assert_eq!(one(OF_TENANT, &[]).unwrap_err().code(), "SETTING_MISSING");
    let refusal = one(OF_TENANT, &[("app.tenant_id", "s3cret")]).unwrap_err();
    assert_eq!(refusal.code(), "SETTING_INVALID");
    let text = refusal.to_string();
    assert!(text.contains("app.tenant_id") && text.contains("uuid") && !text.contains("s3cret"), "{text}");
    // Where a row may be visible without it, PostgreSQL says what raising means.
    let (possible, certain) = bounds(&format!("((owner = 'me'::text) OR {OF_TENANT})"));
    assert_eq!((possible, certain), (owner("me"), Predicate::False));
    assert_eq!(one("open", &[("Role", "postgres")]).unwrap_err().code(), "SETTING_INVALID");
}

#[test]
fn what_is_of_the_session_or_not_sent_is_refused_and_never_asked() {
    for using in ["(owner = SESSION_USER)", "(pg_backend_pid() = 1)", "((xmin)::text = '1'::text)", "('unclosed"] {
        assert_eq!(one(using, &[]).unwrap_err().code(), "POLICY_UNDECIDABLE", "{using}");
    }
    let table = |using, unsent: &str| {
        let table = table(&[("p", true, using)]);
        Table { access: Access { unsent: [unsent.into()].into(), ..table.access.clone() }, ..table }
    };
    let refused = |using, unsent| bound(&table(using, unsent), &role(), &[]).is_err();
    assert!(refused("(owner = 'me'::text)", "owner") && refused("public.f(orders.*)", "other"));
    assert!(!refused("(owner = 'me'::text)", "other"));
    assert!(one("(\"session_user\" = 'me'::text)", &[]).is_ok());
}

#[test]
fn asking_needs_a_role_that_may_be_set() {
    let role = Role { settable: false, ..role() };
    assert_eq!(bound(&table(&[("p", true, RAISING)]), &role, &[]).unwrap_err().code(), "ROLE_NOT_SETTABLE");
    assert!(bound(&table(&[("p", true, "open")]), &role, &[]).is_ok());
}

#[test]
fn text_is_compiled_as_far_as_its_collation_is_known() {
    for asked in [
        "(owner < 'm'::text)",
        "(lower(folded) = 'a'::text)",
        "((lower(folded) COLLATE \"C\") = 'a'::text)",
        "((citext)::text = 'a'::text)",
        "(owner ~~* 'a%'::text)",
        "(owner = ('a'::text COLLATE \"de_DE\"))",
        "(owner ~~ 'a\\'::text)",
    ] {
        assert!(is_asked(asked), "{asked}");
    }
    for compiled in ["(owner = 'm'::text)", "((owner COLLATE \"C\") < 'm'::text)", "(folded = 'a'::text)"] {
        assert!(!is_asked(compiled), "{compiled}");
    }
}

#[test]
fn folded_text_with_letters_beyond_ascii_is_asked_and_other_text_is_not() {
    let (possible, certain) = bounds("(lower(owner) = 'a'::text)");
    let table = table(&[]);
    let says = |predicate: &Predicate, text: &'static str| {
        let datum = Datum::Text(bytes::Bytes::from_static(text.as_bytes()));
        predicate.eval(&RowImage::new(&table, &Tuple::new(vec![Datum::Null, datum])))
    };
    assert_eq!((says(&possible, "A"), says(&certain, "A")), (Truth::True, Truth::True));
    assert_eq!((says(&possible, "b"), says(&certain, "b")), (Truth::False, Truth::False));
    assert_eq!((says(&possible, "\u{212A}"), says(&certain, "\u{212A}")), (Truth::True, Truth::False));
}

#[test]
fn null_is_in_no_array_but_not_being_in_an_empty_one_is_true() {
    assert_eq!(decided("(NULL::text = ANY (tags))", &[]), Predicate::False);
    let (possible, certain) = bounds("(NOT (NULL::text = ANY (tags)))");
    assert_eq!((possible, certain), (Predicate::True, Predicate::False));
    let part = Scalar::Array([Some(Scalar::Text("a".into()))].into());
    assert_eq!(decided("('a'::text = ANY (tags))", &[]), Predicate::contains(TAGS, part));
}

#[test]
fn hostile_text_is_refused_or_asked_and_never_a_panic() {
    let deep = format!("{}true{}", "(".repeat(5000), ")".repeat(5000));
    for using in ["", ";", "true; drop table t", "'", "\"", "((", "a.b.c.d = 1", "ARRAY[", "'\u{0}'", deep.as_str()] {
        assert!(!matches!(one(using, &[]), Ok(RowRule::All | RowRule::Decided(_))), "{using}");
    }
}
