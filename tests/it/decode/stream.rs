//! Streams by hand: what the decoder makes of them, and what it refuses.

use crate::decode::wire::{
    COMMIT_LSN, Col, begin, commit, commit_at, delete, insert, message, relation, row, table, tables, text, truncate,
    update,
};
use bytes::Bytes;
use rowcast::decode::{DecodeError, Decoded, Decoder, Ignored};
use rowcast::model::{Change, Datum, Event, Lsn, Operation, Position, ReplicaIdentity, RowChange, Timestamp};
use std::sync::Arc;

const INT: u32 = 23;
const TEXT: u32 = 25;
const ORDERS: u32 = 1;
const ITEMS: u32 = 2;
const OTHER: u32 = 9;
const COLUMNS: &[(&str, u32)] = &[("id", INT), ("note", TEXT), ("status", TEXT)];

fn decoder() -> Decoder {
    Decoder::new(tables([
        table(ORDERS, "orders", ReplicaIdentity::Full, COLUMNS),
        table(ITEMS, "items", ReplicaIdentity::Default, COLUMNS),
    ]))
}

/// A decoder inside a transaction that has described `orders` (FULL), `items` (DEFAULT) and an unwatched table.
fn ready() -> Decoder {
    let mut decoder = decoder();
    for body in [
        begin(),
        relation(ORDERS, "orders", b'f', COLUMNS),
        relation(ITEMS, "items", b'd', COLUMNS),
        relation(OTHER, "other", b'd', &[("x", INT)]),
    ] {
        decoder.decode(body).unwrap();
    }
    decoder
}

fn event(decoded: Decoded) -> Arc<Event> {
    match decoded {
        Decoded::Event(event) => event,
        other => panic!("no event: {other:?}"),
    }
}

fn row_of(decoded: Decoded) -> RowChange {
    match &event(decoded).change {
        Change::Row(row) => row.clone(),
        other => panic!("no row: {other:?}"),
    }
}

fn datum(text: &'static str) -> Datum {
    Datum::Text(Bytes::from_static(text.as_bytes()))
}

fn order(id: &str) -> [Col<'_>; 3] {
    [text(id), text("note"), Col::Null]
}

#[test]
fn a_transaction_becomes_numbered_events_between_begin_and_commit() {
    let mut decoder = decoder();
    let lsn = Lsn(COMMIT_LSN);
    let committed_at = Timestamp(946_684_801_000_000);
    assert_eq!(decoder.decode(begin()), Ok(Decoded::Begin { commit_lsn: lsn, xid: 727, committed_at }));
    assert_eq!(decoder.decode(relation(ORDERS, "orders", b'f', COLUMNS)), Ok(Decoded::Nothing));
    for ordinal in 0..2 {
        let event = event(decoder.decode(insert(ORDERS, &order("1"))).unwrap());
        assert_eq!(event.position, Position { commit_lsn: lsn, ordinal: ordinal * Event::NUMBERS });
        assert_eq!((event.xid, event.committed_at), (727, committed_at));
    }
    let end_lsn = Lsn(COMMIT_LSN + 48);
    assert_eq!(decoder.decode(commit()), Ok(Decoded::Commit { commit_lsn: lsn, end_lsn }));
}

#[test]
fn values_share_the_message_that_brought_them() {
    let mut decoder = ready();
    let body = insert(ORDERS, &order("42"));
    let frame = body.as_ptr_range();
    let row = row_of(decoder.decode(body.clone()).unwrap());
    let id = row.new.as_ref().unwrap().get(0).text().unwrap();
    assert_eq!(id, b"42");
    assert!(frame.contains(&id.as_ptr()));
}

#[test]
fn an_update_of_a_full_identity_has_both_images_and_its_nulls_are_null() {
    let row = row_of(ready().decode(update(ORDERS, Some((b'O', &order("1"))), &order("2"))).unwrap());
    assert_eq!(row.operation, Operation::Update);
    assert_eq!(row.old.unwrap().values(), [datum("1"), datum("note"), Datum::Null]);
    assert_eq!(row.new.unwrap().values(), [datum("2"), datum("note"), Datum::Null]);
}

#[test]
fn a_key_image_does_not_turn_what_it_lacks_into_null() {
    let old = [text("1"), Col::Null, Col::Null];
    let row = row_of(ready().decode(update(ITEMS, Some((b'K', &old)), &order("2"))).unwrap());
    assert_eq!(row.old.unwrap().values(), [datum("1"), Datum::Absent, Datum::Absent]);
    let row = row_of(ready().decode(delete(ITEMS, b'K', &old)).unwrap());
    assert_eq!(row.old.unwrap().values(), [datum("1"), Datum::Absent, Datum::Absent]);
    assert_eq!(row.new, None);
}

#[test]
fn an_update_without_an_old_image_has_none() {
    let row = row_of(ready().decode(update(ITEMS, None, &[text("1"), Col::Unchanged, text("s")])).unwrap());
    assert_eq!(row.old, None);
    assert_eq!(row.new.unwrap().values(), [datum("1"), Datum::Unchanged, datum("s")]);
}

#[test]
fn an_unchanged_value_is_filled_from_the_old_image_or_stays_unchanged() {
    let new = [text("1"), Col::Unchanged, Col::Unchanged];
    let row = row_of(ready().decode(update(ORDERS, Some((b'O', &order("1"))), &new)).unwrap());
    // The old status is NULL, and NULL is never TOASTed: such a message says nothing that may be concluded from.
    assert_eq!(row.new.unwrap().values(), [datum("1"), datum("note"), Datum::Unchanged]);
}

#[test]
fn ordinals_do_not_depend_on_who_watches_what() {
    let mut decoder = ready();
    assert_eq!(decoder.decode(insert(OTHER, &[text("1")])), Ok(Decoded::Nothing));
    assert_eq!(decoder.decode(message(true, "somebody", b"\xff")), Ok(Decoded::Nothing));
    assert_eq!(decoder.decode(message(false, "rowcast.publish", b"{}")), Ok(Decoded::Nothing));
    let Decoded::Events(events) = decoder.decode(truncate(&[ITEMS, OTHER, ORDERS])).unwrap() else { panic!() };
    let ordinals: Vec<_> = events.iter().map(|event| event.position.ordinal).collect();
    assert_eq!(ordinals, [4, 8]);
    assert_eq!(event(decoder.decode(insert(ORDERS, &order("1"))).unwrap()).position.ordinal, 10);
}

#[test]
fn a_truncate_tells_of_watched_tables_alone() {
    let mut decoder = ready();
    assert_eq!(decoder.decode(truncate(&[OTHER])), Ok(Decoded::Nothing));
    let event = event(decoder.decode(truncate(&[OTHER, ITEMS])).unwrap());
    assert!(matches!(&event.change, Change::Truncate(table) if table.oid == ITEMS));
    assert_eq!(event.operation(), Operation::Truncate);
}

#[test]
fn a_publication_keeps_its_payload_as_it_was_written() {
    let content =
        br#" {"payload": {"n": 12345678901234567890.10, "n": 1}, "tenant": "a\"b", "topic": "alerts", "x": 1} "#;
    let event = event(ready().decode(message(true, "rowcast.publish", content)).unwrap());
    let Change::Message(message) = &event.change else { panic!() };
    assert_eq!((&*message.topic, message.tenant.as_deref()), ("alerts", Some("a\"b")));
    assert_eq!(message.payload, &br#"{"n": 12345678901234567890.10, "n": 1}"#[..]);
}

#[test]
fn a_malformed_publication_is_set_aside_and_stops_nothing() {
    let mut decoder = ready();
    for content in [
        &b""[..],
        b"[]",
        b"{",
        br#"{"topic": "a", "payload": 1}"#,
        br#"{"topic": "a", "tenant": null}"#,
        br#"{"topic": null, "tenant": null, "payload": 1}"#,
        br#"{"topic": "a", "tenant": 5, "payload": 1}"#,
        br#"{"topic": "a", "tenant": null, "payload": 1} 2"#,
    ] {
        let answer = decoder.decode(message(true, "rowcast.publish", content)).unwrap();
        assert!(matches!(answer, Decoded::Ignored(Ignored::NotAPublication { .. })), "{answer:?}");
    }
    let answer = decoder.decode(message(true, "rowcast.publish", b"{\"topic\": \"\xff\"}")).unwrap();
    assert_eq!(answer, Decoded::Ignored(Ignored::NotUtf8));
    assert_eq!(event(decoder.decode(insert(ORDERS, &order("1"))).unwrap()).position.ordinal, 18);
}

#[test]
fn a_malformed_request_to_close_sessions_is_set_aside_and_stops_nothing() {
    let mut decoder = ready();
    let whole = br#"{"who": {"user_id": "1", "tenant_id": null, "role": null}, "disconnect": null, "sender": null}"#;
    assert!(
        matches!(decoder.decode(message(true, "rowcast.close", whole)), Ok(Decoded::Ending(position, _)) if position.ordinal == 0)
    );
    for content in [
        &b""[..],
        b"{}",
        b"\xff",
        br#"{"who": {"user_id": "1", "tenant_id": null}, "disconnect": null, "sender": null}"#,
        br#"{"who": {"user_id": "1", "tenant_id": null, "role": null}, "disconnect": null}"#,
        br#"{"who": {"user_id": "1", "tenant_id": null, "role": null}, "disconnect": null, "sender": null, "more": 1}"#,
        br#"{"who": {"user_id": 1, "tenant_id": null, "role": null}, "disconnect": null, "sender": null}"#,
        br#"{"who": {"user_id": "1", "tenant_id": null, "role": null}, "disconnect": {"code": 99999, "reason": ""}, "sender": null}"#,
    ] {
        let answer = decoder.decode(message(true, "rowcast.close", content)).unwrap();
        assert!(matches!(answer, Decoded::Ignored(Ignored::NotAnEnding { .. })), "{answer:?}");
    }
    let long = format!(
        r#"{{"who": {{"user_id": "{}", "tenant_id": null, "role": null}}, "disconnect": null, "sender": null}}"#,
        "x".repeat(8192)
    );
    let answer = decoder.decode(message(true, "rowcast.close", long.as_bytes())).unwrap();
    assert_eq!(answer, Decoded::Ignored(Ignored::EndingTooLong));
    assert_eq!(event(decoder.decode(insert(ORDERS, &order("1"))).unwrap()).position.ordinal, 10 * Event::NUMBERS);
}

#[test]
fn a_catalog_message_is_told() {
    assert_eq!(ready().decode(message(true, "rowcast.catalog", b"anything")), Ok(Decoded::CatalogChanged));
    let lost = ready().decode(message(true, "rowcast.catalog", br#"{"change" : "coverage", "oid" : 7}"#)).unwrap();
    assert!(matches!(lost, Decoded::ChangesLost { table: 7, .. }), "{lost:?}");
}

#[test]
fn a_shape_that_differs_is_told_once_and_its_rows_lack_what_differs() {
    let mut decoder = ready();
    let changed = [("note", TEXT), ("added", INT), ("id", INT), ("status", INT)];
    let described = relation(ORDERS, "orders", b'f', &changed);
    assert_eq!(decoder.decode(described.clone()), Ok(Decoded::SchemaChanged { oid: ORDERS }));
    assert_eq!(decoder.decode(described.clone()), Ok(Decoded::Nothing));
    let wire = insert(ORDERS, &[text("n"), text("7"), text("1"), text("5")]);
    let row = row_of(decoder.decode(wire.clone()).unwrap());
    assert_eq!(row.new.unwrap().values(), [datum("1"), datum("n"), Datum::Absent]);

    let columns = [("id", INT), ("note", TEXT), ("status", INT), ("added", INT)];
    decoder.set_tables(tables([table(ORDERS, "orders", ReplicaIdentity::Full, &columns)]));
    assert_eq!(decoder.decode(described), Ok(Decoded::Nothing));
    let row = row_of(decoder.decode(wire).unwrap());
    assert_eq!(row.new.unwrap().values(), [datum("1"), datum("n"), datum("5"), datum("7")]);
    assert_eq!(decoder.decode(insert(ITEMS, &order("1"))), Ok(Decoded::Nothing), "no longer watched");
}

#[test]
fn a_renamed_table_or_another_identity_is_a_changed_shape() {
    let mut decoder = ready();
    for described in [relation(ORDERS, "renamed", b'f', COLUMNS), relation(ORDERS, "orders", b'd', COLUMNS)] {
        assert_eq!(decoder.decode(described), Ok(Decoded::SchemaChanged { oid: ORDERS }));
    }
    // Back to what the catalog says: nothing to read again.
    assert_eq!(decoder.decode(relation(ORDERS, "orders", b'f', COLUMNS)), Ok(Decoded::Nothing));
}

#[test]
fn an_image_marked_whole_is_not_believed_while_the_catalog_says_otherwise() {
    let row = row_of(ready().decode(delete(ITEMS, b'O', &[text("1"), text("n"), Col::Null])).unwrap());
    assert_eq!(row.old.unwrap().values(), [datum("1"), datum("n"), Datum::Absent]);
}

#[test]
fn a_partition_without_full_identity_makes_its_roots_old_images_partial() {
    const LEAF: u32 = 10;
    let mut decoder = ready();
    let key_only = || delete(ORDERS, b'O', &[text("1"), Col::Null, Col::Null]);
    let status = |decoder: &mut Decoder| row_of(decoder.decode(key_only()).unwrap()).old.unwrap().get(2).clone();
    let mut reversed = COLUMNS.to_vec();
    reversed.reverse();
    let describe = |decoder: &mut Decoder, identity| {
        decoder.decode(relation(ORDERS, "orders", b'f', COLUMNS)).unwrap();
        decoder.decode(Bytes::from_static(b"Y\0\0\0\x09public\0mood\0")).unwrap();
        decoder.decode(relation(LEAF, "orders_1", identity, &reversed)).unwrap();
    };
    assert_eq!(status(&mut decoder), Datum::Null);
    describe(&mut decoder, b'd');
    decoder.decode(truncate(&[ORDERS])).unwrap();
    assert_eq!(status(&mut decoder), Datum::Null, "described for a TRUNCATE, not as a partition");
    describe(&mut decoder, b'd');
    assert_eq!(status(&mut decoder), Datum::Absent);
    assert_eq!(status(&mut decoder), Datum::Absent, "for as long as the partition is so");
    describe(&mut decoder, b'f');
    assert_eq!(status(&mut decoder), Datum::Null);
}

#[test]
fn a_reset_forgets_the_transaction_and_keeps_the_tables() {
    let mut decoder = ready();
    decoder.decode(insert(ORDERS, &order("1"))).unwrap();
    decoder.reset();
    decoder.decode(begin()).unwrap();
    assert_eq!(event(decoder.decode(insert(ORDERS, &order("1"))).unwrap()).position.ordinal, 0);
}

#[test]
fn messages_out_of_their_order_are_refused_by_name() {
    let code = |decoder: &mut Decoder, body| decoder.decode(body).unwrap_err().code();
    let outside = "DECODE_OUTSIDE_TRANSACTION";
    let mut idle = ready();
    idle.decode(commit()).unwrap();
    assert_eq!(code(&mut idle, commit()), outside);
    assert_eq!(code(&mut idle, insert(ORDERS, &order("1"))), outside);
    assert_eq!(code(&mut idle, truncate(&[ORDERS])), outside);
    assert_eq!(code(&mut idle, message(true, "rowcast.catalog", b"")), outside);
    assert_eq!(code(&mut idle, Bytes::from_static(b"O\0\0\0\0\0\0\0\x01name\0")), outside);
    assert_eq!(idle.decode(message(false, "rowcast.catalog", b"")), Ok(Decoded::Nothing));

    assert_eq!(ready().decode(begin()), Err(DecodeError::NestedBegin { open: Lsn(COMMIT_LSN) }));
    let (begin, commit) = (Lsn(COMMIT_LSN), Lsn(5));
    assert_eq!(ready().decode(commit_at(5)), Err(DecodeError::CommitMismatch { begin, commit }));
    assert_eq!(ready().decode(insert(8, &[])), Err(DecodeError::UnknownRelation { oid: 8 }));
    assert_eq!(ready().decode(truncate(&[ORDERS, 8])), Err(DecodeError::UnknownRelation { oid: 8 }));
}

#[test]
fn rows_that_do_not_fit_are_refused_by_name() {
    let code = |body| ready().decode(body).unwrap_err().code();
    assert_eq!(code(insert(ORDERS, &[text("1")])), "DECODE_COLUMN_COUNT");
    assert_eq!(code(insert(ORDERS, &[Col::Text(b"\xc3\x28"), Col::Null, Col::Null])), "DECODE_NOT_UTF8");
    let mark = "DECODE_UNKNOWN_MARK";
    assert_eq!(code(row(b'I', ORDERS, &[(b'O', &order("1"))])), mark);
    assert_eq!(code(row(b'D', ORDERS, &[(b'N', &order("1"))])), mark);
    assert_eq!(code(row(b'U', ORDERS, &[(b'O', &order("1")), (b'O', &order("1"))])), mark);
    assert_eq!(code(Bytes::from_static(b"S\0\0\0\x01\x01")), mark);
    assert_eq!(code(Bytes::from_static(b"I\0\0\0\x01N\0\x03b\0\0\0\x01\x01nn")), "DECODE_BINARY_COLUMN");
    assert_eq!(code(Bytes::new()), "DECODE_TRUNCATED");
    let long = Bytes::from_static(b"I\0\0\0\x01N\0\x03t\x7f\xff\xff\xff1nn");
    let truncated = DecodeError::Truncated { what: "a column's value", at: 13, needed: 0x7fff_ffff, left: 3 };
    assert_eq!(ready().decode(long), Err(truncated));
    assert_eq!(code(Bytes::from_static(b"I\0\0\0\x01N\0\x03t\xff\xff\xff\xff1nn")), "DECODE_NEGATIVE_LENGTH");
    assert_eq!(code(Bytes::from_static(b"I\0\0\0\x01N\xff\xff")), "DECODE_NEGATIVE_LENGTH");
    assert_eq!(code(Bytes::from_static(b"T\xff\xff\xff\xff\0")), "DECODE_NEGATIVE_LENGTH");
    assert_eq!(code(Bytes::from_static(b"R\0\0\0\x01public")), "DECODE_UNTERMINATED");
    assert_eq!(code(Bytes::from_static(b"R\0\0\0\x01\0t\0z\0\0")), mark);
}

/// Each message cut at each place, and with one byte too many.
#[test]
fn a_message_of_another_length_is_always_refused() {
    for whole in [
        begin(),
        commit(),
        relation(ORDERS, "orders", b'f', COLUMNS),
        insert(ORDERS, &order("1")),
        update(ORDERS, Some((b'O', &order("1"))), &order("2")),
        delete(ORDERS, b'O', &order("1")),
        truncate(&[ORDERS, ITEMS]),
        message(true, "rowcast.publish", b"{}"),
        Bytes::from_static(b"Y\0\0\0\x09public\0mood\0"),
        Bytes::from_static(b"O\0\0\0\0\0\0\0\x01name\0"),
    ] {
        for length in 0..whole.len() {
            assert!(ready().decode(whole.slice(..length)).is_err(), "{whole:?} cut at {length}");
        }
        let longer: Bytes = [&whole[..], b"\0"].concat().into();
        assert_eq!(ready().decode(longer).unwrap_err().code(), "DECODE_TRAILING", "{whole:?}");
    }
}
