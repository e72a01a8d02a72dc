//! A small shop: every kind of column type, a table without a key, resolvers, topics.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::graphql::{BoundField, Field, GraphSchema, Options, Request, RequestError, SchemaError};
use crate::model::{ArrayType, Column, CompositeType, EnumType, PgType, ReplicaIdentity, Table, TableName};

pub(super) fn labels(name: &str, labels: &[&str]) -> PgType {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    PgType::Enum(Arc::new(EnumType { name: name.to_owned(), labels }))
}

pub(super) fn array(element: PgType) -> PgType {
    PgType::Array(Arc::new(ArrayType { element, delimiter: b',' }))
}

pub(super) fn column(name: &str, pg_type: PgType, not_null: bool) -> Column {
    let field = super::super::name::camel_case(name);
    Column {
        name: name.to_owned(),
        field,
        type_oid: 0,
        pg_type,
        not_null,
        collation: crate::model::Collation::Plain,
        folding: crate::model::Folding::Simple,
    }
}

pub(super) fn table(name: &str, columns: Vec<Column>, key: &[usize], comment: Option<&str>) -> Arc<Table> {
    Arc::new(Table {
        oid: 0,
        name: TableName { schema: "public".to_owned(), name: name.to_owned() },
        type_name: super::super::name::pascal_case(name),
        field: super::super::name::camel_case(name),
        columns: columns.into(),
        key: key.into(),
        tenant: None,
        public: true,
        access: crate::model::Access::default(),
        identity: ReplicaIdentity::Full,
        comment: comment.map(str::to_owned),
    })
}

pub(super) fn orders() -> Arc<Table> {
    let size = CompositeType { name: "size".to_owned(), attributes: vec![("width".to_owned(), PgType::Int4)] };
    let columns = vec![
        column("id", PgType::Int8, true),
        column("tenant_id", PgType::Text, true),
        column("status", labels("order_status", &["OPEN", "PAID", "SHIPPED"]), true),
        column("total", PgType::Numeric, false),
        column("quantity", PgType::Int4, true),
        column("weight", PgType::Float8, false),
        column("express", PgType::Bool, true),
        column("note", PgType::Text, false),
        column("reference", PgType::Uuid, false),
        column("due_on", PgType::Date, false),
        column("due_at", PgType::Time, false),
        column("entered_at", PgType::Timestamp, false),
        column("created_at", PgType::TimestampTz, true),
        column("details", PgType::Json, false),
        column("signature", PgType::Bytea, false),
        column("tags", array(PgType::Text), false),
        column("history", array(labels("order_status", &["OPEN", "PAID", "SHIPPED"])), false),
        column("parcels", array(PgType::Composite(Arc::new(size.clone()))), false),
        column("box_size", PgType::Composite(Arc::new(size)), false),
        column("lead_time", PgType::Other, false),
        column("phase", labels("phase", &["in-progress", "done"]), false),
    ];
    table("orders", columns, &[0], Some("What customers ordered.\n\nOne row per order."))
}

/// A table without a primary key, whose enum's name is taken.
pub(super) fn log() -> Arc<Table> {
    let columns = vec![
        column("operation", labels("operation", &["READ", "WRITE"]), false),
        column("at", PgType::TimestampTz, true),
    ];
    table("audit_log", columns, &[], None)
}

pub(super) fn customers() -> Arc<Table> {
    table("customers", vec![column("id", PgType::Int4, true), column("full_name", PgType::Text, false)], &[0], None)
}

pub(super) fn bound(declaration: Value, table: Option<&Arc<Table>>) -> BoundField {
    let declaration: Field = serde_json::from_value(declaration).unwrap();
    BoundField { declaration, table: table.cloned() }
}

pub(super) fn fields() -> Vec<BoundField> {
    let orders = orders();
    let view = json!({
        "type": "OrderView",
        "objects": [
            {"name": "OrderView", "description": "An order as shops show it.", "fields": [
                {"name": "id", "attribute": "id", "type": "ID!"},
                {"name": "total", "attribute": "total_amount", "type": "Decimal", "description": "With taxes."},
                {"name": "lines", "attribute": "lines", "type": "[LineView!]!"},
                {"name": "mood", "attribute": "mood", "type": "Mood"},
                {"name": "customer", "attribute": "customer", "type": "Customers"},
            ]},
            {"name": "LineView", "fields": [
                {"name": "label", "attribute": "label", "type": "String!"},
                {"name": "order", "attribute": "order", "type": "OrderView"},
            ]},
        ],
        "enums": [{"name": "Mood", "values": ["HAPPY", "SAD"]}],
    });
    vec![
        bound(json!({"table": "orders"}), Some(&orders)),
        bound(json!({"name": "orderRows", "table": "public.orders", "resolver": {"index": 0}}), Some(&orders)),
        bound(
            json!({"name": "orderViews", "table": "orders", "scopes": ["x"], "resolver": {"index": 1, "returns": view}}),
            Some(&orders),
        ),
        bound(json!({"table": "audit_log"}), Some(&log())),
        bound(json!({"topic": "alerts"}), None),
        bound(json!({"name": "news", "topic": "press.news", "resolver": {"index": 2, "leave": true}}), None),
    ]
}

pub(super) fn build(fields: &[BoundField]) -> Result<GraphSchema, SchemaError> {
    GraphSchema::build(&[orders(), customers(), log()], fields, Options::default())
}

pub(super) fn schema() -> GraphSchema {
    build(&fields()).unwrap()
}

pub(super) fn request(query: &str, variables: Value) -> Request {
    let Value::Object(variables) = variables else { panic!("variables are an object") };
    Request { query: query.to_owned(), variables: Some(variables), ..Request::default() }
}

pub(super) fn messages(errors: &[RequestError]) -> Vec<&str> {
    errors.iter().map(RequestError::message).collect()
}
