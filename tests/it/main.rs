//! Everything that needs more than one module: real PostgreSQL, corpora that other languages read too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests

mod postgres;
mod predicate_corpus;
mod predicate_oracle;
