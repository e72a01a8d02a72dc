//! Any bytes as a stream of pgoutput messages: decoded or refused, never a panic.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/it/decode/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../../tests/it/decode/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::pgoutput(input));
