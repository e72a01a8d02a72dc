//! What a corpus cannot say: sharing, caching, threads, hostile documents.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixture::{fields, messages, request, schema};
use crate::graphql::{
    CompiledSubscription, GraphSchema, Limits, Operation, Options, Request, RequestError, RequestErrorKind,
};

fn compiled(schema: &GraphSchema, query: &str, variables: Value) -> CompiledSubscription {
    match schema.compile(&request(query, variables)) {
        Ok(Operation::Subscription(compiled)) => *compiled,
        other => panic!("{other:?}"),
    }
}

fn refused(schema: &GraphSchema, query: &str) -> Vec<RequestError> {
    schema.compile(&request(query, json!({}))).unwrap_err()
}

#[test]
fn equal_selections_share_one_plan_however_they_are_written() {
    let schema = schema();
    let plain = compiled(&schema, "subscription { orders { cursor row { id total } } }", json!({}));
    for (query, variables) in [
        ("subscription S { orders { ...A } } fragment A on OrdersEvent { cursor row { id } row { total } }", json!({})),
        (
            "subscription { orders(where: {id: {eq: 1}}) { cursor ... on OrdersEvent { row { id total id } } } }",
            json!({}),
        ),
        (
            "subscription ($x: Boolean!) { orders { cursor operation @skip(if: $x) row { id total } } }",
            json!({"x": true}),
        ),
    ] {
        assert!(Arc::ptr_eq(&plain.plan, &compiled(&schema, query, variables).plan), "{query}");
    }
    for query in [
        "subscription { orders { row { id total } cursor } }",
        "subscription { o: orders { cursor row { id total } } }",
        "subscription { orders { cursor row { i: id total } } }",
    ] {
        assert!(!Arc::ptr_eq(&plain.plan, &compiled(&schema, query, json!({})).plan), "{query}");
    }
}

#[test]
fn the_plan_tells_which_columns_it_reads() {
    let schema = schema();
    let compiled = compiled(&schema, "subscription { orders { key { id } row { note __typename total } } }", json!({}));
    assert_eq!(compiled.plan.columns().collect::<Vec<_>>(), [0, 7, 3]);
}

#[test]
fn one_text_compiled_by_many_threads_gives_one_plan() {
    let schema = schema();
    let query = "subscription ($id: BigInt) { orders(where: {id: {eq: $id}}) { row { id } } }";
    let plans: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|id| {
                let schema = &schema;
                scope.spawn(move || {
                    let all = (0..50).map(|_| compiled(schema, query, json!({"id": id})));
                    all.map(|one| (one.plan, one.arguments.filter)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .enumerate()
            .flat_map(|(id, thread)| {
                let all = thread.join().unwrap();
                assert!(all.iter().all(|(_, filter)| *filter == json!({"id": {"eq": id.to_string()}})));
                all
            })
            .collect()
    });
    assert!(plans.iter().all(|(plan, _)| Arc::ptr_eq(plan, &plans[0].0)));
}

/// As long as the worst document may take in a debug build on a busy machine; a bomb that explodes never ends.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn hostile_documents_are_refused_in_time() {
    let schema = schema();
    let mut doubling = "{ __schema { queryType { ...F0 } } }".to_owned();
    for level in 0..25 {
        let next = level + 1;
        write!(doubling, " fragment F{level} on __Type {{ a: ofType {{ ...F{next} }} b: ofType {{ ...F{next} }} }}")
            .unwrap();
    }
    doubling.push_str(" fragment F25 on __Type { name }");
    let deep = |n: usize, open: &str, close: &str| format!("{}{}", open.repeat(n), close.repeat(n));
    let wide = |n: usize, field: &str| (0..n).map(|i| format!("a{i}: {field}")).collect::<Vec<_>>().join(" ");
    let hostile = [
        doubling,
        "{".repeat(30_000),
        deep(5_000, "{ a ", "}"),
        format!("subscription {{ orders(where: {}) {{ cursor }} }}", deep(3_000, "{NOT: ", "}")),
        format!("subscription {{ orders(where: {}) {{ cursor }} }}", deep(3_000, "[", "]")),
        format!("query ($x: {}Int{}) {{ rowcast {{ version }} }}", "[".repeat(3_000), "]".repeat(3_000)),
        format!("subscription {{ orders {{ {} }} }}", wide(3_000, "cursor")),
        format!("{{ {} }}", wide(100, "__schema { types { fields { name args { name } } } }")),
        format!("subscription {{ orders {{ cursor }} }} {}", " ".repeat(70_000)),
        format!("subscription {{ orders {{ {} }} }}", "cursor @skip(if: true) ".repeat(2_500)),
        (0..3_000).map(|i| format!("query Q{i} {{ __typename }}")).collect::<Vec<_>>().join(" "),
        format!("{{ __type(name: \"Orders\") {{ {} }} }}", "fields { type { ".repeat(20) + "name" + &"} } ".repeat(20)),
        "\u{0}".repeat(10_000),
        "\"\"\"".repeat(9_999),
        "#".repeat(60_000),
    ];
    for query in hostile {
        let started = Instant::now();
        let errors = refused(&schema, &query);
        assert!(!errors.is_empty() && errors.len() <= 50);
        assert!(errors.iter().all(|error| error.message().len() < 1_000), "{:.100}", messages(&errors)[0]);
        assert!(started.elapsed() < PATIENCE, "{:.100} took {:?}", query, started.elapsed());
    }
}

#[test]
fn a_variable_that_is_named_a_thousand_times_is_not_built_a_thousand_times() {
    let schema = schema();
    let uses = vec!["$v"; 3_000].join(" ");
    let query = format!("subscription($v: OrdersWhere!) {{ orders(where: {{ OR: [{uses}] }}) {{ cursor }} }}");
    let variables = json!({ "v": { "note": { "in": vec!["x"; 2_000] } } });
    let started = Instant::now();
    let request = Request { query, variables: variables.as_object().cloned(), ..Request::default() };
    let errors = schema.compile(&request).unwrap_err();
    assert_eq!(errors[0].code(), "QUERY_TOO_LARGE");
    assert_eq!(errors[0].message(), "The argument \"where\" takes more than 524288 bytes with its variables put in.");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn values_that_are_larger_parsed_than_sent_are_refused() {
    let schema = schema();
    let bloated = json!({ "junk": vec![json!({ "a": 0 }); 5_000] });
    for (variables, extensions) in [(Some(&bloated), None), (None, Some(&bloated))] {
        let request = Request {
            query: "subscription { orders { cursor } }".to_owned(),
            variables: variables.and_then(|junk| junk.as_object().cloned()),
            extensions: extensions.and_then(|junk| junk.as_object().cloned()),
            ..Request::default()
        };
        assert_eq!(schema.compile(&request).unwrap_err()[0].code(), "QUERY_TOO_LARGE");
    }
}

#[test]
fn the_widest_document_within_the_limits_compiles_in_time() {
    let fields = (0..1_900).map(|i| format!("a{i}: note")).collect::<Vec<_>>().join(" ");
    let limits = Limits { tokens_max: 20_000, ..Limits::default() };
    let wide = GraphSchema::build(&[], &envelopes(), Options { limits, ..Options::default() }).unwrap();
    let started = Instant::now();
    compiled(&wide, &format!("subscription {{ orders {{ row {{ {fields} }} }} }}"), json!({}));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

fn envelopes() -> Vec<crate::graphql::BoundField> {
    let mut fields = fields();
    fields.retain(|field| field.declaration.resolver.is_none());
    fields
}

#[test]
fn deep_filters_within_the_limit_are_read() {
    let schema = schema();
    let query = format!("subscription {{ orders(where: {}null{}) {{ cursor }} }}", "{NOT: ".repeat(15), "}".repeat(15));
    let mut filter = compiled(&schema, &query, json!({})).arguments.filter;
    for _ in 0..15 {
        filter = filter["NOT"].take();
    }
    assert_eq!(filter, Value::Null);
}

#[test]
fn introspection_says_that_no_input_object_is_one_of_its_fields() {
    let query = "query Q { filter: __type(name: \"OrdersWhere\") { ...T } row: __type(name: \"Orders\") { name ...T } } \
                 fragment T on __Type { isOneOf one: isOneOf kind ... on __Type { isOneOf } }";
    let Ok(Operation::Query(answer)) = schema().compile(&request(query, json!({}))) else { panic!("refused") };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let expected = json!({ "data": {
        "filter": { "isOneOf": false, "one": false, "kind": "INPUT_OBJECT" },
        "row": { "name": "Orders", "isOneOf": null, "one": null, "kind": "OBJECT" },
    } });
    assert_eq!(answer, expected);
}

#[test]
fn switched_off_introspection_leaves_queries_and_typename() {
    let options = Options { introspection: false, ..Options::default() };
    let schema = GraphSchema::build(&[super::fixture::customers()], &fields(), options).unwrap();
    for (query, field) in [
        ("{ __schema { types { name } } }", "__schema"),
        ("query { __typename ...A } fragment A on Query { t: __type(name: \"Orders\") { name } }", "__type"),
    ] {
        let errors = refused(&schema, query);
        assert_eq!(errors[0].kind(), RequestErrorKind::IntrospectionDisabled);
        let message = "GraphQL introspection has been disabled, but the requested query contained the field";
        assert_eq!(errors[0].message(), format!("{message} \"{field}\"."));
        assert_eq!(errors[0].locations().len(), 1);
    }
    assert!(matches!(
        schema.compile(&request("{ __typename rowcast { version } }", json!({}))),
        Ok(Operation::Query(_))
    ));
}

#[test]
fn a_client_that_sends_a_hash_is_told_to_send_the_text() {
    let body = r#"{"query":"","extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#;
    let persisted: Request = serde_json::from_str(body).unwrap();
    let errors = schema().compile(&persisted).unwrap_err();
    assert_eq!(
        (errors[0].code(), errors[0].message()),
        ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
    );
}

#[test]
fn a_request_is_read_with_nulls_in_place_of_what_is_missing() {
    let body = r#"{"query":"{ __typename }","operationName":null,"variables":null,"extensions":null,"id":7}"#;
    let request: Request = serde_json::from_str(body).unwrap();
    assert!(
        matches!(schema().compile(&request), Ok(Operation::Query(response)) if response == r#"{"data":{"__typename":"Query"}}"#)
    );
}

/// Half of what a thread of tokio has, in a build whose frames are several times those of a release.
const STACK: usize = 1024 * 1024;

#[test]
fn the_deepest_documents_within_the_limit_need_little_stack() {
    let nested = |open: &str, middle: &str, close: &str| format!("{}{middle}{}", open.repeat(55), close.repeat(55));
    let chain = |n: usize| format!("fragment F{n} on Orders {{ ...F{} }}", n + 1);
    let chain = (0..50).map(chain).collect::<Vec<_>>().join(" ");
    let deepest = [
        format!("subscription {{ orders(where: {}) {{ cursor }} }}", nested("{NOT: ", "{}", "}")),
        format!("subscription {{ orders(where: {{details: {{contains: {}}}}}) {{ cursor }} }}", nested("[", "1", "]")),
        format!("{{ __type(name: \"Orders\") {{ name {} }} }}", nested("ofType { ", "name", " }")),
        format!("subscription {{ orderViews {{ lines {{ {} }} }} }}", nested("... { ", "label", " }")),
        format!("query ($x: {}) {{ rowcast {{ version @skip(if: $x) }} }}", nested("[", "Int", "]")),
        format!("subscription {{ orders {{ row {{ ...F0 }} }} }} {chain} fragment F50 on Orders {{ id }}"),
    ];
    let compile = move || {
        let schema = schema();
        deepest.map(|query| schema.compile(&request(&query, json!({}))).map_err(|errors| errors[0].code()))
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(compile).unwrap();
    let codes = thread.join().unwrap().map(Result::err);
    let invalid = Some("GRAPHQL_VALIDATION_FAILED");
    assert_eq!(codes, [None, None, None, None, invalid, None]);
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "$",
    "=",
    "@",
    "...",
    "query",
    "subscription",
    "mutation",
    "fragment",
    "on",
    "F",
    "G",
    "a",
    "x",
    "orders",
    "orderViews",
    "alerts",
    "row",
    "key",
    "lines",
    "order",
    "id",
    "cursor",
    "where",
    "operations",
    "NOT",
    "AND",
    "eq",
    "skip",
    "include",
    "defer",
    "if",
    "true",
    "null",
    "1",
    "-1.5e9",
    "\"s\"",
    "\"\"\"b\"\"\"",
    "INSERT",
    "Orders",
    "OrdersEvent",
    "OrderView",
    "Subscription",
    "Query",
    "Boolean",
    "OrdersWhere",
    "__typename",
    "__schema",
    "__type",
    "types",
    "name",
    "ofType",
    "type",
    "enum",
    "&",
    "|",
    "é",
    "#",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_soup_of_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        thread_local!(static SCHEMA: GraphSchema = schema());
        let query = words.join(" ");
        SCHEMA.with(|schema| {
            let refused = schema.compile(&request(&query, json!({"x": true}))).err();
            prop_assert!(refused.is_none_or(|errors| !errors.is_empty() && errors.len() <= 50));
            Ok(())
        })?;
    }

    #[test]
    fn no_value_of_a_variable_makes_it_panic(text in "[-+.0-9eEa-f]{0,24}", number in any::<f64>(), integer in any::<i64>()) {
        thread_local!(static SCHEMA: GraphSchema = schema());
        let query = "subscription ($d: Decimal, $b: BigInt, $i: Int, $u: UUID, $w: OrdersWhere) { \
                     orders(where: {total: {eq: $d}, id: {eq: $b}, quantity: {eq: $i}, reference: {eq: $u}, NOT: $w}) { cursor } }";
        for value in [json!(text), json!(number), json!(integer), json!([text]), json!({"total": {"eq": text}})] {
            for name in ["d", "b", "i", "u", "w"] {
                let _ = SCHEMA.with(|schema| schema.compile(&request(query, json!({name: value}))));
            }
        }
    }
}
