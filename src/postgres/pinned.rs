//! The settings that every session of rowcast pins: those that a server, a database or a role can set and that would
//! change an answer or end a session.
//!
//! - [`STARTUP`] goes into the startup message, so it holds before the first statement. Every version since 14 knows all of
//!   it, and every role may set it.
//! - [`LATER`] runs first in each session: what only some versions know, or only a superuser may set.
//! - `search_path` is not in the startup message of an ordinary session, so that `reset_val` of `pg_settings` still is the
//!   configured path, on which `rowcast.watch` looks up the names of tables. No statement runs with it.
//!
//! Left alone on purpose: what only costs time (planner, memory, parallel workers); `synchronous_commit`, `lc_messages` and
//! `default_text_search_config`, which are the administrator's choice; `wal_sender_timeout`, to which the capture adapts.
//! `tests/it/capture/judged.rs` gives the reason for each setting that is not pinned.

use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::conninfo::Conninfo;

/// Of every session, replication sessions included.
pub(crate) const STARTUP: [(&str, &str); 35] = [
    // A pooler that drops startup parameters drops this one as well.
    ("rowcast.pinned", "on"),
    // What would end a session or a statement.
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("client_connection_check_interval", "0"),
    ("tcp_user_timeout", "0"),
    ("exit_on_error", "off"),
    // How values are printed.
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
    ("xmlbinary", "base64"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("quote_all_identifiers", "off"),
    // How statements and values are read.
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("array_nulls", "on"),
    ("transform_null_equals", "off"),
    ("xmloption", "content"),
    ("timezone_abbreviations", "Default"),
    // An error that PL/pgSQL's own checks raise would end a function of the migration.
    ("plpgsql.extra_errors", "none"),
    // The role that asks, and what it sees.
    ("role", "none"),
    ("row_security", "on"),
    // With a limit a GIN index returns a random part of the rows.
    ("gin_fuzzy_search_limit", "0"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    // How objects are made.
    ("default_tablespace", ""),
    ("default_table_access_method", "heap"),
    ("check_function_bodies", "on"),
    // Notices are read; compiling takes longer than any statement of ours.
    ("client_min_messages", "notice"),
    ("jit", "off"),
];

/// The last row says whether the startup message has arrived. It begins as no command of the replication protocol does, and
/// what runs before `search_path` is set is qualified. A role that may not set what is a superuser's keeps what it has.
pub(crate) const LATER: &str = "
    select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
    select pg_catalog.set_config(p.name, p.value, false)
    from (values ('transaction_timeout', '0'), ('restrict_nonsystem_relation_kind', ''), ('session_replication_role', 'origin'),
                 ('event_triggers', 'on'), ('zero_damaged_pages', 'off'), ('ignore_checksum_failure', 'off')) p (name, value)
    join pg_catalog.pg_settings s on s.name = p.name and s.setting <> p.value
    where s.context = 'user' or (select r.rolsuper from pg_catalog.pg_roles r where r.rolname = current_user);
    select pg_catalog.current_setting('rowcast.pinned', true)";

/// The value of `options` for an ordinary session: what the user gives, and behind it what is pinned.
pub(crate) fn options(info: &Conninfo) -> String {
    let pinned = STARTUP.iter().map(|(name, value)| format!("-c {name}={}", escaped(value)));
    info.options.iter().cloned().chain(pinned).collect::<Vec<_>>().join(" ")
}

/// PostgreSQL splits `options` at spaces.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace(' ', "\\ ")
}

/// Pins the rest; whether the startup message has arrived.
pub(crate) async fn pin(client: &Client) -> Result<bool, Error> {
    let answers = client.simple_query(LATER).await?;
    let last = answers.iter().rev().find_map(|answer| match answer {
        SimpleQueryMessage::Row(row) => Some(row.get(0) == Some("on")),
        _ => None,
    });
    Ok(last.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::{STARTUP, escaped, options};
    use crate::postgres::conninfo::Conninfo;

    #[test]
    fn what_is_pinned_goes_behind_what_the_user_gives() {
        let info = Conninfo::resolve(Some("postgresql://u@h/d?options=-c%20search_path%3Dapp")).unwrap();
        let options = options(&info);
        assert!(options.starts_with("-c search_path=app -c rowcast.pinned=on -c statement_timeout=0 "), "{options}");
        assert!(options.contains("-c default_transaction_isolation=read\\ committed "), "{options}");
        assert!(STARTUP.iter().all(|(name, _)| *name != "search_path"));
        assert_eq!(escaped("a\\ b"), "a\\\\\\ b");
    }
}
