//! Whatever a role or a database has set, rowcast's sessions have the same settings.

use std::collections::BTreeMap;

use rowcast::capture::Capture;
use rowcast::postgres::Conninfo;
use tokio_postgres::Client;

use crate::capture::reader::{Reader, prepared, settings};
use crate::postgres::Server;

/// A setting, a value that would do harm, and the one that our sessions have. A server that does not know a setting is not
/// asked for it.
pub(crate) const HOSTILE: [(&str, &str, &str); 42] = [
    ("statement_timeout", "1ms", "0"),
    ("lock_timeout", "1ms", "0"),
    ("idle_in_transaction_session_timeout", "1ms", "0"),
    ("idle_session_timeout", "1ms", "0"),
    ("transaction_timeout", "100ms", "0"),
    ("client_connection_check_interval", "1ms", "0"),
    ("exit_on_error", "on", "off"),
    ("search_path", "app", "pg_catalog, pg_temp"),
    ("TimeZone", "Asia/Tokyo", "UTC"),
    ("DateStyle", "SQL, DMY", "ISO, MDY"),
    ("IntervalStyle", "iso_8601", "postgres"),
    ("bytea_output", "escape", "hex"),
    ("extra_float_digits", "-15", "1"),
    ("xmlbinary", "hex", "base64"),
    ("xmloption", "document", "content"),
    ("lc_monetary", "C.UTF-8", "C"),
    ("lc_numeric", "C.UTF-8", "C"),
    ("quote_all_identifiers", "on", "off"),
    ("standard_conforming_strings", "off", "on"),
    ("backslash_quote", "off", "safe_encoding"),
    ("array_nulls", "off", "on"),
    ("transform_null_equals", "on", "off"),
    ("timezone_abbreviations", "Australia", "Default"),
    ("client_encoding", "LATIN1", "UTF8"),
    ("role", "nobody", "none"),
    ("row_security", "off", "on"),
    ("default_transaction_isolation", "serializable", "read committed"),
    ("default_transaction_read_only", "on", "off"),
    ("default_transaction_deferrable", "on", "off"),
    ("default_tablespace", "pg_global", ""),
    ("default_table_access_method", "other", "heap"),
    ("check_function_bodies", "off", "on"),
    ("client_min_messages", "error", "notice"),
    ("jit", "on", "off"),
    ("restrict_nonsystem_relation_kind", "view", ""),
    ("session_replication_role", "replica", "origin"),
    ("event_triggers", "off", "on"),
    ("tcp_user_timeout", "1", "0"),
    ("plpgsql.extra_errors", "all", "none"),
    ("gin_fuzzy_search_limit", "1", "0"),
    ("zero_damaged_pages", "on", "off"),
    ("ignore_checksum_failure", "on", "off"),
];

/// Sets all of them for a role or a database; the sessions that begin later have them.
pub(crate) async fn set_hostile(admin: &Client, whom: &str) {
    load_plpgsql(admin).await;
    let known: Vec<String> =
        admin.query("select name from pg_settings", &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    let extras = "create role nobody; create access method other type table handler heap_tableam_handler";
    let _there_already = admin.batch_execute(extras).await;
    for (name, value, _) in HOSTILE {
        if name == "role" || known.iter().any(|known| known == name) {
            admin.batch_execute(&format!("alter {whom} set {name} = '{value}'")).await.unwrap();
        }
    }
}

/// Lists the settings of PL/pgSQL in `pg_settings`.
pub(super) async fn load_plpgsql(client: &Client) {
    client.batch_execute("do $$ begin end $$").await.unwrap();
}

async fn check(server: &Server, user: &str, database: &str) {
    let conninfo = Conninfo::resolve(Some(&server.url_as(user, database))).unwrap();
    let (client, _driver) = conninfo.connect().await.unwrap();
    load_plpgsql(&client).await;
    let query = "select name, setting from pg_settings union all select 'role', current_setting('role')";
    let rows = client.query(query, &[]).await.unwrap();
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let is_wrong = |name: &str, due: &str| found.get(name).is_some_and(|value| value != due);
    let wrong: Vec<_> = HOSTILE.iter().filter(|(name, _, due)| is_wrong(name, due)).map(|(name, ..)| *name).collect();
    assert!(wrong.is_empty(), "not pinned in a session of {user} in {database}: {wrong:?}");
}

#[tokio::test]
async fn every_setting_of_a_role_and_of_a_database_is_pinned_in_every_session() {
    let server = prepared(&[]).await;
    server.sql("create role engine login superuser").await;
    server.sql("create database other").await;
    let admin = server.admin().await;
    set_hostile(&admin, "role engine").await;
    check(&server, "engine", "postgres").await;
    set_hostile(&admin, "database other").await;
    check(&server, "postgres", "other").await;

    let conninfo = Conninfo::resolve(Some(&server.url_as("engine", "postgres"))).unwrap();
    let mut reader = Reader::new(Capture::wal(conninfo, settings(), None).await.unwrap());
    admin.batch_execute("insert into t select generate_series(1, 20000)").await.unwrap();
    reader.until("all rows", |reader| reader.events.len() == 20_000).await;
    assert!(reader.interruptions.is_empty(), "{:?}", reader.interruptions);
}

#[tokio::test]
async fn a_role_that_is_no_superuser_pins_all_but_what_is_a_superusers() {
    let server = prepared(&[]).await;
    server.sql("create role engine login replication; alter role engine set session_replication_role = replica").await;
    let conninfo = Conninfo::resolve(Some(&server.url_as("engine", "postgres"))).unwrap();
    let (client, _driver) = conninfo.connect().await.unwrap();
    let row = client.query_one("select current_setting('search_path'), current_setting('jit')", &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("pg_catalog, pg_temp", "off"));
    Capture::wal(conninfo, settings(), None).await.unwrap().stop().await;
}
