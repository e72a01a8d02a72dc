//! Each setting that a session can have of its own is pinned, or has a reason here why it cannot harm.
//!
//! A new version of PostgreSQL with a new setting fails the test until that setting is judged.

use std::collections::BTreeSet;

use crate::capture::pinned::{HOSTILE, load_plpgsql};
use crate::postgres::Server;

/// Why these are not pinned, and their names.
const HARMLESS: [(&str, &str); 13] = [
    (
        "the planner: the same answer, sooner or later",
        "constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction \
         default_statistics_target effective_cache_size enable_async_append enable_bitmapscan \
         enable_distinct_reordering enable_gathermerge enable_group_by_reordering enable_hashagg enable_hashjoin \
         enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material enable_memoize enable_mergejoin \
         enable_nestloop enable_parallel_append enable_parallel_hash enable_partition_pruning \
         enable_partitionwise_aggregate enable_partitionwise_join enable_presorted_aggregate \
         enable_self_join_elimination enable_seqscan enable_sort enable_tidscan from_collapse_limit geqo geqo_effort \
         geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold join_collapse_limit \
         min_parallel_index_scan_size min_parallel_table_scan_size parallel_setup_cost parallel_tuple_cost \
         plan_cache_mode random_page_cost recursive_worktable_factor seq_page_cost",
    ),
    (
        "how much memory, how many workers, how files are read: the same answer, sooner or later",
        "backend_flush_after effective_io_concurrency hash_mem_multiplier io_combine_limit logical_decoding_work_mem \
         maintenance_io_concurrency maintenance_work_mem max_parallel_maintenance_workers max_parallel_workers \
         max_parallel_workers_per_gather parallel_leader_participation temp_buffers temp_tablespaces work_mem",
    ),
    (
        "our sessions have no JIT",
        "jit_above_cost jit_expressions jit_inline_above_cost jit_optimize_above_cost jit_tuple_deforming",
    ),
    (
        "what developers look for: slower, and the same answer",
        "debug_discard_caches debug_logical_replication_streaming debug_parallel_query force_parallel_mode \
         ignore_system_indexes jit_debugging_support jit_dump_bitcode jit_profiling_support post_auth_delay",
    ),
    (
        "only the server's log and statistics differ; client_min_messages is pinned",
        "backtrace_functions compute_query_id debug_pretty_print debug_print_parse debug_print_plan \
         debug_print_rewritten log_connections log_disconnections log_duration log_error_verbosity log_executor_stats \
         log_lock_failures log_lock_waits log_min_duration_sample log_min_duration_statement log_min_error_statement \
         log_min_messages log_parameter_max_length log_parameter_max_length_on_error log_parser_stats \
         log_planner_stats log_replication_commands log_statement log_statement_sample_rate log_statement_stats \
         log_temp_files log_transaction_sample_rate trace_notify trace_sort track_activities track_cost_delay_timing \
         track_counts track_functions track_io_timing track_wal_io_timing update_process_title",
    ),
    ("each statistic is read once in a transaction", "stats_fetch_consistency"),
    (
        "how rows and WAL are stored",
        "commit_delay commit_siblings default_toast_compression gin_pending_list_limit wal_compression \
         wal_consistency_checking wal_init_zero wal_recycle wal_skip_threshold",
    ),
    (
        "rowcast runs no such statement",
        "allow_in_place_tablespaces allow_system_table_mods createrole_self_grant extension_control_path \
         extension_destdir file_copy_method icu_validation_level lo_compat_privileges md5_password_warnings \
         password_encryption scram_iterations vacuum_buffer_usage_limit vacuum_cost_delay vacuum_cost_limit \
         vacuum_cost_page_dirty vacuum_cost_page_hit vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age \
         vacuum_freeze_table_age vacuum_max_eager_freeze_failure_rate vacuum_multixact_failsafe_age \
         vacuum_multixact_freeze_min_age vacuum_multixact_freeze_table_age vacuum_truncate",
    ),
    (
        "each transaction begins with the default_ setting, which is pinned",
        "transaction_deferrable transaction_isolation transaction_read_only",
    ),
    (
        "the administrator's choice: what the application's own functions see, what the server loads, how much it gives",
        "deadlock_timeout default_text_search_config dynamic_library_path lc_messages lc_time local_preload_libraries \
         max_stack_depth output_plugin_libraries plpgsql.check_asserts plpgsql.variable_conflict \
         session_preload_libraries synchronous_commit temp_file_limit",
    ),
    (
        "only a peer that does not answer loses its session",
        "tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval",
    ),
    ("the capture adapts to it, or sets it for its own purpose", "application_name wal_sender_timeout"),
    (
        "a warning, a detail of an error, or an order that no answer relies on",
        "escape_string_warning plpgsql.extra_warnings plpgsql.print_strict_params synchronize_seqscans",
    ),
];

fn harmless() -> impl Iterator<Item = &'static str> {
    HARMLESS.iter().flat_map(|(_, names)| names.split_whitespace())
}

async fn settable(server: &Server) -> BTreeSet<String> {
    let admin = server.admin().await;
    load_plpgsql(&admin).await;
    let query = "select name from pg_settings where context in ('user', 'superuser', 'backend', 'superuser-backend')";
    admin.query(query, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn every_setting_that_a_session_can_have_is_pinned_or_judged_harmless() {
    let settable = settable(&Server::logical()).await;
    let is_judged =
        |name: &String| HOSTILE.iter().any(|(pinned, ..)| pinned == name) || harmless().any(|known| known == name);
    let open: Vec<&String> = settable.iter().filter(|name| !is_judged(name)).collect();
    assert!(open.is_empty(), "pin these in src/postgres/pinned.rs, or say here why not: {open:?}");
    let both: Vec<&str> = harmless().filter(|name| HOSTILE.iter().any(|(pinned, ..)| pinned == name)).collect();
    assert!(both.is_empty(), "pinned and judged harmless: {both:?}");
}
