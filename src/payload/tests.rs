//! Bodies byte for byte: each image, each way in which a value can be missing, each place that null goes up to.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Encoder, FieldError, Meta, PathSegment, Scratch, ValueForm, error_body, resolved_body};
use crate::graphql::{BoundField, GraphSchema, Operation as Compiled, Options, Plan, Request};
use crate::model::{
    Change, Column, Datum, Event, Lsn, Message, Operation, PgType, Position, ReplicaIdentity, RowChange, Table,
    TableName, Timestamp, Transition, Tuple,
};
use crate::security::{Image, Visible};

/// A decoder of few words: `NaN` has no form, `?` is malformed, and both leave something behind.
fn write_value(pg_type: &PgType, text: &[u8], out: &mut Vec<u8>) -> ValueForm {
    match (pg_type, text) {
        (_, b"NaN" | b"?") => {
            out.extend_from_slice(b"half");
            if text == b"?" { ValueForm::Malformed } else { ValueForm::None }
        }
        (PgType::Text | PgType::Int8, text) => {
            out.extend_from_slice(Value::from(std::str::from_utf8(text).unwrap()).to_string().as_bytes());
            ValueForm::Value
        }
        (_, text) => {
            out.extend_from_slice(text);
            ValueForm::Value
        }
    }
}

fn table_of(columns: &[(&str, PgType, bool)]) -> Arc<Table> {
    let column = |(name, pg_type, not_null): &(&str, PgType, bool)| Column {
        name: (*name).to_owned(),
        field: (*name).to_owned(),
        type_oid: 0,
        pg_type: pg_type.clone(),
        not_null: *not_null,
        collation: crate::model::Collation::Plain,
        folding: crate::model::Folding::Simple,
    };
    Arc::new(Table {
        oid: 1,
        name: TableName { schema: "public".to_owned(), name: "orders".to_owned() },
        type_name: "Orders".to_owned(),
        field: "orders".to_owned(),
        columns: columns.iter().map(column).collect(),
        key: [0].into(),
        tenant: None,
        public: true,
        access: crate::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn table() -> Arc<Table> {
    table_of(&[
        ("id", PgType::Int8, true),
        ("quantity", PgType::Int4, true),
        ("note", PgType::Text, false),
        ("weight", PgType::Float8, false),
    ])
}

fn plan(table: &Arc<Table>, query: &str) -> Arc<Plan> {
    let bound = |declaration: Value, table: Option<&Arc<Table>>| BoundField {
        declaration: serde_json::from_value(declaration).unwrap(),
        table: table.cloned(),
    };
    let fields = [
        bound(json!({"table": "orders"}), Some(table)),
        bound(json!({"topic": "alerts"}), None),
        bound(json!({"name": "rows", "table": "orders", "resolver": {"index": 0}}), Some(table)),
        bound(
            json!({"name": "maybe", "table": "orders", "resolver": {"index": 1, "returns": {"type": "Int"}}}),
            Some(table),
        ),
    ];
    let schema = GraphSchema::build(&[], &fields, Options::default()).unwrap();
    let request = Request { query: format!("subscription {{ {query} }}"), ..Request::default() };
    match schema.compile(&request) {
        Ok(Compiled::Subscription(compiled)) => compiled.plan,
        other => panic!("{other:?}"),
    }
}

const NULL: Datum = Datum::Null;

fn text(text: &'static str) -> Datum {
    Datum::Text(Bytes::from_static(text.as_bytes()))
}

fn row_event(table: &Arc<Table>, operation: Operation, old: Option<[Datum; 4]>, new: Option<[Datum; 4]>) -> Event {
    let tuple = |values: [Datum; 4]| Tuple::new(Vec::from(values));
    event(Change::Row(RowChange { table: Arc::clone(table), operation, old: old.map(tuple), new: new.map(tuple) }))
}

fn event(change: Change) -> Event {
    let position = Position { commit_lsn: Lsn(1), ordinal: 0 };
    Event { position, committed_at: Timestamp(1_795_450_575_123_456), xid: 7, change }
}

/// The image as the gate shows it to a principal with access to everything.
fn visible(event: &Event, transition: Transition) -> Visible<'_> {
    let image = match &event.change {
        Change::Row(change) => match (transition, &change.new, &change.old) {
            (Transition::Leave, _, Some(old)) => Image::Key(change, old),
            (_, Some(new), _) => Image::Row(change, new),
            _ => Image::None,
        },
        Change::Truncate(_) | Change::Message(_) | Change::SnapshotEnd(_) => Image::None,
    };
    Visible::for_test(event, image, transition)
}

fn encode(plan: &Plan, event: &Event, transition: Transition) -> String {
    let visible = visible(event, transition);
    let encoder = Encoder::new(write_value);
    let mut scratch = Scratch::default();
    let body = encoder.event_body(plan, &visible, "c\"1", &mut scratch).unwrap();
    assert_eq!(
        encoder.event_body(plan, &visible, "c\"1", &mut scratch).unwrap(),
        body,
        "a used buffer changes nothing"
    );
    serde_json::from_slice::<Value>(body.json()).unwrap();
    String::from_utf8(body.json().to_vec()).unwrap()
}

/// A body's `data` and `errors`, with the extensions checked and cut off.
fn told(plan: &Plan, event: &Event, transition: Transition) -> String {
    let body = encode(plan, event, transition);
    let operation = event.operation().name();
    let extensions = format!(
        r#","extensions":{{"rowcast":{{"cursor":"c\"1","operation":"{operation}","committedAt":"2026-11-23T16:16:15.123456+00:00"}}}}}}"#
    );
    body.strip_suffix(&extensions).unwrap().to_owned()
}

const ALL: &str =
    "orders { operation transition row { id quantity note weight } key { id } changed cursor committedAt }";

#[test]
fn an_insert_tells_the_whole_row() {
    let table = table();
    let event = row_event(&table, Operation::Insert, None, Some([text("7"), text("3"), text("a\"b"), text("1.5")]));
    assert_eq!(
        encode(&plan(&table, ALL), &event, Transition::Enter),
        concat!(
            r#"{"data":{"orders":{"operation":"INSERT","transition":"ENTER","#,
            r#""row":{"id":"7","quantity":3,"note":"a\"b","weight":1.5},"key":{"id":"7"},"changed":[],"#,
            r#""cursor":"c\"1","committedAt":"2026-11-23T16:16:15.123456+00:00"}},"#,
            r#""extensions":{"rowcast":{"cursor":"c\"1","operation":"INSERT","committedAt":"2026-11-23T16:16:15.123456+00:00"}}}"#
        )
    );
}

#[test]
fn aliases_and_typenames_stand_where_they_were_asked_for() {
    let table = table();
    let plan = plan(&table, "o: orders { __typename r: row { n: note t: __typename n2: note } key { __typename } }");
    let event = row_event(&table, Operation::Insert, None, Some([text("7"), text("3"), text("x"), NULL]));
    assert_eq!(
        told(&plan, &event, Transition::Enter),
        r#"{"data":{"o":{"__typename":"OrdersEvent","r":{"n":"x","t":"Orders","n2":"x"},"key":{"__typename":"OrdersKey"}}}"#
    );
}

#[test]
fn an_update_names_the_fields_that_are_known_to_have_changed() {
    let table = table();
    let plan = plan(&table, "orders { changed }");
    let new = [text("7"), text("4"), NULL, Datum::Unchanged];
    for (old, changed) in [
        (Some([text("7"), text("3"), text("a"), text("1")]), r#"["quantity","note"]"#),
        (Some([text("7"), text("4"), NULL, NULL]), "[]"),
        (Some([text("6"), Datum::Absent, Datum::Absent, Datum::Absent]), r#"["id"]"#),
        (None, "[]"),
    ] {
        let event = row_event(&table, Operation::Update, old, Some(new.clone()));
        let expected = format!(r#"{{"data":{{"orders":{{"changed":{changed}}}}}"#);
        assert_eq!(told(&plan, &event, Transition::Stay), expected);
    }
}

#[test]
fn a_row_that_leaves_tells_its_old_key_and_nothing_else() {
    let table = table();
    let plan = plan(&table, "orders { operation transition row { id } key { id } changed }");
    let old = [text("7"), text("3"), text("secret"), NULL];
    let update = row_event(&table, Operation::Update, Some(old.clone()), Some([text("8"), text("9"), text("b"), NULL]));
    assert_eq!(
        told(&plan, &update, Transition::Leave),
        r#"{"data":{"orders":{"operation":"UPDATE","transition":"LEAVE","row":null,"key":{"id":"7"},"changed":[]}}"#
    );
    let delete = row_event(&table, Operation::Delete, Some(old), None);
    assert_eq!(
        told(&plan, &delete, Transition::Leave),
        r#"{"data":{"orders":{"operation":"DELETE","transition":"LEAVE","row":null,"key":{"id":"7"},"changed":[]}}"#
    );
}

#[test]
fn a_truncate_has_neither_row_nor_key() {
    let table = table();
    let plan = plan(&table, "orders { operation transition row { id } key { id } changed }");
    assert_eq!(
        told(&plan, &event(Change::Truncate(Arc::clone(&table))), Transition::Leave),
        r#"{"data":{"orders":{"operation":"TRUNCATE","transition":"LEAVE","row":null,"key":null,"changed":[]}}"#
    );
}

const ABSENT: &str = "The change does not carry this column; `replica identity full` on the table makes it carry all.";
const UNCHANGED: &str = "The update left this large value alone, so PostgreSQL did not send it; `replica identity full` \
                         on the table makes it do so.";

fn error(message: &str, path: &str, code: &str) -> String {
    format!(r#"{{"message":"{message}","path":["orders",{path}],"extensions":{{"code":"{code}"}}}}"#)
}

#[test]
fn a_nullable_column_without_a_value_is_null_with_an_error_and_null_is_not() {
    let table = table();
    let plan = plan(&table, "orders { r: row { id n: note weight } }");
    for (note, weight, errors) in [
        (NULL, NULL, vec![]),
        (Datum::Absent, NULL, vec![error(ABSENT, r#""r","n""#, "COLUMN_UNAVAILABLE")]),
        (Datum::Unchanged, NULL, vec![error(UNCHANGED, r#""r","n""#, "COLUMN_UNAVAILABLE")]),
        (text("?"), NULL, vec![error("The value is not in the form of its type.", r#""r","n""#, "VALUE_MALFORMED")]),
        (
            NULL,
            text("NaN"),
            vec![error("JSON has no number for this value.", r#""r","weight""#, "VALUE_WITHOUT_JSON_FORM")],
        ),
        (
            Datum::Absent,
            Datum::Absent,
            vec![
                error(ABSENT, r#""r","n""#, "COLUMN_UNAVAILABLE"),
                error(ABSENT, r#""r","weight""#, "COLUMN_UNAVAILABLE"),
            ],
        ),
    ] {
        let event = row_event(&table, Operation::Insert, None, Some([text("7"), text("3"), note, weight]));
        let errors = if errors.is_empty() { String::new() } else { format!(r#","errors":[{}]"#, errors.join(",")) };
        let expected = format!(r#"{{"data":{{"orders":{{"r":{{"id":"7","n":null,"weight":null}}}}}}{errors}"#);
        assert_eq!(told(&plan, &event, Transition::Enter), expected);
    }
}

#[test]
fn a_non_null_column_without_a_value_makes_the_row_null_with_that_error_alone() {
    let table = table();
    let plan = plan(&table, "orders { operation row { note id quantity } key { id } }");
    for (quantity, message, code) in [
        (Datum::Absent, ABSENT, "COLUMN_UNAVAILABLE"),
        (Datum::Unchanged, UNCHANGED, "COLUMN_UNAVAILABLE"),
        (text("NaN"), "JSON has no number for this value.", "VALUE_WITHOUT_JSON_FORM"),
        (text("?"), "The value is not in the form of its type.", "VALUE_MALFORMED"),
        (NULL, "Cannot return null for a non-nullable field.", "NULL_IN_NON_NULL"),
    ] {
        // The note is missing as well, but below a null nothing else is an error.
        let event = row_event(&table, Operation::Insert, None, Some([text("7"), quantity, Datum::Absent, NULL]));
        assert_eq!(
            told(&plan, &event, Transition::Enter),
            format!(
                r#"{{"data":{{"orders":{{"operation":"INSERT","row":null,"key":{{"id":"7"}}}}}},"errors":[{}]"#,
                error(message, r#""row","quantity""#, code)
            )
        );
    }
}

#[test]
fn a_key_that_the_old_image_lacks_is_null_with_an_error() {
    let table = table();
    let plan = plan(&table, "orders { key { id } }");
    let event = row_event(&table, Operation::Delete, Some([Datum::Absent, NULL, NULL, NULL]), None);
    assert_eq!(
        told(&plan, &event, Transition::Leave),
        format!(
            r#"{{"data":{{"orders":{{"key":null}}}},"errors":[{}]"#,
            error(ABSENT, r#""key","id""#, "COLUMN_UNAVAILABLE")
        )
    );
}

#[test]
fn a_table_of_another_shape_tells_no_column() {
    let plan = plan(&table(), "orders { row { note } key { id } }");
    let same = Arc::new((*table()).clone());
    let row = [text("7"), text("3"), text("a"), NULL];
    assert_eq!(
        told(&plan, &row_event(&same, Operation::Insert, None, Some(row.clone())), Transition::Enter),
        r#"{"data":{"orders":{"row":{"note":"a"},"key":{"id":"7"}}}"#
    );
    let other = table_of(&[
        ("id", PgType::Int8, true),
        ("quantity", PgType::Int4, true),
        ("password", PgType::Text, false),
        ("weight", PgType::Float8, false),
    ]);
    let body = told(&plan, &row_event(&other, Operation::Insert, None, Some(row)), Transition::Enter);
    assert!(
        body.starts_with(r#"{"data":{"orders":{"row":{"note":null},"key":null}},"errors":[{"message":"The table's"#),
        "{body}"
    );
}

#[test]
fn everything_may_be_skipped() {
    let table = table();
    let plan = plan(&table, "orders { cursor @skip(if: true) row { id @include(if: false) } }");
    let event = row_event(&table, Operation::Insert, None, Some([text("7"), text("3"), NULL, NULL]));
    assert_eq!(told(&plan, &event, Transition::Enter), r#"{"data":{"orders":{"row":{}}}"#);
}

fn message(payload: &'static str) -> Event {
    let payload = Bytes::from_static(payload.as_bytes());
    event(Change::Message(Message { topic: "al\"erts".into(), tenant: None, payload }))
}

#[test]
fn a_publication_carries_its_payload_as_it_is() {
    let plan = plan(&table(), "alerts { __typename operation t: topic payload cursor committedAt }");
    assert_eq!(
        told(&plan, &message(r#"{"a": [1, 2.50]}"#), Transition::Enter),
        concat!(
            r#"{"data":{"alerts":{"__typename":"AlertsEvent","operation":"MESSAGE","t":"al\"erts","payload":{"a": [1, 2.50]},"#,
            r#""cursor":"c\"1","committedAt":"2026-11-23T16:16:15.123456+00:00"}}"#
        )
    );
}

#[test]
fn a_publication_of_null_makes_all_of_the_data_null() {
    let plan = plan(&table(), "alerts { topic p: payload }");
    assert_eq!(
        told(&plan, &message(" null "), Transition::Enter),
        concat!(
            r#"{"data":null,"errors":[{"message":"Cannot return null for a non-nullable field.","path":["alerts","p"],"#,
            r#""extensions":{"code":"NULL_IN_NON_NULL"}}]"#
        )
    );
}

#[test]
fn a_plan_and_an_event_that_do_not_belong_together_give_nothing() {
    let table = table();
    let encode = |query: &str, event: &Event| {
        let visible = visible(event, Transition::Enter);
        Encoder::new(write_value).event_body(&plan(&table, query), &visible, "c", &mut Scratch::default())
    };
    let row = row_event(&table, Operation::Insert, None, Some([text("7"), text("3"), NULL, NULL]));
    assert_eq!(encode("rows { id }", &row), None);
    assert_eq!(encode("alerts { topic }", &row), None);
}

#[test]
fn a_resolved_value_is_spliced_in_and_a_failure_is_null_as_high_as_its_type_says() {
    let table = table();
    let meta = Meta { cursor: "c", operation: "UPDATE", committed_at: Timestamp(0) };
    let end = r#""extensions":{"rowcast":{"cursor":"c","operation":"UPDATE","committedAt":"1970-01-01T00:00:00.000000+00:00"}}}"#;
    let error = FieldError {
        message: "no \"luck\"".to_owned(),
        path: vec![PathSegment::Key("r".into()), PathSegment::Index(10), PathSegment::Key("id".into())],
        code: "RESOLVER_FAILED".to_owned(),
    };
    let told = r#""errors":[{"message":"no \"luck\"","path":["r",10,"id"],"extensions":{"code":"RESOLVER_FAILED"}}]"#;
    let (rows, maybe) = (plan(&table, "r: rows { id }"), plan(&table, "maybe"));
    for (body, expected) in [
        (
            resolved_body(&rows, Some(br#"{"id":"7"}"#), Vec::new(), &meta),
            format!(r#"{{"data":{{"r":{{"id":"7"}}}},{end}"#),
        ),
        (
            resolved_body(&rows, Some(b"{}"), vec![error.clone()], &meta),
            format!(r#"{{"data":{{"r":{{}}}},{told},{end}"#),
        ),
        (error_body(&rows, error.clone(), &meta), format!(r#"{{"data":null,{told},{end}"#)),
        (error_body(&maybe, error, &meta), format!(r#"{{"data":{{"maybe":null}},{told},{end}"#)),
    ] {
        assert_eq!(String::from_utf8(body.json().to_vec()).unwrap(), expected);
    }
}
