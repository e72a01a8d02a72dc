//! A federated graph: the text for composition, and references to rows.

use serde_json::{Value, json};

use super::fixture::{array, bound, column, customers, fields, log, orders, request, table};
use crate::graphql::{BoundField, EntityRequest, GraphSchema, Operation, Options, RequestErrorKind};
use crate::model::PgType;

fn federated(fields: &[BoundField]) -> GraphSchema {
    let options = Options { service: Some("shop".to_owned()), ..Options::default() };
    GraphSchema::build(&[orders(), customers(), log()], fields, options).unwrap()
}

fn shop() -> GraphSchema {
    federated(&fields())
}

fn data(schema: &GraphSchema, query: &str) -> Value {
    match schema.compile(&request(query, json!({}))) {
        Ok(Operation::Query(body)) => serde_json::from_slice::<Value>(&body).unwrap()["data"].take(),
        other => panic!("{other:?}"),
    }
}

fn entities(schema: &GraphSchema, query: &str, representations: &Value) -> EntityRequest {
    match schema.compile(&request(query, json!({"r": representations}))) {
        Ok(Operation::Entities(asked)) => *asked,
        other => panic!("{other:?}"),
    }
}

const BY_KEY: &str = "query ($r: [_Any!]!) { _entities(representations: $r) { ... on Orders { id total } } }";

/// Rewrites the golden file when `ROWCAST_BLESS` is set; `tests/clients/subgraph` composes it.
#[test]
fn the_subgraph_of_the_shop_is_the_one_in_the_corpus() {
    let path = super::corpus::root().join("subgraph.graphql");
    let sdl = shop().sdl().to_owned();
    if std::env::var_os("ROWCAST_BLESS").is_some() {
        std::fs::write(&path, &sdl).unwrap();
    }
    assert_eq!(sdl, std::fs::read_to_string(path).unwrap());
}

#[test]
fn the_service_tells_its_own_text() {
    let schema = shop();
    assert_eq!(data(&schema, "{ _service { sdl } }"), json!({"_service": {"sdl": schema.sdl()}}));
    assert!(!schema.sdl().contains("_Any") && !schema.sdl().contains("_service"), "{}", schema.sdl());
}

#[test]
fn without_a_service_there_is_no_trace_of_it() {
    let plain = super::fixture::schema();
    for query in ["{ _service { sdl } }", "{ _entities(representations: []) { __typename } }"] {
        let errors = plain.compile(&request(query, json!({}))).unwrap_err();
        assert_eq!(errors[0].kind(), RequestErrorKind::GraphqlValidationFailed, "{query}");
    }
    assert!(!plain.sdl().contains('@'));
}

#[test]
fn who_may_not_ask_for_the_schema_may_not_ask_for_its_text() {
    let options = Options { service: Some("shop".to_owned()), introspection: false, ..Options::default() };
    let schema = GraphSchema::build(&[orders(), customers()], &fields(), options).unwrap();
    let errors = schema.compile(&request("{ _service { sdl } }", json!({}))).unwrap_err();
    assert_eq!(errors[0].kind(), RequestErrorKind::IntrospectionDisabled);
}

#[test]
fn a_type_has_a_key_and_rows_by_it_where_the_engine_gives_its_rows() {
    let parts =
        table("parts", vec![column("tenant_id", PgType::Text, true), column("no", PgType::Int4, true)], &[0, 1], None);
    let tagged = table("tagged", vec![column("tags", array(PgType::Text), true)], &[0], None);
    let sdl = federated(&[
        bound(json!({"table": "parts"}), Some(&parts)),
        bound(json!({"table": "tagged"}), Some(&tagged)),
        bound(json!({"table": "customers", "resolver": {"index": 0}}), Some(&customers())),
        bound(json!({"table": "audit_log"}), Some(&log())),
    ]);
    let sdl = sdl.sdl();
    assert!(sdl.contains(r#"type Parts @key(fields: "tenantId no") {"#), "{sdl}");
    assert!(
        sdl.contains(r#"type Customers @key(fields: "id", resolvable: false) {"#),
        "a resolver may hold back: {sdl}"
    );
    assert!(sdl.contains("type Tagged {"), "a key takes no lists: {sdl}");
    assert!(sdl.contains("type AuditLog {"), "{sdl}");
}

#[test]
fn a_field_of_another_service_is_not_in_the_text_and_gives_no_rows() {
    let schema = federated(&[
        bound(json!({"table": "orders"}), Some(&orders())),
        bound(json!({"table": "customers", "service": "crm"}), Some(&customers())),
    ]);
    assert!(!schema.sdl().contains("Customers"), "{}", schema.sdl());
    let subscription = schema.compile(&request("subscription { customers { operation } }", json!({})));
    assert!(matches!(subscription, Ok(Operation::Subscription(_))), "the gate is to refuse it: {subscription:?}");
    let representation = json!({"r": [{"__typename": "Customers", "id": 1}]});
    assert!(schema.compile(&request(BY_KEY, representation)).is_err());
}

#[test]
fn references_become_keys_and_columns_in_their_order() {
    let asked =
        entities(&shop(), BY_KEY, &json!([{"__typename": "Orders", "id": 7}, {"__typename": "Orders", "id": "8"}]));
    let [root] = asked.roots.as_slice() else { panic!("{asked:?}") };
    assert_eq!((&*root.key, &*root.response_key), (&br#""_entities":"#[..], "_entities"));
    let keys: Vec<_> = root.entities.iter().map(|entity| entity.key[0].clone()).collect();
    assert_eq!(keys, [json!("7"), json!("8")], "the canonical form of a BigInt");
    let of = &root.entities[0].of;
    let names: Vec<_> = of.row.fields.iter().map(|field| &*field.name).collect();
    assert_eq!((of.table.type_name.as_str(), names), ("Orders", vec!["id", "total"]));
    assert_eq!(of.fields, [0], "the one field that gives the rows as they are");
    assert!(std::sync::Arc::ptr_eq(of, &root.entities[1].of));
    assert_eq!(asked.variables.keys().collect::<Vec<_>>(), ["r"]);
}

#[test]
fn types_may_be_mixed_aliased_and_reached_through_fragments_on_the_union() {
    let schema = federated(&[
        bound(json!({"table": "orders"}), Some(&orders())),
        bound(json!({"table": "customers"}), Some(&customers())),
    ]);
    let query = "query ($r: [_Any!]!) { rows: _entities(representations: $r) { __typename ...All } }
                 fragment All on _Entity { ... on Customers { name: fullName } ... on Orders { total } }";
    let references = json!([{"__typename": "Customers", "id": 1}, {"__typename": "Orders", "id": "2"}]);
    let asked = entities(&schema, query, &references);
    let selected = |at: usize| {
        let row = &asked.roots[0].entities[at].of.row;
        row.fields.iter().map(|field| field.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(&*asked.roots[0].response_key, "rows");
    assert_eq!(selected(0), ["__typename", "name"]);
    assert_eq!(selected(1), ["__typename", "total"]);
}

#[test]
fn a_reference_that_names_no_row_is_refused_without_its_values() {
    for wrong in [
        json!([{"id": "1"}]),
        json!([{"__typename": "Customers", "id": "1"}]),
        json!([{"__typename": "Query"}]),
        json!([{"__typename": "Orders"}]),
        json!([{"__typename": "Orders", "id": null}]),
        json!([{"__typename": "Orders", "id": {"secret": 1}}]),
        json!([7]),
        json!([{"__typename": "Orders", "id": "1"}, {"__typename": 1}]),
    ] {
        let errors = shop().compile(&request(BY_KEY, json!({"r": wrong}))).unwrap_err();
        assert_eq!(errors[0].kind(), RequestErrorKind::BadUserInput, "{wrong}");
    }
    let beside = "query ($r: [_Any!]!) { _entities(representations: $r) { __typename } _service { sdl } }";
    let errors = shop().compile(&request(beside, json!({"r": []}))).unwrap_err();
    assert_eq!(errors[0].kind(), RequestErrorKind::OperationNotSupported);
    let many: Vec<_> = (0..10_001).map(|id| json!({"__typename": "Orders", "id": id})).collect();
    let errors = shop().compile(&request(BY_KEY, json!({"r": many}))).unwrap_err();
    assert_eq!(errors[0].kind(), RequestErrorKind::QueryTooLarge);
}

#[test]
fn a_types_name_that_federation_needs_is_refused() {
    let objects = json!([{"name": "_Service", "fields": [{"name": "id", "attribute": "id", "type": "ID!"}]}]);
    let returns = json!({"type": "_Service", "objects": objects});
    let field = bound(json!({"table": "orders", "resolver": {"index": 0, "returns": returns}}), Some(&orders()));
    let options = Options { service: Some("shop".to_owned()), ..Options::default() };
    let error = GraphSchema::build(&[orders()], &[field], options).unwrap_err();
    assert_eq!(error.code(), "SCHEMA_DUPLICATE_TYPE");
}
