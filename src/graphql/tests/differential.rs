//! npm `graphql` as the oracle: it reads our introspection as the schema that we print, and it judges the corpus.
//!
//! `cd tests/clients/graphql-differential && npm ci`, then `cargo test -- --ignored graphql_js`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{corpus, fixture};
use crate::graphql::{GraphSchema, Operation};

#[test]
#[ignore = "needs node, and `npm ci` in tests/clients/graphql-differential"]
fn graphql_js_agrees_about_the_schema_and_about_every_document() {
    let schema = fixture::schema();
    let introspection = node("introspection-query", &Value::Null);
    let question = json!({
        "sdl": schema.sdl(),
        "introspections": introspection.as_array().unwrap().iter().map(|query| answer(&schema, query)).collect::<Vec<_>>(),
        "cases": corpus::cases().iter().map(|case| json!({
            "name": case.name,
            "query": case.query,
            "operationName": case.operation_name,
            "variables": case.variables(),
            "differs": case.differs_from_graphql_js,
            "errors": schema.compile(&case.request()).err(),
        })).collect::<Vec<_>>(),
    });
    let differences = node("compare", &question);
    assert_eq!(differences, json!([]), "{differences:#}");
}

fn answer(schema: &GraphSchema, query: &Value) -> Value {
    match schema.compile(&fixture::request(query.as_str().unwrap(), json!({}))) {
        Ok(Operation::Query(response)) => serde_json::from_slice(&response).unwrap(),
        other => panic!("the introspection query was refused: {other:?}"),
    }
}

fn node(command: &str, input: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/graphql-differential");
    assert!(folder.join("node_modules/graphql").exists(), "run `npm ci` in {}", folder.display());
    let mut child = Command::new("node")
        .arg("differential.mjs")
        .arg(command)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed");
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "node failed: {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}
