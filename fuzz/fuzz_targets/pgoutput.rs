//! Any bytes as a stream of pgoutput messages: decoded or refused, never a panic.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/it/decode_harness.rs"]
mod decode_harness;
#[allow(dead_code)]
#[path = "../../tests/it/decode_wire.rs"]
mod decode_wire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| decode_harness::pgoutput(input));
