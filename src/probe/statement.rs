//! The SQL text of a question. Names are quoted; values are parameters, and never part of a text.

use tokio_postgres::error::SqlState;

use super::Question;
use crate::model::TableName;

/// Decides the images in `$1`, a JSON array, in their order. `json` rather than `jsonb`: a `json` column keeps its
/// text.
///
/// The condition stands after a `where`, as a policy's condition does. There PostgreSQL may treat false and NULL alike
/// when it simplifies the condition, and so avoids errors that it would raise elsewhere. The statement reads no table,
/// so PostgreSQL makes no estimates, which could also raise errors.
///
/// The table itself is not read, so the server would keep the prepared statement while columns change their names, and
/// find the values of the old ones nowhere. The constant of type `regclass` ties it to the table, so that it is parsed again.
///
/// A second parse may give the text another meaning, and planning may already call functions of that meaning. So the
/// text names the [`specimen`], which is dropped once the two were compared: PostgreSQL cannot parse the text again,
/// see [`is_stale`].
pub(super) fn of(question: &Question, form: Form) -> String {
    let name = quoted(&question.table.name);
    let table = qualified(&question.table);
    let relation = format!("'{}'::pg_catalog.regclass", table.replace('\'', "''"));
    let rows = match form {
        Form::Objects => format!("pg_catalog.json_populate_recordset(null::{table}, $1::pg_catalog.json) as {name}"),
        Form::Pairs => pairs(&table, &name, &relation),
    };
    let condition = &question.condition;
    format!(
        "select exists (select where {condition}\n) from {rows} where {relation} is not null \
         and '{SPECIMEN}'::pg_catalog.regproc is not null{}",
        names(question, &table)
    )
}

/// Whether a statement of [`of`] would have to be parsed again. Nothing was planned then, and nothing called.
pub(super) fn is_stale(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|error| *error.code() == SqlState::UNDEFINED_FUNCTION && error.message().contains(SPECIMEN))
}

/// Columns that must be there under these names. They are those of no row, so this is always true.
fn names(question: &Question, table: &str) -> String {
    let columns = question.binding.iter().flat_map(|binding| &binding.columns);
    columns.fold(String::new(), |names, column| names + &format!(" and (null::{table}).{} is null", quoted(column)))
}

/// Is there only while a statement is compared.
const SPECIMEN: &str = "pg_temp.rowcast_specimen";

/// A function whose tree shows what a condition means. It is made, looked at and rolled back, and never run.
pub(super) fn specimen(table: &TableName, condition: &str) -> String {
    let (qualified, name) = (qualified(table), quoted(&table.name));
    format!(
        "create or replace function {SPECIMEN}(pg_catalog.json) returns setof pg_catalog.bool begin atomic \
         select true from pg_catalog.json_populate_recordset(null::{qualified}, $1) as {name} where {condition}\n; end"
    )
}

/// Its tree.
pub(super) const TREE: &str = "select p.prosqlbody::pg_catalog.text from pg_catalog.pg_proc p \
                               where p.pronamespace = pg_catalog.pg_my_temp_schema() and p.proname = 'rowcast_specimen'";
/// For [`specimen`].
pub(super) const WRITE: &str = "begin transaction isolation level read committed, read write";
/// Makes the session's temporary schema for good. It would else be made and rolled back with each specimen, and then
/// PostgreSQL parses every prepared statement again.
pub(super) const ROOM: &str =
    "begin transaction read write; create temporary table rowcast_room (); drop table pg_temp.rowcast_room; commit";
/// Sets the role for a statement that reads tables with row security: PostgreSQL parses it again for each role.
pub(super) const AS: &str = "select pg_catalog.set_config('role', $1, true)";

/// What the elements of `$1` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A row each.
    Objects,
    /// Arrays: a row, and for some the texts of what populating would not read as it is: they are put into the row that
    /// is populated, by way of its literal. That looks into the catalog for each such row, so it is for few.
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
/// Undoes all settings that the condition's functions may have changed, also those of the session, and begins the next
/// transaction with the same properties.
pub(super) const NEXT: &str = "rollback and chain";
/// The last one.
pub(super) const END: &str = "rollback";

/// What holds in a session from its beginning. A backend whose client has gone looks up from a statement that is still
/// running.
///
/// Only `pg_catalog` is searched, and temporary relations last: what has no schema in a text is PostgreSQL's own. The
/// functions that policies call see the same unless they set a `search_path` of their own.
pub(super) fn setup(timeout_ms: u128) -> String {
    format!(
        "set application_name = 'rowcast policy'; \
         set statement_timeout = {timeout_ms}; set default_transaction_read_only = on; \
         set client_min_messages = error; set idle_in_transaction_session_timeout = '10s'; \
         set client_connection_check_interval = '200ms'"
    )
}

pub(super) fn qualified(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
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
