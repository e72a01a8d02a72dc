//! Any text as any type: valid JSON on one line, or refused and nothing written.

#![no_main]

#[allow(dead_code)]
#[path = "../../tests/it/decode/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../../tests/it/decode/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| harness::json(input));
