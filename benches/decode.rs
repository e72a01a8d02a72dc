//! The decoder and the JSON writer alone: one row of eight text columns, as `FACTS` measures payloads.

#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/it/decode/wire.rs"]
mod wire;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rowcast::decode::{Decoder, json};
use rowcast::model::{PgType, ReplicaIdentity};
use wire::{Col, begin, insert, relation, table, tables, text, update};

const COLUMNS: [(&str, u32); 8] =
    [("id", 25), ("tenant", 25), ("status", 25), ("name", 25), ("mail", 25), ("city", 25), ("total", 25), ("note", 25)];
const VALUES: [&str; 8] = [
    "184467440737",
    "acme-42",
    "shipped",
    "Ada Lovelace",
    "ada@example.org",
    "London",
    "1234.50",
    "leave at the door, please",
];

fn row() -> [Col<'static>; 8] {
    VALUES.map(text)
}

/// Inside a transaction that never ends, so that the message alone is measured.
fn decoder(watched: bool) -> Decoder {
    let orders = watched.then(|| table(1, "orders", ReplicaIdentity::Full, &COLUMNS));
    let mut decoder = Decoder::new(tables(orders));
    decoder.decode(begin()).unwrap();
    decoder.decode(relation(1, "orders", b'f', &COLUMNS)).unwrap();
    decoder
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    let (inserted, updated) = (insert(1, &row()), update(1, Some((b'O', &row())), &row()));
    for (name, watched, body) in [
        ("insert, 8 columns", true, &inserted),
        ("update with its old image, 8 columns", true, &updated),
        ("insert nobody watches", false, &inserted),
    ] {
        // Ordinals are 32 bits: a long run starts over when they are used up.
        let (mut stream, mut left) = (decoder(watched), u32::MAX);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                left -= 1;
                if left == 0 {
                    (stream, left) = (decoder(watched), u32::MAX);
                }
                stream.decode(black_box(body).clone())
            });
        });
    }
    group.finish();
}

fn write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    group.throughput(Throughput::Elements(1));
    let mut out = Vec::with_capacity(4096);
    for (name, pg_type, values) in [
        ("8 text columns", PgType::Text, &VALUES[..]),
        ("8 numerics", PgType::Numeric, &["1234567890.12345678"; 8]),
        ("8 timestamptz", PgType::TimestampTz, &["2026-11-23 16:16:15.123456+00"; 8]),
        ("8 arrays of 3 texts", PgType::builtin(1009).unwrap(), &["{red,NULL,\"light green\"}"; 8]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                for value in values {
                    let _ = json::write(&pg_type, black_box(value).as_bytes(), &mut out);
                }
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, write);
criterion_main!(benches);
