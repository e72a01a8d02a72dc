//! The SQL text of a question. Names are quoted; values are parameters, and never part of a text.

use super::Question;

/// Decides the images in `$1`, a JSON array, in their order. `json` rather than `jsonb`: a `json` column keeps its text.
pub(super) fn of(question: &Question) -> String {
    let (schema, name) = (quoted(&question.table.schema), quoted(&question.table.name));
    format!(
        "select ({}\n) is true from pg_catalog.json_populate_recordset(null::{schema}.{name}, $1::pg_catalog.json) as {name}",
        question.condition
    )
}

/// The transaction that a question is asked in.
pub(super) const BEGIN: &str = "begin transaction isolation level read committed, read only";
/// Role and settings, in this order, until the transaction ends.
pub(super) const SET: &str = "select pg_catalog.set_config(s.name, s.value, true) \
                              from unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) as s (name, value)";
/// Undoes whatever the condition's functions may have set, for the session as well.
pub(super) const END: &str = "rollback";

/// What holds in a session from its beginning. The policies' texts are qualified, so nobody's objects may get before
/// them. A backend whose client has gone looks up from a statement that is still running.
pub(super) fn setup(timeout_ms: u128) -> String {
    format!(
        "set application_name = 'rowcast policy'; set search_path = ''; set row_security = on; set jit = off; \
         set statement_timeout = {timeout_ms}; set lock_timeout = 0; set default_transaction_read_only = on; \
         set client_min_messages = error; set idle_in_transaction_session_timeout = '10s'; set idle_session_timeout = 0; \
         set client_connection_check_interval = '200ms'"
    )
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_quote_in_a_name_does_not_end_it() {
        assert_eq!(quoted(r#"a"; drop"#), r#""a""; drop""#);
    }
}
