//! What rowcast promises, against the real thing where there is one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod decode_corpus;
mod decode_harness;
mod decode_json;
mod decode_json_postgres;
mod decode_postgres;
mod decode_stream;
mod decode_wire;
mod postgres;
