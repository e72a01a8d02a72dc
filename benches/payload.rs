//! One event to the body of its `next`, against the design that was not taken: a tree of `serde_json::Value`.
//!
//! `cargo bench --bench payload`. The row has eight text columns, about 270 bytes as a frame, the one
//! that the first measurements of this project used.
//!
//! 2026-11-23, 2 cores of a shared VM under load: plan 305 ns, `serde_json::Value` 3,742 ns (12 times as much);
//! compiling a known text 2.5 us, a new one 30 us. Only the ratios carry over.

#![allow(clippy::expect_used, clippy::panic)] // a bench has nobody to report to

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use rowcast::graphql::{BoundField, Field, GraphSchema, Operation as Compiled, Options, Plan, Request};
use rowcast::model::{
    Change, Column, Datum, Event, Lsn, Operation, PgType, Position, Principal, ReplicaIdentity, RowChange, Table,
    TableName, Timestamp, Transition, Tuple,
};
use rowcast::payload::{Encoder, Scratch, ValueForm};
use rowcast::security::{AccessRequest, FieldRules, Gate, Inspection, Judged, SourceAccess};
use serde_json::{Value, json};

const NAMES: [&str; 8] = ["id", "tenant", "status", "total", "quantity", "note", "currency", "reference"];
const VALUES: [&str; 8] =
    ["4711", "acme", "PAID", "1234.50", "17", "deliver to the back door", "EUR", "a0eebc99-9c0b-4ef8"];
const QUERY: &str =
    "subscription { orders { operation row { id tenant status total quantity note currency reference } } }";
const CURSOR: &str = "AAAAABbV9zAAAAAA";

fn table() -> Arc<Table> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        field: name.to_owned(),
        type_oid: 25,
        pg_type: PgType::Text,
        not_null: true,
        collation: rowcast::model::Collation::default(),
        folding: rowcast::model::Folding::Simple,
    };
    Arc::new(Table {
        oid: 1,
        name: TableName { schema: "public".to_owned(), name: "orders".to_owned() },
        type_name: "Orders".to_owned(),
        field: "orders".to_owned(),
        columns: NAMES.map(column).into(),
        key: [0].into(),
        tenant: None,
        public: true,
        access: rowcast::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn schema(table: &Arc<Table>) -> GraphSchema {
    let declaration = Field { table: Some("orders".to_owned()), ..Field::default() };
    let field = BoundField { declaration, table: Some(Arc::clone(table)) };
    GraphSchema::build(&[], &[field], Options::default()).expect("the declaration is right")
}

fn compile(schema: &GraphSchema, query: &str) -> Arc<Plan> {
    match schema.compile(&Request { query: query.to_owned(), ..Request::default() }) {
        Ok(Compiled::Subscription(compiled)) => compiled.plan,
        other => panic!("{other:?}"),
    }
}

fn event(table: &Arc<Table>) -> Event {
    let values = VALUES.map(|text| Datum::Text(Bytes::from_static(text.as_bytes())));
    let change = RowChange {
        table: Arc::clone(table),
        operation: Operation::Insert,
        old: None,
        new: Some(Tuple::new(Vec::from(values))),
    };
    Event {
        position: Position { commit_lsn: Lsn(1), ordinal: 0 },
        committed_at: Timestamp(1_795_450_575_123_456),
        xid: 7,
        change: Change::Row(change),
    }
}

/// The decoder's own writer is another stage; this one does what it must for text without escapes.
fn write_value(_: &PgType, text: &[u8], out: &mut Vec<u8>) -> ValueForm {
    if text.iter().any(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\') {
        return ValueForm::Malformed;
    }
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
    ValueForm::Value
}

fn body_by_value(event: &Event) -> Vec<u8> {
    let Change::Row(RowChange { table, new: Some(row), .. }) = &event.change else { return Vec::new() };
    let column = |(column, value): (&Column, &Datum)| {
        let text = String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned();
        (column.field.clone(), Value::from(text))
    };
    let row: serde_json::Map<_, _> = table.columns.iter().zip(row.values()).map(column).collect();
    let operation = event.operation().name();
    let body = json!({
        "data": {"orders": {"operation": operation, "row": row}},
        "extensions": {"rowcast": {"cursor": CURSOR, "operation": operation, "committedAt": "2026-11-23T16:16:15.123456+00:00"}},
    });
    body.to_string().into_bytes()
}

fn payload(criterion: &mut Criterion) {
    let table = table();
    let schema = schema(&table);
    let plan = compile(&schema, QUERY);
    let event = event(&table);
    let admitted = Gate::default().admit(&AccessRequest {
        principal: &Principal::default(),
        field: &FieldRules::default(),
        variables: &serde_json::Map::new(),
        operations: None,
        source: SourceAccess::Table(&table, &BTreeSet::new()),
    });
    let Ok(admission) = admitted else { return };
    let Some(visible) = Inspection::new(&event).visible(&admission, Transition::Enter, Judged::NOT) else { return };
    let encoder = Encoder::new(write_value);
    let mut scratch = Scratch::default();

    let mut group = criterion.benchmark_group("body of eight text columns");
    group.bench_function("plan", |b| {
        b.iter(|| encoder.event_body(black_box(&plan), black_box(&visible), black_box(CURSOR), &mut scratch));
    });
    group.bench_function("serde_json::Value", |b| b.iter(|| body_by_value(black_box(&event))));
    group.finish();

    let mut group = criterion.benchmark_group("compile");
    group.bench_function("a text that is known", |b| b.iter(|| compile(&schema, black_box(QUERY))));
    let mut number = 0_u64;
    group.bench_function("a text that is new", |b| {
        b.iter(|| {
            number += 1;
            compile(&schema, &format!("{QUERY} # {number}"))
        });
    });
    group.finish();
}

criterion_group!(benches, payload);
criterion_main!(benches);
