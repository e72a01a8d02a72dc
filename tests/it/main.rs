//! Rust integration tests: one target, so that the crate is linked once. They need real PostgreSQL binaries, from
//! `ROWCAST_TEST_PG_BIN` or the PATH.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail; helpers of tests are not recognised as tests by the lints"
)]

mod capture;
mod capture_errors;
mod capture_outage;
mod capture_tls;
mod catalog;
mod catalog_types;
mod decode_corpus;
mod decode_harness;
mod decode_json;
mod decode_json_postgres;
mod decode_postgres;
mod decode_server;
mod decode_stream;
mod decode_wire;
mod engine_client;
mod engine_outage;
mod engine_schema;
mod engine_sessions;
mod engine_stream;
mod postgres;
mod predicate_corpus;
mod predicate_oracle;
mod predicate_server;
mod store_grants;
mod store_migrate;
mod store_publish;
mod store_server;
mod store_status;
mod store_watch;
mod store_watch_refuses;
