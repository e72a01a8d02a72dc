//! Any text as a document, and any JSON behind its first line as the variables: compiled or refused with a code, in time.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rowcast::graphql::{BoundField, GraphSchema, Options, Request};

/// Far more than the slowest request needs; the fuzzer's own work is in it.
const PATIENCE: Duration = Duration::from_secs(2);

static SCHEMA: LazyLock<GraphSchema> = LazyLock::new(|| {
    let field = serde_json::json!({ "name": "alerts", "topic": "alerts" });
    let declaration = serde_json::from_value(field).unwrap();
    GraphSchema::build(&[], &[BoundField { declaration, table: None }], Options::default()).unwrap()
});

libfuzzer_sys::fuzz_target!(|input: &str| {
    let (variables, query) = input.split_once('\n').unwrap_or(("", input));
    let request = Request { query: query.to_owned(), variables: serde_json::from_str(variables).ok(), ..Request::default() };
    let began = Instant::now();
    if let Err(errors) = SCHEMA.compile(&request) {
        assert!(!errors.is_empty() && errors.len() <= 50 && errors.iter().all(|error| !error.message().is_empty()));
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
});
