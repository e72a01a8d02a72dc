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
mod postgres;
