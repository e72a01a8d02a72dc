//! Whatever a role or a database has set, rowcast's sessions have the same settings.

use std::collections::BTreeMap;

use rowcast::capture::{Capture, Conninfo};
use tokio_postgres::Client;

use crate::capture::reader::{Reader, prepared, settings};
use crate::postgres::Server;

/// A setting, a value that would do harm, and the one that our sessions have. A server that does not know a setting is not
/// asked for it.
pub(crate) const HOSTILE: [(&str, &str, &str); 40] = [
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
    ("lc_time", "C.UTF-8", "C"),
    ("gin_fuzzy_search_limit", "1", "0"),
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
];

/// Settings that a role or a database may have in a session of rowcast, and why. A name that ends in `*` stands for all that
/// begin so.
const HARMLESS: [(&str, &[&str]); 9] = [
    (
        "planning and memory: they cost time alone",
        &[
            "enable_*",
            "cpu_*",
            "geqo*",
            "jit_*",
            "parallel_*",
            "max_parallel_*",
            "min_parallel_*",
            "random_page_cost",
            "seq_page_cost",
            "effective_*",
            "from_collapse_limit",
            "join_collapse_limit",
            "cursor_tuple_fraction",
            "constraint_exclusion",
            "plan_cache_mode",
            "default_statistics_target",
            "recursive_worktable_factor",
            "work_mem",
            "hash_mem_multiplier",
            "maintenance_*",
            "temp_buffers",
            "logical_decoding_work_mem",
            "force_parallel_mode",
            "debug_parallel_query",
            "compute_query_id",
            "backend_flush_after",
            "io_*",
            "file_copy_method",
        ],
    ),
    (
        "what only VACUUM, CREATE ROLE and CREATE COLLATION read",
        &[
            "vacuum_*",
            "password_encryption",
            "scram_iterations",
            "md5_password_warnings",
            "createrole_self_grant",
            "icu_validation_level",
            "track_cost_delay_timing",
        ],
    ),
    (
        "how tables are stored, which are the user's",
        &["default_toast_compression", "temp_tablespaces", "gin_pending_list_limit", "allow_in_place_tablespaces"],
    ),
    (
        "when commits are written, which is the administrator's choice",
        &[
            "synchronous_commit",
            "commit_*",
            "wal_compression",
            "wal_init_zero",
            "wal_recycle",
            "wal_skip_threshold",
            "wal_consistency_checking",
        ],
    ),
    (
        "statistics, the log and its language; clients get none of it",
        &[
            "track_*",
            "log_*",
            "lc_messages",
            "debug_p*",
            "debug_logical_replication_streaming",
            "trace_*",
            "stats_fetch_consistency",
            "update_process_title",
            "escape_string_warning",
            "backtrace_functions",
        ],
    ),
    (
        "what the administrator loads, limits or repairs",
        &[
            "local_preload_libraries",
            "session_preload_libraries",
            "dynamic_library_path",
            "extension_*",
            "output_plugin_libraries",
            "max_stack_depth",
            "temp_file_limit",
            "deadlock_timeout",
            "allow_system_table_mods",
            "zero_damaged_pages",
            "ignore_checksum_failure",
            "ignore_system_indexes",
            "lo_compat_privileges",
            "debug_discard_caches",
            "post_auth_delay",
        ],
    ),
    ("how a policy searches text: as in the database's own sessions", &["default_text_search_config"]),
    ("the order of rows that nobody orders", &["synchronize_seqscans"]),
    (
        "the capture adapts to it, rowcast sets it, or it is that of one transaction",
        &[
            "wal_sender_timeout",
            "tcp_keepalives_*",
            "application_name",
            "transaction_isolation",
            "transaction_read_only",
            "transaction_deferrable",
        ],
    ),
];

fn is_harmless(name: &str) -> bool {
    HARMLESS.iter().flat_map(|(_, names)| *names).any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *known,
    })
}

/// A version of PostgreSQL with a new setting fails here until somebody has judged it.
#[tokio::test]
async fn every_setting_that_a_role_or_a_database_can_have_is_pinned_or_known_to_be_harmless() {
    let server = prepared(&[]).await;
    let settable = "select name from pg_settings where context in ('user', 'superuser', 'backend', 'superuser-backend')
                    and name not like '%.%'";
    let rows = server.admin().await.query(settable, &[]).await.unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let is_pinned = |name: &str| HOSTILE.iter().any(|(pinned, ..)| *pinned == name);
    let unknown: Vec<_> = names.iter().filter(|name| is_pinned(name) == is_harmless(name)).collect();
    assert!(unknown.is_empty(), "neither pinned nor harmless, or both: {unknown:?}");
    assert!(names.len() > 150, "{}", names.len());
}

/// Sets all of them for a role or a database; the sessions that begin later have them.
pub(crate) async fn set_hostile(admin: &Client, whom: &str) {
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

async fn check(server: &Server, user: &str, database: &str) {
    let conninfo = Conninfo::resolve(Some(&server.url_as(user, database))).unwrap();
    let (client, _driver) = conninfo.connect().await.unwrap();
    let query = "select name, setting from pg_settings union all select 'role', current_setting('role')";
    let rows = client.query(query, &[]).await.unwrap();
    let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (name, _, due) in HOSTILE.iter().filter(|(name, ..)| found.contains_key(*name)) {
        assert_eq!(found[*name], *due, "{name} in a session of {user} in {database}");
    }
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
