//! A queue that may fold: the latest event of each row stays, in its own place, and a client that resumes does not miss it.

use std::collections::BTreeMap;
use std::time::Instant;

use proptest::prelude::*;

use super::super::{Bound, Close, Limits, Overflow, Pushed, Queue, Route, RowNews};
use super::delivery::is_leeway;
use super::{position, seconds, text};
use crate::model::{Datum, Lsn, Operation, OperationId, Position, RowChange, RowKey, Tuple};
use crate::payload::{Body, Frame};

/// The content of a frame, read back from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    operation: String,
    at: u32,
    events: u64,
}

/// What is pushed: an event of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Stays(u8),
    Leaves(u8),
    /// Not about one row.
    Fence,
}

fn queue(bytes_max: usize) -> (Queue, Instant) {
    (Queue::new(&Limits { queue_bytes_max: bytes_max, ..Limits::default() }), Instant::now())
}

fn key(n: u8) -> RowKey {
    let tuple = Tuple::new([Datum::Text(vec![b'k', n].into())]);
    RowKey::of(&RowChange { table: table(), operation: Operation::Insert, old: None, new: Some(tuple) }).unwrap()
}

fn table() -> std::sync::Arc<crate::model::Table> {
    use crate::model::{Access, Collation, Column, PgType, ReplicaIdentity, Table, TableName};
    let name = TableName { schema: "public".into(), name: "t".into() };
    let column = Column {
        name: "id".into(),
        field: "id".into(),
        type_oid: 25,
        pg_type: PgType::Other,
        not_null: true,
        collation: Collation::C,
        folding: crate::model::Folding::Simple,
    };
    std::sync::Arc::new(Table {
        oid: 1,
        name,
        type_name: "T".into(),
        field: "t".into(),
        columns: Box::new([column]),
        key: Box::new([0]),
        tenant: None,
        public: true,
        access: Access::default(),
        identity: ReplicaIdentity::Full,
        comment: None,
    })
}

fn push(queue: &mut Queue, operation: &str, at: u32, news: News, filler: usize, now: Instant) -> Pushed {
    let body =
        format!(r#"{{"data":"{}","extensions":{{"rowcast":{{"cursor":{at},"operation":"X"}}}}}}"#, "x".repeat(filler));
    let (id, frame) = (OperationId::from(operation), Frame::next(Frame::next_head(operation), &Body::whole(body)));
    let row = |key, leaves| RowNews { key, leaves };
    match news {
        News::Stays(n) => queue.push_row(&id, frame, Some(position(at)), row(key(n), false), now),
        News::Leaves(n) => queue.push_row(&id, frame, Some(position(at)), row(key(n), true), now),
        News::Fence => queue.push(&id, frame, Some(position(at)), now),
    }
}

fn take(queue: &mut Queue, frames_max: usize) -> Vec<Told> {
    let mut frames = Vec::new();
    queue.take(frames_max, usize::MAX, &mut frames);
    let read = |frame: &Frame| {
        let text = text(frame);
        assert_eq!(text.len(), frame.len());
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rowcast = &told["payload"]["extensions"]["rowcast"];
        let events = rowcast.get("coalesced").map_or(1, |events| events.as_u64().unwrap());
        let at = u32::try_from(rowcast["cursor"].as_u64().unwrap()).unwrap();
        Told { operation: told["id"].as_str().unwrap().to_owned(), at, events }
    };
    frames.iter().map(read).collect()
}

/// Pushes until the queue has folded, and says at which event that was.
fn until_folded(queue: &mut Queue, from: u32, now: Instant, news: impl Fn(u32) -> News) -> u32 {
    for at in from..from + 10_000 {
        let pushed = push(queue, "a", at, news(at), 10, now);
        assert!(!matches!(pushed, Pushed::Overflow(_)), "it was to fold");
        if queue.take_folded() > 0 {
            return at;
        }
    }
    panic!("it does not fold");
}

fn told(queue: &mut Queue) -> Vec<(u32, u64)> {
    take(queue, usize::MAX).into_iter().map(|told| (told.at, told.events)).collect()
}

#[test]
fn nothing_is_folded_while_there_is_room() {
    let (mut queue, now) = queue(100_000);
    for at in 1..=20 {
        let _ = push(&mut queue, "a", at, News::Stays(1), 10, now);
    }
    assert_eq!(told(&mut queue), (1..=20).map(|at| (at, 1)).collect::<Vec<_>>());
    assert_eq!(queue.take_folded(), 0);
}

#[test]
fn at_the_bound_the_latest_of_each_row_stays_at_its_own_place_and_says_for_how_many_it_stands() {
    let (mut queue, now) = queue(10_000);
    let last = until_folded(&mut queue, 1, now, |at| News::Stays(u8::from(at % 10 == 0)));
    let tens = last / 10;
    let told = told(&mut queue);
    assert_eq!(told.len(), 2);
    assert_eq!(told.iter().map(|(_, events)| *events).sum::<u64>(), u64::from(last));
    assert!(told.contains(&(tens * 10, u64::from(tens))), "{told:?} of {last}");
    assert!(told.is_sorted(), "{told:?}");
}

#[test]
fn what_was_taken_is_never_stood_for() {
    let (mut queue, now) = queue(10_000);
    let _ = push(&mut queue, "a", 1, News::Stays(1), 10, now);
    assert_eq!(told(&mut queue), [(1, 1)]);
    let last = until_folded(&mut queue, 2, now, |_| News::Stays(1));
    assert_eq!(told(&mut queue), [(last, u64::from(last - 1))]);
}

#[test]
fn a_row_that_left_is_always_told_and_what_came_back_is_told_behind_it() {
    let (mut queue, now) = queue(10_000);
    let _ = push(&mut queue, "a", 1, News::Stays(1), 10, now);
    let _ = push(&mut queue, "a", 2, News::Leaves(1), 10, now);
    let last = until_folded(&mut queue, 3, now, |_| News::Stays(1));
    assert_eq!(told(&mut queue), [(2, 2), (last, u64::from(last - 2))]);
}

#[test]
fn of_a_row_that_comes_and_goes_the_last_leave_and_what_followed_it_are_told() {
    let (mut queue, now) = queue(10_000);
    let last = until_folded(&mut queue, 1, now, |at| if at % 2 == 0 { News::Leaves(1) } else { News::Stays(1) });
    let told = told(&mut queue);
    let leave = last - last % 2;
    let rest = if last % 2 == 0 { None } else { Some((last, 1)) };
    assert_eq!(told, [(leave, u64::from(leave))].into_iter().chain(rest).collect::<Vec<_>>());
}

#[test]
fn nothing_is_folded_across_what_is_not_about_one_row() {
    let (mut queue, now) = queue(10_000);
    for (at, news) in [(1, News::Stays(1)), (2, News::Stays(1)), (3, News::Fence), (4, News::Stays(1))] {
        let _ = push(&mut queue, "a", at, news, 10, now);
    }
    let last = until_folded(&mut queue, 5, now, |_| News::Stays(1));
    assert_eq!(told(&mut queue), [(2, 2), (3, 1), (last, u64::from(last - 3))]);
}

#[test]
fn an_operation_is_not_stood_for_by_another_and_its_fence_is_its_own() {
    let (mut queue, now) = queue(10_000);
    let _ = push(&mut queue, "b", 1, News::Stays(1), 10, now);
    let _ = push(&mut queue, "a", 2, News::Stays(1), 10, now);
    let _ = push(&mut queue, "b", 3, News::Fence, 10, now);
    let last = until_folded(&mut queue, 4, now, |_| News::Stays(1));
    assert_eq!(told(&mut queue), [(1, 1), (3, 1), (last, u64::from(last - 2))]);
}

#[test]
fn what_does_not_fit_even_so_ends_as_it_would_have_and_nothing_stays() {
    let (mut queue, now) = queue(5_000);
    let overflow = (1..1000).find_map(|at| match push(&mut queue, "a", at, News::Stays((at % 250) as u8), 10, now) {
        Pushed::Overflow(overflow) => Some((at, overflow)),
        _ => None,
    });
    let (last, overflow) = overflow.unwrap();
    assert_eq!(overflow, Overflow { bound: Bound::Bytes, dropped: last as usize, resume_after: None });
    assert_eq!((queue.len(), queue.bytes(), queue.room()), (0, 0, 0));
}

#[test]
fn the_cursor_of_an_overflow_is_behind_everything_that_was_folded_into_what_was_dropped() {
    let (mut queue, now) = queue(10_000);
    for at in 1..=3 {
        let _ = push(&mut queue, "a", at, News::Stays(at as u8), 10, now);
    }
    assert_eq!(take(&mut queue, 2).len(), 2);
    let last = until_folded(&mut queue, 4, now, |_| News::Stays(3));
    let overflow = (last + 1..).find_map(|at| match push(&mut queue, "a", at, News::Fence, 100, now) {
        Pushed::Overflow(overflow) => Some(overflow),
        _ => None,
    });
    assert_eq!(overflow.unwrap().resume_after, Some(position(2)));
}

#[test]
fn a_row_that_is_told_again_and_again_is_never_too_old_and_one_that_is_not_ends_the_session() {
    let (mut queue, now) = queue(1_000_000);
    for second in 0..60 {
        let at = u32::try_from(second).unwrap() + 1;
        assert!(!matches!(push(&mut queue, "a", at, News::Stays(1), 10, now + seconds(second)), Pushed::Overflow(_)));
        assert_eq!(queue.overdue(now + seconds(second)), None, "after {second} s");
    }
    assert!(queue.len() <= 12 && queue.take_folded() > 40);
    let _ = push(&mut queue, "a", 100, News::Stays(2), 10, now + seconds(60));
    let _ = push(&mut queue, "a", 101, News::Stays(1), 10, now + seconds(70));
    assert_eq!(queue.overdue(now + seconds(70)), None);
    let overflow = queue.overdue(now + seconds(71)).unwrap();
    assert_eq!((overflow.bound, queue.len()), (Bound::Age, 0));
}

#[test]
fn a_client_that_reads_nothing_is_found_by_the_ping_that_waits_although_its_rows_are_never_old() {
    let (mut queue, now) = queue(1_000_000);
    let _ = queue.transmit(Route::Control, Frame::whole(super::PING), now);
    let found = (0..60).find(|second| {
        let at = u32::try_from(*second).unwrap() + 1;
        let _ = push(&mut queue, "a", at, News::Stays(1), 10, now + seconds(*second));
        queue.overdue(now + seconds(*second)).is_some()
    });
    assert_eq!(found, Some(11));
}

#[test]
fn many_frames_of_few_rows_cost_no_more_than_few_frames() {
    let (mut queue, now) = queue(200_000);
    let mut largest = 0;
    for at in 1..=100_000 {
        let _ = push(&mut queue, "a", at, News::Stays((at % 50) as u8), 100, now);
        largest = largest.max(queue.bytes());
    }
    assert!(largest <= 200_000 && queue.closing().is_none());
    let told = told(&mut queue);
    assert_eq!(told.iter().map(|(_, events)| events).sum::<u64>(), 100_000);
    assert_eq!(told.last().map(|(at, _)| *at), Some(100_000));
}

#[test]
fn a_flush_of_what_was_folded_goes_out_whole() {
    let (mut queue, now) = queue(10_000);
    let last = until_folded(&mut queue, 1, now, |_| News::Stays(1));
    queue.finish(Close::shutting_down());
    assert_eq!(told(&mut queue), [(last, u64::from(last))]);
}

/// What a reader knows of the rows of one operation.
type State = BTreeMap<u8, u32>;

fn apply(state: &mut State, at: u32, news: News) {
    match news {
        News::Stays(n) => _ = state.insert(n, at),
        News::Leaves(n) => _ = state.remove(&n),
        News::Fence => state.clear(),
    }
}

fn news() -> impl Strategy<Value = News> {
    prop_oneof![
        12 => (0_u8..6).prop_map(News::Stays),
        3 => (0_u8..6).prop_map(News::Leaves),
        1 => Just(News::Fence),
    ]
}

/// A step: push to an operation with so much filler, or take so many.
fn steps() -> impl Strategy<Value = Vec<(usize, News, usize, Option<usize>)>> {
    prop::collection::vec((0_usize..3, news(), 0_usize..200, prop::option::weighted(0.15, 0_usize..4)), 1..400)
}

proptest! {
    /// A reader that applies what it receives, and resumes from any cursor of it, ends with the rows as they are. Cursors
    /// rise, leaves and fences are delivered, and every event is counted once.
    #[test]
    fn a_reader_that_resumes_from_any_cursor_knows_every_row(bytes_max in 2000_usize..8000, steps in steps()) {
        let (mut queue, now) = queue(bytes_max);
        let (mut pushed, mut taken): (Vec<(usize, News)>, Vec<Told>) = (vec![], vec![]);
        let mut overflow = None;
        for (operation, news, filler, frames) in steps {
            pushed.push((operation, news));
            let at = u32::try_from(pushed.len()).unwrap();
            match push(&mut queue, ["a", "b", "c"][operation], at, news, filler, now) {
                Pushed::Overflow(found) => { overflow = Some(found); break }
                Pushed::Shut => prop_assert!(false, "shut without a reason"),
                Pushed::First | Pushed::More => {
                    prop_assert!(queue.bytes() <= bytes_max || queue.len() == 1 || is_leeway(&queue, bytes_max));
                }
            }
            taken.extend(frames.map(|frames| take(&mut queue, frames)).unwrap_or_default());
        }
        taken.extend(take(&mut queue, usize::MAX));
        prop_assert_eq!(queue.bytes(), 0);
        if overflow.is_none() {
            prop_assert_eq!(taken.iter().map(|told| told.events).sum::<u64>(), pushed.len() as u64);
        }
        for operation in 0..3 {
            check_operation(operation, &pushed, &taken, overflow)?;
        }
    }
}

fn check_operation(
    operation: usize,
    pushed: &[(usize, News)],
    taken: &[Told],
    overflow: Option<Overflow>,
) -> Result<(), TestCaseError> {
    let all: BTreeMap<u32, News> =
        (1..).zip(pushed).filter(|(_, (of, _))| *of == operation).map(|(n, (_, news))| (n, *news)).collect();
    let told: Vec<u32> =
        taken.iter().filter(|told| told.operation == ["a", "b", "c"][operation]).map(|told| told.at).collect();
    prop_assert!(told.is_sorted_by(|a, b| a < b), "cursors rise: {told:?}");
    prop_assert!(told.iter().all(|at| all.contains_key(at)), "delivered as what it is");
    let mut rows = State::new();
    for (at, news) in &all {
        apply(&mut rows, *at, *news);
    }
    if overflow.is_none() {
        let fences = all.iter().filter(|(_, news)| **news == News::Fence);
        prop_assert!(fences.clone().all(|(at, _)| told.contains(at)), "what is not about one row is delivered");
        let mut state = State::new();
        for at in &told {
            apply(&mut state, *at, all[at]);
        }
        prop_assert_eq!(&state, &rows, "who reads to the end knows every row");
    }
    // A reader that was cut off behind any frame resumes from its cursor.
    let mut state = State::new();
    for at in &told {
        apply(&mut state, *at, all[at]);
        let mut resumed = state.clone();
        all.range(at + 1..).for_each(|(at, news)| apply(&mut resumed, *at, *news));
        prop_assert_eq!(&resumed, &rows, "resumed after {}", at);
    }
    // And with the cursor of the close, if it had one.
    if let Some(Position { commit_lsn: Lsn(cursor), .. }) = overflow.and_then(|overflow| overflow.resume_after) {
        let cursor = u32::try_from(cursor).unwrap();
        all.range(cursor + 1..).for_each(|(at, news)| apply(&mut state, *at, *news));
        prop_assert_eq!(&state, &rows, "resumed after the close's {}", cursor);
    }
    Ok(())
}
