//! `tests/corpus/predicate`: what conditions decide and what is refused, as data that other languages can read too.
//! `predicate::oracle` asks PostgreSQL the same `decisions.json`.

use std::sync::Arc;

use rowcast::model::{ArrayType, Column, Datum, EnumType, PgType, ReplicaIdentity, Table, TableName, Tuple};
use rowcast::predicate::{Predicate, RowImage, Truth, operators};
use serde_json::{Value, json};

#[derive(serde::Deserialize)]
pub(crate) struct Decision {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) value: Option<String>,
    #[serde(rename = "where")]
    pub(crate) operators: Value,
    pub(crate) sql: String,
    pub(crate) truth: Option<bool>,
}

pub(crate) fn decisions() -> Vec<Decision> {
    serde_json::from_str(include_str!("../../corpus/predicate/decisions.json")).unwrap()
}

#[derive(serde::Deserialize)]
struct Refusal {
    name: String,
    #[serde(rename = "where")]
    input: Value,
    error: String,
}

pub(crate) fn column(name: &str, type_oid: u32, pg_type: PgType) -> Column {
    Column {
        name: name.into(),
        field: name.into(),
        type_oid,
        pg_type,
        not_null: false,
        collation: rowcast::model::Collation::Plain,
        folding: rowcast::model::Folding::Simple,
    }
}

pub(crate) fn table(columns: Vec<Column>) -> Table {
    Table {
        oid: 16_384,
        name: TableName { schema: "public".into(), name: "orders".into() },
        type_name: "Orders".into(),
        field: "orders".into(),
        columns: columns.into(),
        key: Box::new([0]),
        tenant: None,
        public: false,
        access: rowcast::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    }
}

fn type_oid(name: &str) -> u32 {
    match name {
        "integer" => 23,
        "bigint" => 20,
        "smallint" => 21,
        "numeric" => 1700,
        "double precision" => 701,
        "real" => 700,
        "text" => 25,
        "character(4)" => 1042,
        "uuid" => 2950,
        "timestamptz" => 1184,
        "timestamp" => 1114,
        "date" => 1082,
        "time" => 1083,
        "bytea" => 17,
        "integer[]" => 1007,
        "jsonb" => 3802,
        other => panic!("give {other} an OID here"),
    }
}

fn truth(truth: Option<bool>) -> Truth {
    truth.map_or(Truth::Unknown, |truth| if truth { Truth::True } else { Truth::False })
}

#[test]
fn the_corpus_is_decided_as_it_says() {
    for case in decisions() {
        let oid = type_oid(&case.type_name);
        let table = table(vec![column("c", oid, PgType::builtin(oid).unwrap())]);
        let value = case.value.map_or(Datum::Null, |value| Datum::Text(value.into()));
        let row = Tuple::new([value]);
        let predicate = Predicate::parse_where(&table, &json!({"c": case.operators})).unwrap();
        assert_eq!(predicate.eval(&RowImage::new(&table, &row)), truth(case.truth), "{}", case.name);
        let negated = Predicate::parse_where(&table, &json!({"NOT": {"c": case.operators}})).unwrap();
        assert_eq!(
            negated.eval(&RowImage::new(&table, &row)),
            truth(case.truth.map(|truth| !truth)),
            "not {}",
            case.name
        );
    }
}

fn orders() -> Table {
    let labels = ["open", "paid", "shipped"].map(String::from).to_vec();
    let texts = ArrayType { element: PgType::Text, delimiter: b',' };
    let mut table = table(vec![
        column("id", 20, PgType::Int8),
        column("tenant", 2950, PgType::Uuid),
        column("status", 0, PgType::Enum(Arc::new(EnumType { name: "status".into(), labels }))),
        column("total", 1700, PgType::Numeric),
        column("note", 25, PgType::Text),
        column("created", 1184, PgType::TimestampTz),
        column("tags", 1009, PgType::Array(Arc::new(texts))),
        column("address", 869, PgType::Other),
    ]);
    table.tenant = Some(1);
    table
}

#[test]
fn what_is_refused_says_where_and_what_would_be_right() {
    let cases: Vec<Refusal> = serde_json::from_str(include_str!("../../corpus/predicate/refusals.json")).unwrap();
    for case in cases {
        let error = Predicate::parse_where(&orders(), &case.input).expect_err(&case.name);
        assert_eq!((error.to_string().as_str(), error.code()), (case.error.as_str(), "BAD_WHERE"), "{}", case.name);
    }
}

#[test]
fn an_argument_has_bounds() {
    let refused = |input: &Value| Predicate::parse_where(&orders(), input).is_err();
    let many = |count: usize| json!({"AND": vec![json!({"id": {"gt": 1}}); count]});
    assert!(!refused(&many(256)) && refused(&many(257)));
    let members = |count: usize| json!({"id": {"in": vec![1; count]}});
    assert!(!refused(&members(1024)) && refused(&members(1025)));
    let deep = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"NOT": inner}));
    assert!(!refused(&deep(16)) && refused(&deep(17)));
}

#[test]
fn no_argument_is_every_row() {
    for input in [json!(null), json!({}), json!({"AND": []}), json!({"NOT": {"OR": []}}), json!({"id": {}})] {
        assert_eq!(Predicate::parse_where(&orders(), &input), Ok(Predicate::True), "{input}");
    }
}

#[test]
fn the_tenant_is_read_as_its_column_reads_it() {
    let table = orders();
    let predicate = Predicate::tenant(&table, "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11").unwrap();
    let mut row = vec![Datum::Null; 8];
    row[1] = Datum::Text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into());
    assert!(predicate.eval(&RowImage::new(&table, &Tuple::new(row))).is_true());
}

#[test]
fn a_tenant_that_cannot_be_in_the_column_is_refused() {
    let error = Predicate::tenant(&orders(), "acme").unwrap_err();
    assert_eq!(error.code(), "BAD_TENANT");
    assert!(error.to_string().contains("public.orders.tenant") && !error.to_string().contains("acme"), "{error}");
    for tenant in [None, Some(7), Some(99)] {
        let table = Table { tenant, ..orders() };
        assert_eq!(Predicate::tenant(&table, "acme").map_err(|error| error.code()), Err("BAD_TENANT"));
    }
}

#[test]
fn what_was_not_sent_matches_neither_way() {
    let table = orders();
    for missing in [Datum::Absent, Datum::Unchanged] {
        let mut row = vec![Datum::Text("1".into()); 8];
        row[4] = missing;
        let row = Tuple::new(row);
        let eval = |input: Value| Predicate::parse_where(&table, &input).unwrap().eval(&RowImage::new(&table, &row));
        for operators in [json!({"eq": "1"}), json!({"isNull": true}), json!({"like": "%"}), json!({"in": ["1", "2"]})]
        {
            assert_eq!(eval(json!({"note": operators})), Truth::Unavailable);
            assert_eq!(eval(json!({"NOT": {"note": operators}})), Truth::Unavailable);
            assert_eq!(eval(json!({"OR": [{"note": operators}, {"id": {"eq": 1}}]})), Truth::True);
            assert_eq!(eval(json!({"note": operators, "id": {"eq": 2}})), Truth::False);
        }
    }
}

#[test]
fn a_value_that_cannot_be_read_matches_neither_way() {
    let table = orders();
    let mut row = vec![Datum::Null; 8];
    row[2] = Datum::Text("a label that was added later".into());
    let row = Tuple::new(row);
    for operator in ["eq", "neq", "lt", "gte"] {
        let predicate = Predicate::parse_where(&table, &json!({"status": {operator: "paid"}})).unwrap();
        assert_eq!(predicate.eval(&RowImage::new(&table, &row)), Truth::Unavailable);
    }
}

#[test]
fn the_columns_of_a_condition_are_told() {
    let input = json!({"OR": [{"id": {"eq": 1}}, {"NOT": {"note": {"like": "x%"}}}], "total": {"in": [1, 2]}});
    let predicate = Predicate::parse_where(&orders(), &input).unwrap();
    assert_eq!(predicate.columns().into_iter().collect::<Vec<_>>(), [0, 3, 4]);
}

#[test]
fn every_type_offers_at_least_is_null() {
    for column in &orders().columns {
        assert!(operators(&column.pg_type).iter().any(|operator| operator.name() == "isNull"));
    }
}
