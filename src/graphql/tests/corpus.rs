//! `tests/corpus/graphql`: documents with the plan, the response or the errors that they must give.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::fixture;
use super::rendering::render;
use crate::graphql::{Operation, Request};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Corpus {
    pub case: Vec<Case>,
}

/// A case; exactly one of `plan`, `response` and `errors` is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub name: String,
    pub query: String,
    #[serde(default)]
    pub operation_name: Option<String>,
    /// JSON.
    #[serde(default)]
    pub variables: Option<String>,
    #[serde(default)]
    plan: Option<String>,
    /// JSON: `where` and `operations` as compiled.
    #[serde(default)]
    arguments: Option<String>,
    /// JSON: the variables as resolvers get them.
    #[serde(default)]
    coerced: Option<String>,
    /// JSON.
    #[serde(default)]
    response: Option<String>,
    #[serde(default)]
    errors: Option<Vec<ExpectedError>>,
    /// Why graphql-js, which lacks our limits or judges otherwise, is not asked for its opinion.
    #[serde(default)]
    pub differs_from_graphql_js: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    code: String,
    message: String,
    #[serde(default)]
    at: Option<[usize; 2]>,
}

impl Case {
    pub(super) fn variables(&self) -> Option<Map<String, Value>> {
        self.variables.as_deref().map(|text| serde_json::from_str(text).unwrap())
    }

    pub(super) fn request(&self) -> Request {
        Request {
            query: self.query.clone(),
            operation_name: self.operation_name.clone(),
            variables: self.variables(),
            extensions: None,
        }
    }
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/graphql")
}

pub(super) fn cases() -> Vec<Case> {
    ["valid", "invalid"]
        .into_iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(root().join(format!("{file}.toml"))).unwrap();
            toml::from_str::<Corpus>(&text).unwrap().case
        })
        .collect()
}

fn parsed(text: Option<&String>) -> Option<Value> {
    text.map(|text| serde_json::from_str(text).unwrap())
}

#[test]
fn every_document_of_the_corpus_gives_what_the_corpus_says() {
    let schema = fixture::schema();
    let mut failures = Vec::new();
    for case in cases() {
        // The second time comes from the cache and must not differ.
        for attempt in ["first", "second"] {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&schema, &case)));
            let failure = outcome.unwrap_or_else(|_| Err("panicked".to_owned())).err();
            failures.extend(failure.map(|failure| format!("{} ({attempt} time): {failure}", case.name)));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

fn check(schema: &crate::graphql::GraphSchema, case: &Case) -> Result<(), String> {
    let equal = |what: &str, found: Value, expected: Option<Value>| match expected {
        Some(expected) if found != expected => Err(format!("{what}\n  found    {found}\n  expected {expected}")),
        _ => Ok(()),
    };
    match schema.compile(&case.request()) {
        Ok(Operation::Query(response)) => {
            let found = serde_json::from_slice(&response).unwrap();
            equal("response", found, Some(parsed(case.response.as_ref()).unwrap_or_default()))
        }
        Ok(Operation::Subscription(compiled)) => {
            let operations: Option<Vec<_>> =
                compiled.arguments.operations.map(|all| all.into_iter().map(crate::model::Operation::name).collect());
            let arguments = json!({"where": compiled.arguments.filter, "operations": operations});
            equal("plan", Value::from(render(&compiled.plan)), Some(json!(case.plan)))?;
            equal("arguments", arguments, parsed(case.arguments.as_ref()))?;
            equal("coerced", Value::Object(compiled.variables), parsed(case.coerced.as_ref()))
        }
        Ok(Operation::Entities(_)) => Err("the corpus knows no federated graph".to_owned()),
        Err(errors) => {
            let found: Vec<_> = errors
                .iter()
                .map(|error| ExpectedError {
                    code: error.code().to_owned(),
                    message: error.message().to_owned(),
                    at: error.locations().first().map(|at| [at.line, at.column]),
                })
                .collect();
            if case.errors.as_ref() == Some(&found) {
                return Ok(());
            }
            Err(format!("errors\n  found    {found:?}\n  expected {:?}", case.errors))
        }
    }
}
