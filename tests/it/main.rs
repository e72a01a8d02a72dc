//! Rust integration tests: one target, so that the crate is linked once. They need real PostgreSQL binaries, from
//! `ROWCAST_TEST_PG_BIN` or the PATH.

mod capture;
mod capture_errors;
mod capture_outage;
mod capture_tls;
mod postgres;
