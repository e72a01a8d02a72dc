//! `tests/corpus/policy/policies.toml`: policies of manuals, services and products, as `pg_get_expr` prints them, each
//! with what becomes of it: `compiled`, `asked`, `mixed` or `refused`.

use std::sync::Arc;

use crate::predicate::corpus::{column, table};
use rowcast::model::{Access, ArrayType, Collation, Column, EnumType, PUBLIC, PgType, Policy, Table, TableName};
use rowcast::security::{PolicyClass, TablePolicies};

#[derive(serde::Deserialize)]
struct Corpus {
    policy: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    using: String,
    class: String,
}

const MAIL: u32 = 20_000;
const MOOD: u32 = 20_001;

/// The table that all of them are on: name, type's OID, collation.
const COLUMNS: &[(&str, u32, Collation)] = &[
    ("id", 23, Collation::Other),
    ("manager", 25, Collation::Plain),
    ("user_name", 25, Collation::Plain),
    ("group_id", 23, Collation::Other),
    ("user_id", 2950, Collation::Other),
    ("team_id", 23, Collation::Other),
    ("tenant_id", 2950, Collation::Other),
    ("owner", 25, Collation::Plain),
    ("org", 25, Collation::Plain),
    ("email", 25, Collation::Plain),
    ("mail", MAIL, Collation::Plain),
    ("status", 1043, Collation::Plain),
    ("mood", MOOD, Collation::Other),
    ("is_public", 16, Collation::Other),
    ("is_active", 16, Collation::Other),
    ("is_secret", 16, Collation::Other),
    ("deleted_at", 1184, Collation::Other),
    ("published_at", 1184, Collation::Other),
    ("day", 1082, Collation::Other),
    ("big", 20, Collation::Other),
    ("level", 21, Collation::Other),
    ("amount", 1700, Collation::Other),
    ("score", 701, Collation::Other),
    ("tags", 1009, Collation::Plain),
    ("shared_with", 1009, Collation::Plain),
    ("reader_ids", 2951, Collation::Other),
    ("data", 3802, Collation::Other),
    ("code", 25, Collation::C),
    ("code4", 1042, Collation::Plain),
];

fn accounts(using: &str) -> Table {
    let columns = COLUMNS
        .iter()
        .map(|(name, oid, collation)| Column { collation: *collation, ..column(name, *oid, pg_type(*oid)) });
    let policy = Policy {
        name: "p".into(),
        permissive: true,
        roles: [PUBLIC].into(),
        using: Some(using.into()),
        tree: Box::default(),
        unbound: false,
        columns: Box::default(),
    };
    let access = Access { row_security: true, policies: [policy].into(), ..Access::default() };
    let name = TableName { schema: "public".into(), name: "accounts".into() };
    Table { name, access, ..table(columns.collect()) }
}

fn pg_type(oid: u32) -> PgType {
    match oid {
        MAIL => PgType::Text,
        MOOD => PgType::Enum(Arc::new(EnumType { name: "mood".into(), labels: Vec::new() })),
        2951 => PgType::Array(Arc::new(ArrayType { element: PgType::Uuid, delimiter: b',' })),
        oid => PgType::builtin(oid).unwrap(),
    }
}

fn word(class: PolicyClass) -> &'static str {
    match class {
        PolicyClass::Compiled => "compiled",
        PolicyClass::Delegated => "delegated",
        PolicyClass::Mixed => "mixed",
        PolicyClass::Refused => "refused",
    }
}

#[test]
fn policies_of_the_world_are_compiled_asked_or_refused_as_listed() {
    let corpus: Corpus = toml::from_str(include_str!("../../corpus/policy/policies.toml")).unwrap();
    let mut different = Vec::new();
    let mut compiled = 0;
    for case in &corpus.policy {
        let table = accounts(&case.using);
        let class = word(TablePolicies::of(&table).classes(&table)[0].1);
        compiled += usize::from(class == "compiled");
        if class != case.class {
            different.push(format!("{}: {class}, listed as {}\n    {}", case.name, case.class, case.using));
        }
    }
    println!("{compiled} of {} compiled", corpus.policy.len());
    assert!(different.is_empty(), "{}", different.join("\n"));
}
