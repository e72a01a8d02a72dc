//! Inputs that the fuzz targets start from and cases that they found, each run again.

use crate::decode::harness;
use crate::decode::wire::{Col, begin, commit, delete, insert, message, relation, text, truncate, update};
use bytes::Bytes;
use std::path::{Path, PathBuf};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/decode").join(target)
}

fn each(target: &str, run: impl Fn(&[u8])) {
    let mut count = 0;
    for entry in std::fs::read_dir(folder(target)).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}

#[test]
fn every_stream_of_the_corpus_is_decoded_or_refused() {
    each("pgoutput", harness::pgoutput);
}

#[test]
fn every_value_of_the_corpus_is_valid_json_or_refused() {
    each("json", harness::json);
}

/// `cargo test -- --ignored write_the_seeds`: the inputs that the fuzz targets start from.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_seeds() {
    for (name, stream) in streams() {
        let framed: Vec<u8> =
            stream.iter().flat_map(|body| [&(body.len() as u16).to_be_bytes()[..], body].concat()).collect();
        std::fs::write(folder("pgoutput").join(name), framed).unwrap();
    }
    for (choice, text) in VALUES {
        let name = format!("seed-{choice:02}-{}", text.len());
        std::fs::write(folder("json").join(name), [&[*choice][..], text.as_bytes()].concat()).unwrap();
    }
}

const COLUMNS: [(&str, u32); 8] =
    [("id", 20), ("t", 25), ("n", 1700), ("at", 1184), ("a", 1009), ("j", 3802), ("f", 701), ("b", 17)];

fn streams() -> Vec<(&'static str, Vec<Bytes>)> {
    let whole =
        ["1", "a\"b", "0.10", "2026-11-23 16:16:15.5+00", "{a,NULL,\"b c\"}", "{\"k\": 1}", "1e-7", "\\x00"].map(text);
    let key = [text("1"), Col::Null, Col::Null];
    let full = relation(1, "full", b'f', &COLUMNS);
    let keyed = relation(2, "keyed", b'd', &COLUMNS[..3]);
    let other = relation(3, "other", b'f', &COLUMNS);
    let mut untouched = whole;
    untouched[1] = Col::Unchanged;
    let publication = br#"{"topic": "a", "tenant": null, "payload": {"x": [1]}}"#;
    vec![
        (
            "seed-full",
            vec![
                begin(),
                full.clone(),
                insert(1, &whole),
                update(1, Some((b'O', &whole)), &untouched),
                delete(1, b'O', &whole),
                commit(),
            ],
        ),
        (
            "seed-keyed",
            vec![
                begin(),
                keyed.clone(),
                insert(2, &whole[..3]),
                update(2, None, &whole[..3]),
                update(2, Some((b'K', &key)), &whole[..3]),
                delete(2, b'K', &key),
                commit(),
            ],
        ),
        ("seed-truncate", vec![begin(), full.clone(), keyed, other.clone(), truncate(&[1, 3, 2]), commit()]),
        ("seed-partition", vec![begin(), full, other, delete(1, b'O', &whole), commit()]),
        ("seed-changed", vec![begin(), relation(1, "full", b'd', &COLUMNS[1..4]), insert(1, &whole[1..4]), commit()]),
        (
            "seed-messages",
            vec![
                message(false, "x", b""),
                begin(),
                message(true, "rowcast.publish", publication),
                message(true, "rowcast.catalog", b""),
                message(true, "rowcast.publish", b"{}"),
                Bytes::from_static(b"Y\0\0\0\x09public\0mood\0"),
                Bytes::from_static(b"O\0\0\0\0\0\0\0\x01name\0"),
                commit(),
            ],
        ),
    ]
}

/// The type's number in the harness, and a text.
const VALUES: &[(u8, &str)] = &[
    (0, "t"),
    (1, "-2147483648"),
    (2, "9223372036854775807"),
    (3, "-0.1000"),
    (4, "1.7976931348623157e+308"),
    (4, "NaN"),
    (5, "a\"b\\c\n\u{1}ä🦀"),
    (6, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    (7, "0044-03-15 BC"),
    (8, "16:16:15.123456"),
    (9, "2026-11-23 16:16:15.5"),
    (10, "2026-11-23 16:16:15+00"),
    (10, "0044-03-15 12:00:00+00:53:28 BC"),
    (11, "{\"a\" :\n[1, \"\\ud800\"]}"),
    (12, "\\x00ff"),
    (15, "[0:1][1:2]={{1,NULL},{3,4}}"),
    (16, "{\"a \\\"q\\\" \\\\\",NULL,x,\"\"}"),
    (17, "{(1,1),(0,0);(2,2),(1,1)}"),
    (18, "{\"{a,\\\"b \\\\\\\"\\\"}\",NULL}"),
    (19, "(1,\"a \"\"b\"\" \\\\ c\")"),
    (20, "{\"(\\\"{\\\"\\\"(1,a)\\\"\\\"}\\\",\\\"{1,NaN}\\\",\\\"(1,b)\\\")\",NULL}"),
    (21, "(\"{\"\"(1,a)\"\",\"\"(,)\"\"}\",\"{1.5,NULL}\",\"(2,\"\"x,y\"\")\")"),
    (22, "()"),
];
