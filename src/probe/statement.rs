//! The SQL text of a question. Names are quoted; values are parameters, and never part of a text.

use super::Question;

/// Decides the images in `$1`, a JSON array, in their order. `json` rather than `jsonb`: a `json` column keeps its text.
///
/// The condition stands where a policy's stands, after a `where`: there PostgreSQL simplifies it as one that need not tell
/// false from NULL, and so comes past what would raise elsewhere. As no table is read there, nothing is estimated, which
/// could raise as well.
///
/// The table itself is not read, so the server would keep the prepared statement while columns change their names, and
/// find the values of the old ones nowhere. The constant of type `regclass` ties it to the table: it is parsed anew.
pub(super) fn of(question: &Question, form: Form) -> String {
    let name = quoted(&question.table.name);
    let table = format!("{}.{name}", quoted(&question.table.schema));
    let relation = format!("'{}'::pg_catalog.regclass", table.replace('\'', "''"));
    let rows = match form {
        Form::Objects => format!("pg_catalog.json_populate_recordset(null::{table}, $1::pg_catalog.json) as {name}"),
        Form::Pairs => pairs(&table, &name, &relation),
    };
    format!("select exists (select where {}\n) from {rows} where {relation} is not null", question.condition)
}

/// What the elements of `$1` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A row each.
    Objects,
    /// Arrays: a row, and for some the texts of what populating would not read as it is: they are put into the row that is
    /// populated, by way of its literal. That looks into the catalog for each such row, so it is for few.
    Pairs,
}

fn pairs(table: &str, name: &str, relation: &str) -> String {
    format!(
        r#"pg_catalog.json_array_elements($1::pg_catalog.json) as "rowcast pair" (e)
        cross join lateral pg_catalog.json_populate_record(case when e -> 1 is not null then (
            select '(' || pg_catalog.string_agg(coalesce('"' || pg_catalog.replace(pg_catalog.replace(
                e -> 1 ->> a.attname::pg_catalog.text, '\', '\\'), '"', '\"') || '"', ''), ',' order by a.attnum) || ')'
            from pg_catalog.pg_attribute a
            where a.attrelid = {relation} and a.attnum > 0 and not a.attisdropped)::{table} end, e -> 0) as {name}"#
    )
}

/// The first transaction of a trip; each question has one to itself.
pub(super) const BEGIN: &str = "begin transaction isolation level read committed, read only";
/// Role and settings, in this order, until the transaction ends.
pub(super) const SET: &str = "select pg_catalog.set_config(s.name, s.value, true) \
                              from unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) as s (name, value)";
/// Undoes whatever the condition's functions may have set, for the session as well; and begins again, alike.
pub(super) const NEXT: &str = "rollback and chain";
/// The last one.
pub(super) const END: &str = "rollback";

/// What holds in a session from its beginning. A backend whose client has gone looks up from a statement that is still
/// running.
///
/// The policies' texts are qualified, but the functions that they call may count on the database's own `search_path`.
/// Schemas in which everybody may create are taken out of it: as the texts are parsed anew, somebody's operator on his
/// own types could get before PostgreSQL's.
pub(super) fn setup(timeout_ms: u128) -> String {
    format!(
        "set application_name = 'rowcast policy'; reset search_path; \
         select pg_catalog.set_config('search_path', coalesce((
             select pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ' order by n)
             from pg_catalog.unnest(pg_catalog.current_schemas(false)) with ordinality as path (s, n)
             where not pg_catalog.has_schema_privilege('public', s, 'CREATE')), ''), false); \
         set statement_timeout = {timeout_ms}; set default_transaction_read_only = on; \
         set client_min_messages = error; set idle_in_transaction_session_timeout = '10s'; \
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
