//! Parses and validates a request's text, and caches the document for later requests with the same text.
//!
//! - Limits are checked before anything is expanded.
//! - Errors use the wording of graphql-js where it is known.
//! - A document that failed is not cached.

use apollo_compiler::ast::Selection;
use apollo_compiler::parser::Parser;
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{ExecutableDocument, Schema};
use lru::LruCache;

use super::error::{Location, RequestError, RequestErrorKind};
use super::limits::{Limits, too_large};
use super::wording::validation_errors;

/// Parses and validates `query`.
pub(super) fn parse(
    schema: &Valid<Schema>,
    limits: &Limits,
    query: &str,
) -> Result<Valid<ExecutableDocument>, Vec<RequestError>> {
    let mut parser = Parser::new().recursion_limit(limits.depth_max).token_limit(limits.tokens_max);
    let document = parser.parse_ast(query, "request").map_err(|failed| vec![syntax_error(&failed.errors)])?;
    limits.check_expansion(&document).map_err(|error| vec![error])?;
    document.to_executable_validate(schema).or_else(|failed| {
        if repeats_its_root_field(&failed.partial, &failed.errors) {
            return Ok(Valid::assume_valid(failed.partial));
        }
        Err(validation_errors(schema, &failed.partial, &failed.errors))
    })
}

/// The fields that the operations of `query` select directly, without regard to a schema.
pub(super) fn root_fields(limits: &Limits, query: &str) -> Vec<String> {
    let mut parser = Parser::new().recursion_limit(limits.depth_max).token_limit(limits.tokens_max);
    let Ok(document) = parser.parse_ast(query, "request") else { return Vec::new() };
    let selected = document.definitions.iter().filter_map(|definition| definition.as_operation_definition());
    let fields = selected.flat_map(|operation| operation.selection_set.iter().filter_map(Selection::as_field));
    fields.map(|field| field.name.to_string()).collect()
}

/// What follows a first syntax error is guesswork, so it stands alone, as in graphql-js.
fn syntax_error(errors: &DiagnosticList) -> RequestError {
    let Some(first) = errors.iter().next() else {
        return RequestError::new(RequestErrorKind::GraphqlParseFailed, "Syntax Error.");
    };
    let json = first.unstable_to_json_compat();
    let location = json.locations.first().map(|at| Location { line: at.line, column: at.column });
    match json.message.strip_prefix("syntax error: ") {
        Some(message) => RequestError::new(
            RequestErrorKind::GraphqlParseFailed,
            format!("Syntax Error: {}.", message.trim_end_matches('.')),
        )
        .at(location),
        // The parser's own limits have no such prefix.
        None => too_large(format!("The document is too large: {}.", json.message)).at(location),
    }
}

/// The validator counts selections where the specification (section 5.2.4.1 "Single Root Field") counts response
/// keys: `{ orders { row { id } } ...More }` is one field when `More` selects `orders` too.
fn repeats_its_root_field(document: &ExecutableDocument, errors: &DiagnosticList) -> bool {
    let only_this = errors.iter().all(|e| e.error.unstable_error_name() == Some("SubscriptionUsesMultipleFields"));
    only_this
        && document.operations.iter().filter(|operation| operation.is_subscription()).all(|operation| {
            let mut keys = operation.root_fields(document).map(|field| field.response_key());
            let first = keys.next();
            keys.all(|key| Some(key) == first)
        })
}

/// What texts came to, within a bound in bytes: the least recently used goes first.
#[derive(Debug)]
pub(super) struct Cache<T> {
    by_text: LruCache<Box<str>, (T, usize)>,
    bytes: usize,
    bytes_max: usize,
}

impl<T: Clone> Cache<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Cache { by_text: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    pub(super) fn get(&mut self, text: &str) -> Option<T> {
        self.by_text.get(text).map(|(kept, _)| kept.clone())
    }

    /// Keeps what costs as many bytes.
    pub(super) fn insert(&mut self, text: &str, kept: &T, bytes: usize) {
        self.bytes += bytes;
        if let Some((_, (_, before))) = self.by_text.push(text.into(), (kept.clone(), bytes)) {
            self.bytes -= before;
        }
        while self.bytes > self.bytes_max {
            let Some((_, (_, bytes))) = self.by_text.pop_lru() else { break };
            self.bytes -= bytes;
        }
    }
}

/// An estimate: a parsed document holds its text twice and about a hundred bytes per token of a few letters.
pub(super) fn weight(query: &str) -> usize {
    1024 + 32 * query.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_what_is_in_use_within_its_bytes() {
        let mut cache = Cache::new(10 * weight("{ a }"));
        let insert = |cache: &mut Cache<u8>, text: &str| cache.insert(text, &0, weight(text));
        for round in 0..1_000 {
            insert(&mut cache, &format!("{{ {} }}", round % 10));
            assert!(cache.bytes <= cache.bytes_max);
            assert_eq!(cache.bytes, cache.by_text.iter().map(|(text, _)| weight(text)).sum::<usize>());
        }
        insert(&mut cache, "{ kept }");
        for round in 0..1_000 {
            insert(&mut cache, &format!("{{ {round} }}"));
            assert!(cache.get("{ kept }").is_some());
        }
        cache.insert("{ huge }", &0, cache.bytes_max + 1);
        assert!(cache.get("{ huge }").is_none() && cache.bytes == 0);
    }
}
