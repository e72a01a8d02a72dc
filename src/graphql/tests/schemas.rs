//! Declarations to schemas: the golden text, and every way to declare wrongly.

use serde_json::json;

use super::fixture::{bound, build, column, customers, fields, labels, log, orders, schema, table};
use crate::graphql::{GraphSchema, Options};
use crate::model::PgType;

/// Rewrites the golden file when `ROWCAST_BLESS` is set; the diff is then for review.
#[test]
fn the_schema_of_the_shop_is_the_one_in_the_corpus() {
    let path = super::corpus::root().join("schema.graphql");
    let sdl = schema().sdl().to_owned();
    if std::env::var_os("ROWCAST_BLESS").is_some() {
        std::fs::write(&path, &sdl).unwrap();
    }
    assert_eq!(sdl, std::fs::read_to_string(path).unwrap());
}

#[test]
fn the_same_declarations_make_the_same_text() {
    assert_eq!(schema().sdl(), schema().sdl());
}

#[test]
fn without_fields_there_is_a_schema_to_ask_for_the_version() {
    let empty = GraphSchema::build(&[orders()], &[], Options::default()).unwrap();
    assert!(!empty.sdl().contains("Subscription") && !empty.sdl().contains("Orders"), "{}", empty.sdl());
}

#[test]
fn only_what_a_field_reaches_is_defined() {
    let sdl = build(&[bound(json!({"table": "customers"}), Some(&customers()))]).unwrap().sdl().to_owned();
    assert!(!sdl.contains("Orders") && !sdl.contains("BigInt"), "{sdl}");
}

#[test]
fn two_resolvers_may_bring_the_same_type() {
    let view = |index: usize, name: &str| {
        let objects = json!([{"name": "View", "fields": [{"name": "id", "attribute": "id", "type": "ID!"}]}]);
        let returns = json!({"type": "View!", "objects": objects});
        bound(json!({"name": name, "table": "t", "resolver": {"index": index, "returns": returns}}), Some(&customers()))
    };
    build(&[view(0, "a"), view(1, "b")]).unwrap();
}

#[test]
fn a_wrong_declaration_is_refused_with_a_code_and_a_remedy() {
    let customers = customers();
    let returns = |type_ref: &str, objects: serde_json::Value, enums: serde_json::Value| {
        let returns = json!({"type": type_ref, "objects": objects, "enums": enums});
        bound(json!({"table": "customers", "resolver": {"index": 0, "returns": returns}}), Some(&customers))
    };
    let field = |name: &str, type_ref: &str| json!({"name": name, "attribute": "a", "type": type_ref});
    let object = |name: &str, fields: serde_json::Value| json!([{"name": name, "fields": fields}]);
    let none = || json!([]);
    let plain = || bound(json!({"table": "customers"}), Some(&customers));
    let named = |name: &str| bound(json!({"name": name, "table": "customers"}), Some(&customers));
    for (wrong, code, message) in [
        (vec![bound(json!({"name": "x"}), None)], "SCHEMA_FIELD_SOURCE", "exactly one"),
        (vec![bound(json!({"table": "a", "topic": "b"}), None)], "SCHEMA_FIELD_SOURCE", "exactly one"),
        (vec![bound(json!({"table": "gone"}), None)], "SCHEMA_UNKNOWN_TABLE", "rowcast.watch('gone')"),
        (vec![plain(), plain()], "SCHEMA_DUPLICATE_FIELD", "name="),
        (vec![named("my field")], "SCHEMA_INVALID_NAME", "my field"),
        (vec![named("__schema")], "SCHEMA_INVALID_NAME", "leading __"),
        (vec![returns("View!!", none(), none())], "SCHEMA_TYPE_REFERENCE", "field customers"),
        (vec![returns("Nowhere", none(), none())], "SCHEMA_UNKNOWN_TYPE", "Nowhere"),
        (vec![returns("CustomersWhere", none(), none())], "SCHEMA_UNKNOWN_TYPE", "row type"),
        (
            vec![returns("V", object("V", json!([field("a", "list[int]")])), none())],
            "SCHEMA_TYPE_REFERENCE",
            "field a of type V",
        ),
        (vec![returns("V", object("V", json!([field("a", "W")])), none())], "SCHEMA_UNKNOWN_TYPE", "field a of type V"),
        (vec![returns("V", object("V", none()), none())], "SCHEMA_EMPTY_TYPE", "V"),
        (
            vec![returns("V", object("V", json!([field("a", "Int"), field("a", "Int")])), none())],
            "SCHEMA_DUPLICATE_MEMBER",
            "V",
        ),
        (vec![returns("V", object("V", json!([field("a-b", "Int")])), none())], "SCHEMA_INVALID_NAME", "a-b"),
        (
            vec![
                plain(),
                bound(
                    json!({"name": "v", "table": "customers", "resolver": {"index": 0, "returns":
            {"type": "Int", "objects": object("Customers", json!([field("a", "Int")]))}}}),
                    Some(&customers),
                ),
            ],
            "SCHEMA_DUPLICATE_TYPE",
            "table public.customers and the resolver of field v",
        ),
        (
            vec![returns("Int", object("Operation", json!([field("a", "Int")])), none())],
            "SCHEMA_DUPLICATE_TYPE",
            "Operation",
        ),
        (vec![returns("E", none(), json!([{"name": "E", "values": ["null"]}]))], "SCHEMA_INVALID_ENUM_VALUE", "null"),
        (vec![returns("E", none(), json!([{"name": "E", "values": []}]))], "SCHEMA_EMPTY_TYPE", "E"),
    ] {
        let error = build(&wrong).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn tables_whose_types_collide_are_named_both() {
    let state =
        |name: &str, values: &[&str]| table(name, vec![column("state", labels("state", values), false)], &[], None);
    let (a, b) = (state("a", &["ON"]), state("b", &["OFF"]));
    let error = build(&[bound(json!({"table": "a"}), Some(&a)), bound(json!({"table": "b"}), Some(&b))]).unwrap_err();
    assert!(error.to_string().contains("public.a.state") && error.to_string().contains("public.b.state"), "{error}");
    let event = table("customers_event", vec![column("id", PgType::Int4, true)], &[0], None);
    let fields = [bound(json!({"table": "c"}), Some(&customers())), bound(json!({"table": "e"}), Some(&event))];
    assert_eq!(build(&fields).unwrap_err().code(), "SCHEMA_DUPLICATE_TYPE");
}

#[test]
fn a_column_called_as_a_connective_is_refused() {
    let odd = table("odd", vec![column("AND", PgType::Int4, true)], &[0], None);
    let odd = {
        let mut odd = (*odd).clone();
        odd.columns[0].field = "AND".to_owned();
        std::sync::Arc::new(odd)
    };
    assert_eq!(build(&[bound(json!({"table": "odd"}), Some(&odd))]).unwrap_err().code(), "SCHEMA_DUPLICATE_MEMBER");
}

#[test]
fn a_table_without_a_key_has_no_key_field_and_its_taken_enum_moves_aside() {
    let sdl = build(&[bound(json!({"table": "audit_log"}), Some(&log()))]).unwrap().sdl().to_owned();
    assert!(!sdl.contains("AuditLogKey"), "{sdl}");
    assert!(sdl.contains("operation: OperationEnum\n"), "{sdl}");
}

#[test]
fn a_declaration_with_keys_of_other_rooms_is_read() {
    assert_eq!(fields().len(), 6);
}
