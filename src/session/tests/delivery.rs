//! The queue alone: what it keeps, for how long, in which order, and what it says when it gives up.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Bound, Close, Limits, Overflow, Pushed, Queue, Route};
use super::{cursor, position, seconds, text};
use crate::model::{OperationId, Position};
use crate::payload::Frame;

/// A queue for so many bytes, and the time.
fn queue(bytes_max: usize) -> (Queue, Instant) {
    (Queue::new(&Limits { queue_bytes_max: bytes_max, ..Limits::default() }), Instant::now())
}

fn frame(text: &str) -> Frame {
    Frame::whole(text.to_owned())
}

fn id(id: &str) -> OperationId {
    id.into()
}

fn take(queue: &mut Queue, frames_max: usize, bytes_max: usize) -> Vec<String> {
    let mut frames = Vec::new();
    queue.take(frames_max, bytes_max, &mut frames);
    frames.iter().map(text).collect()
}

/// A few large frames of a client that keeps reading.
pub(super) fn is_leeway(queue: &Queue, bytes_max: usize) -> bool {
    queue.len() <= 16 && queue.bytes() <= 16 * bytes_max
}

/// Pushes frames at these positions until the queue overflows.
fn overflow(queue: &mut Queue, now: Instant, positions: impl IntoIterator<Item = Option<Position>>) -> Overflow {
    for position in positions.into_iter().take(1000) {
        if let Pushed::Overflow(overflow) = queue.push(&id("a"), frame("x"), position, now) {
            return overflow;
        }
    }
    panic!("no overflow");
}

#[test]
fn only_the_first_frame_wakes_the_sender() {
    let (mut queue, now) = queue(10_000);
    assert_eq!(queue.push(&id("a"), frame("1"), None, now), Pushed::First);
    assert_eq!(queue.transmit(Route::Control, frame("2"), now), Pushed::More);
    assert_eq!(queue.push(&id("a"), frame("3"), None, now), Pushed::More);
    assert_eq!(take(&mut queue, 10, 1000), ["2", "1", "3"]);
    assert_eq!(queue.transmit(Route::Control, frame("4"), now), Pushed::First);
}

#[test]
fn control_overtakes_data_and_each_lane_keeps_its_order() {
    let (mut queue, now) = queue(10_000);
    for n in ["d1", "d2"] {
        let _ = queue.push(&id("a"), frame(n), None, now);
    }
    for n in ["c1", "c2"] {
        let _ = queue.transmit(Route::Control, frame(n), now);
    }
    let _ = queue.transmit(Route::Operation(id("b")), frame("d3"), now);
    assert_eq!(take(&mut queue, 10, 1000), ["c1", "c2", "d1", "d2", "d3"]);
}

#[test]
fn a_batch_is_bounded_in_frames_and_in_bytes_but_never_empty_when_there_is_something() {
    let (mut queue, now) = queue(10_000);
    for _ in 0..6 {
        let _ = queue.push(&id("a"), frame("12345"), None, now);
    }
    assert_eq!(take(&mut queue, 2, 1000).len(), 2);
    assert_eq!(take(&mut queue, 10, 6).len(), 2);
    assert_eq!(take(&mut queue, 10, 1).len(), 1);
    assert_eq!(take(&mut queue, 0, 1).len(), 0);
    assert_eq!(take(&mut queue, 10, 1000).len(), 1);
    assert_eq!((queue.len(), queue.bytes(), queue.is_empty()), (0, 0, true));
}

#[test]
fn at_the_bound_in_bytes_everything_is_freed_at_once_and_nothing_more_comes_in() {
    let (mut queue, now) = queue(1000);
    let overflow = overflow(&mut queue, now, (1..).map(|n| Some(position(n))));
    assert_eq!((overflow.bound, overflow.resume_after), (Bound::Bytes, None));
    assert_eq!((queue.len(), queue.bytes(), queue.closing()), (0, 0, None));
    assert_eq!(queue.push(&id("a"), frame("x"), None, now), Pushed::Shut);
    assert_eq!(queue.transmit(Route::Control, frame("x"), now), Pushed::Shut);
    queue.finish(Close::slow_client(None));
    assert_eq!(queue.closing(), Some(&Close::slow_client(None)));
}

#[test]
fn a_frame_larger_than_any_bound_passes_alone() {
    let (mut queue, now) = queue(1000);
    let large = "x".repeat(50_000);
    assert_eq!(queue.push(&id("a"), frame(&large), Some(position(1)), now), Pushed::First);
    assert_eq!(queue.overdue(now + seconds(10)), None);
    assert!(matches!(queue.push(&id("a"), frame("y"), Some(position(2)), now), Pushed::Overflow(_)));
}

#[test]
fn a_few_large_frames_exceed_the_bound_while_the_sender_comes_for_them() {
    let (mut queue, mut now) = queue(1000);
    let large = "x".repeat(3000);
    for n in 1..100 {
        for _ in 0..2 {
            assert!(!matches!(queue.push(&id("a"), frame(&large), Some(position(n)), now), Pushed::Overflow(_)));
            now += Duration::from_secs(1);
        }
        assert_eq!(queue.overdue(now), None);
        assert_eq!(take(&mut queue, 2, 100_000).len(), 2);
    }
    for _ in 0..2 {
        let _ = queue.push(&id("a"), frame(&large), Some(position(100)), now);
    }
    let overflow = Overflow { bound: Bound::Bytes, dropped: 2, resume_after: Some(position(99)) };
    assert_eq!(queue.overdue(now + seconds(2)), None);
    assert_eq!(queue.overdue(now + seconds(3)), Some(overflow), "nobody comes for them");
}

#[test]
fn large_frames_are_few_and_together_no_more_than_sixteen_times_the_bound() {
    for (length, fit) in [(5000, 3), (200, 16)] {
        let (mut queue, now) = queue(1000);
        let large = "x".repeat(length);
        let mut held = 0;
        while !matches!(queue.push(&id("a"), frame(&large), None, now), Pushed::Overflow(_)) {
            held += 1;
            assert!(queue.bytes() <= 16_000);
        }
        assert_eq!(held, fit);
    }
}

#[test]
fn at_the_bound_in_age_a_push_overflows() {
    let (mut queue, now) = queue(10_000);
    let _ = queue.push(&id("a"), frame("1"), Some(position(1)), now);
    assert_eq!(queue.push(&id("a"), frame("2"), Some(position(2)), now + seconds(10)), Pushed::More);
    let late = now + seconds(10) + Duration::from_millis(1);
    let overflow = Overflow { bound: Bound::Age, dropped: 3, resume_after: None };
    assert_eq!(queue.push(&id("a"), frame("3"), Some(position(3)), late), Pushed::Overflow(overflow));
}

#[test]
fn housekeeping_finds_a_stalled_client_that_gets_no_more_events() {
    let (mut queue, now) = queue(10_000);
    let _ = queue.push(&id("a"), frame("1"), Some(position(1)), now);
    let _ = take(&mut queue, 1, 1);
    let _ = queue.push(&id("a"), frame("2"), Some(position(2)), now + seconds(5));
    assert_eq!(queue.oldest_age(now + seconds(7)), Some(seconds(2)));
    assert_eq!(queue.overdue(now + seconds(15)), None);
    let overflow = Overflow { bound: Bound::Age, dropped: 1, resume_after: Some(position(1)) };
    assert_eq!(queue.overdue(now + seconds(16)), Some(overflow));
    assert_eq!(queue.overdue(now + seconds(17)), None, "told once");
}

#[test]
fn an_empty_queue_is_never_overdue() {
    let (mut queue, now) = queue(10_000);
    assert_eq!((queue.oldest_age(now), queue.overdue(now + seconds(100_000))), (None, None));
}

#[test]
fn a_clock_that_seems_to_run_backwards_is_no_age() {
    let (mut queue, now) = queue(10_000);
    let _ = queue.push(&id("a"), frame("1"), None, now + seconds(5));
    assert_eq!(queue.oldest_age(now), Some(seconds(0)));
}

#[test]
fn the_cursor_is_that_of_the_last_frame_that_was_taken_not_of_one_that_was_queued() {
    let (mut queue, now) = queue(1000);
    for n in 1..=3 {
        let _ = queue.push(&id("a"), frame("x"), Some(position(n)), now);
    }
    let _ = take(&mut queue, 2, 1000);
    let overflow = overflow(&mut queue, now, (4..).map(|n| Some(position(n))));
    assert_eq!(overflow.resume_after.map(cursor).as_deref(), Some("0/2-0"));
}

#[test]
fn an_event_of_which_a_sibling_has_not_had_its_frame_is_not_behind_us() {
    let (mut queue, now) = queue(2000);
    for n in 1..=2 {
        for sibling in ["a", "b", "c"] {
            let _ = queue.push(&id(sibling), frame("x"), Some(position(n)), now);
        }
    }
    let _ = take(&mut queue, 5, 1000);
    assert_eq!(overflow(&mut queue, now, (3..).map(|n| Some(position(n)))).resume_after, Some(position(1)));
}

#[test]
fn no_cursor_is_told_when_one_operation_replays_behind_another() {
    let (mut queue, now) = queue(1000);
    for (operation, n) in [("live", 100), ("replay", 10), ("live", 101)] {
        let _ = queue.push(&id(operation), frame("x"), Some(position(n)), now);
    }
    let _ = take(&mut queue, 3, 1000);
    assert_eq!(overflow(&mut queue, now, (102..).map(|n| Some(position(n)))).resume_after, None);
}

#[test]
fn no_cursor_is_told_beside_an_operation_that_may_be_behind_without_having_queued_anything() {
    for (others, behind, due) in [(1, false, Some(2)), (1, true, None), (0, true, Some(2))] {
        let (mut queue, now) = queue(1000);
        queue.begins(behind);
        (0..others).for_each(|_| queue.begins(false));
        for n in 1..=2 {
            let _ = queue.push(&id("live"), frame("x"), Some(position(n)), now);
        }
        let _ = take(&mut queue, 2, 1000);
        let overflow = overflow(&mut queue, now, (3..).map(|n| Some(position(n))));
        assert_eq!(overflow.resume_after, due.map(position), "{others} {behind}");
    }
}

#[test]
fn nobody_resumes_in_a_new_history_from_what_was_told_or_queued_in_the_last_one() {
    let (mut queue, now) = queue(1000);
    for n in 101..=102 {
        let _ = queue.push(&id("a"), frame("x"), Some(position(n)), now);
    }
    let _ = take(&mut queue, 1, 1000);
    queue.forget_positions();
    let mut positions = Vec::new();
    queue.take_each(1, 1000, |_, position| positions.push(position));
    assert_eq!(positions, [None], "it is delivered all the same");
    assert_eq!(overflow(&mut queue, now, (1..).map(|n| Some(position(n)))).resume_after, None);
}

#[test]
fn no_cursor_is_told_when_a_frame_without_one_is_lost() {
    let (mut queue, now) = queue(1000);
    let _ = queue.push(&id("a"), frame("x"), Some(position(1)), now);
    let _ = take(&mut queue, 1, 1000);
    assert_eq!(overflow(&mut queue, now, [None].into_iter().cycle()).resume_after, None);
}

#[test]
fn a_purge_takes_one_operation_s_frames_and_their_bytes() {
    let (mut queue, now) = queue(10_000);
    for operation in ["a", "b", "a"] {
        let _ = queue.push(&id(operation), frame(operation), None, now);
    }
    let _ = queue.transmit(Route::Control, frame("pong"), now);
    let before = queue.bytes();
    assert_eq!((queue.purge("a"), queue.purge("a"), queue.len()), (2, 0, 2));
    assert!(queue.bytes() < before);
    assert_eq!((take(&mut queue, 10, 1000), queue.bytes()), (vec!["pong".to_owned(), "b".to_owned()], 0));
}

#[test]
fn a_close_that_flushes_waits_for_the_last_frame_and_takes_none() {
    let (mut queue, now) = queue(10_000);
    let _ = queue.push(&id("a"), frame("last"), None, now);
    queue.finish(Close::shutting_down());
    assert_eq!(queue.push(&id("a"), frame("late"), None, now), Pushed::Shut);
    assert_eq!((queue.closing(), queue.is_empty()), (Some(&Close::shutting_down()), false));
    assert_eq!((take(&mut queue, 10, 1000), queue.is_empty()), (vec!["last".to_owned()], true));
}

#[test]
fn a_close_at_once_frees_the_queue_and_the_first_close_stays() {
    let (mut queue, now) = queue(10_000);
    let _ = queue.push(&id("a"), frame("x"), None, now);
    queue.finish(Close::expired());
    queue.finish(Close::shutting_down());
    assert_eq!((queue.closing(), queue.len(), queue.bytes()), (Some(&Close::expired()), 0, 0));
}

#[test]
fn a_burst_is_not_paid_for_afterwards() {
    let (mut queue, now) = queue(usize::MAX);
    assert!(size_of::<Queue>() < 512, "an idle session is small");
    for _ in 0..10_000 {
        let _ = queue.push(&id("a"), frame("x"), None, now);
    }
    let _ = take(&mut queue, usize::MAX, usize::MAX);
    assert!(queue.room() <= 64, "room for {} frames is kept", queue.room());
}

proptest! {
    /// Operations at one pace, any interleaving of pushes and takes, any purge: the bound holds, the count of bytes is
    /// exact, what is taken is in order, and the cursor of an overflow leaves nothing behind.
    #[test]
    fn nothing_is_lost_before_the_cursor_and_nothing_is_kept_beyond_the_bound(
        bytes_max in 200_usize..4000,
        steps in prop::collection::vec((0_u8..10, 0_usize..3, 0_usize..300), 1..200),
    ) {
        let (mut queue, now) = queue(bytes_max);
        let (mut pushed, mut taken, mut purged) = (Vec::new(), Vec::new(), Vec::new());
        let mut at = 1;
        for (kind, operation, size) in steps {
            let name = ["a", "b", "c"][operation];
            match kind {
                0..=5 => {
                    at += u32::from(kind > 2);
                    let tag = format!("{} {name} {}", pushed.len(), "x".repeat(size));
                    let frame_bytes = tag.len();
                    pushed.push((position(at), tag.clone()));
                    match queue.push(&id(name), frame(&tag), Some(position(at)), now) {
                        Pushed::Overflow(overflow) => {
                            prop_assert_eq!((queue.len(), queue.bytes()), (0, 0));
                            let cursor = overflow.resume_after.unwrap_or_default();
                            for (position, tag) in pushed.iter().filter(|(position, _)| *position <= cursor) {
                                prop_assert!(taken.contains(tag) || purged.contains(tag), "{:?} is lost", position);
                            }
                            return Ok(());
                        }
                        Pushed::First => prop_assert_eq!(queue.len(), 1),
                        Pushed::More => prop_assert!(queue.bytes() <= bytes_max.max(frame_bytes) || is_leeway(&queue, bytes_max)),
                        Pushed::Shut => prop_assert!(false, "shut without a reason"),
                    }
                }
                6..=8 => taken.extend(take(&mut queue, operation, size)),
                _ => {
                    let gone = |tag: &&String| {
                        tag.split(' ').nth(1) == Some(name) && !taken.contains(*tag) && !purged.contains(*tag)
                    };
                    let gone: Vec<String> = pushed.iter().map(|(_, tag)| tag).filter(gone).cloned().collect();
                    purged.extend(gone);
                    queue.purge(name);
                }
            }
        }
        taken.extend(take(&mut queue, usize::MAX, usize::MAX));
        let expected = pushed.iter().map(|(_, tag)| tag).filter(|tag| taken.contains(tag));
        prop_assert!(expected.eq(taken.iter()), "out of order");
        prop_assert_eq!(queue.bytes(), 0);
        prop_assert_eq!(taken.len() + purged.len(), pushed.len());
    }
}
