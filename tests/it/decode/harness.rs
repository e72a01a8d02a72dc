//! What must hold of any bytes. The fuzz targets run it on what they invent, the corpus test on what they found.

use super::wire::{table, tables};
use bytes::Bytes;
use rowcast::decode::{Decoded, Decoder, json};
use rowcast::model::{ArrayType, Change, CompositeType, EnumType, Event, PgType, ReplicaIdentity, RowChange, Tuple};
use serde::de::IgnoredAny;
use std::sync::Arc;

/// Any messages, each behind its length in two bytes, through one decoder that watches the tables 1 and 2.
pub(crate) fn pgoutput(mut input: &[u8]) {
    let columns = [("id", 20), ("t", 25), ("n", 1700), ("at", 1184), ("a", 1009), ("j", 3802), ("f", 701), ("b", 17)];
    let mut decoder = Decoder::new(tables([
        table(1, "full", ReplicaIdentity::Full, &columns),
        table(2, "keyed", ReplicaIdentity::Default, &columns[..3]),
    ]));
    let mut last = None;
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(u16::from_be_bytes(*length))));
        input = rest;
        match decoder.decode(Bytes::copy_from_slice(body)) {
            Ok(Decoded::Begin { .. }) => last = None,
            Ok(Decoded::Event(event)) => check(&event, &mut last),
            Ok(Decoded::Events(events)) => events.iter().for_each(|event| check(event, &mut last)),
            Ok(_) => {}
            Err(error) => {
                assert!(error.to_string().len() > error.code().len());
                decoder.reset();
            }
        }
    }
}

/// Any text as any type: the first byte chooses the type.
pub(crate) fn json(input: &[u8]) {
    let types = types();
    let Some((&choice, text)) = input.split_first() else { return };
    let Some(pg_type) = types.get(usize::from(choice) % types.len()) else { return };
    // The decoder has checked that text is UTF-8, and the server that json is JSON.
    if std::str::from_utf8(text).is_ok() && (*pg_type != PgType::Json || is_json(text)) {
        write(pg_type, text, true);
    }
}

/// Positions grow within a transaction, and images have a datum for each column.
fn check(event: &Event, last: &mut Option<u32>) {
    assert!(last.is_none_or(|last| last < event.position.ordinal));
    *last = Some(event.position.ordinal);
    match &event.change {
        Change::Row(row) => [&row.old, &row.new].into_iter().flatten().for_each(|tuple| check_tuple(row, tuple)),
        Change::Message(message) => assert!(is_json(&message.payload)),
        Change::Truncate(_) => {}
        Change::SnapshotEnd(_) => panic!("no stream has it"),
    }
}

fn check_tuple(row: &RowChange, tuple: &Tuple) {
    assert_eq!(tuple.values().len(), row.table.columns.len());
    for (column, datum) in row.table.columns.iter().zip(tuple.values()) {
        if let Some(text) = datum.text() {
            assert!(std::str::from_utf8(text).is_ok());
            write(&column.pg_type, text, column.pg_type != PgType::Json);
        }
    }
}

fn write(pg_type: &PgType, text: &[u8], must_be_json: bool) {
    let mut out = Vec::new();
    match json::write(pg_type, text, &mut out) {
        Ok(_) => {
            assert!(!must_be_json || is_json(&out));
            assert!(out.iter().all(|byte| *byte >= 0x20));
        }
        Err(error) => assert!(out.is_empty() && !error.code().is_empty()),
    }
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

fn types() -> Vec<PgType> {
    let array = |element, delimiter| PgType::Array(Arc::new(ArrayType { element, delimiter }));
    let composite = |types: &[PgType]| {
        let attributes = types.iter().enumerate().map(|(index, pg_type)| (format!("a{index}"), pg_type.clone()));
        PgType::Composite(Arc::new(CompositeType { name: "c".into(), attributes: attributes.collect() }))
    };
    let pair = composite(&[PgType::Int4, PgType::Text]);
    let deep = composite(&[array(pair.clone(), b','), array(PgType::Float8, b','), pair.clone()]);
    vec![
        PgType::Bool,
        PgType::Int4,
        PgType::Int8,
        PgType::Numeric,
        PgType::Float8,
        PgType::Text,
        PgType::Uuid,
        PgType::Date,
        PgType::Time,
        PgType::Timestamp,
        PgType::TimestampTz,
        PgType::Json,
        PgType::Bytea,
        PgType::Enum(Arc::new(EnumType { name: "e".into(), labels: Vec::new() })),
        PgType::Other,
        array(PgType::Int4, b','),
        array(PgType::Text, b','),
        array(PgType::Other, b';'),
        array(array(PgType::Text, b','), b','),
        pair,
        array(deep.clone(), b','),
        deep,
        composite(&[]),
    ]
}
