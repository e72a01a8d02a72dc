//! Rules 74-79: how a connection ends.

use super::super::{Close, Input, Limits, Phase, Pushed, Retry};
use super::{INIT, Pair, next, seconds};

#[test]
fn rule_74_a_reset_frees_every_operation() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.subscribe("b");
    pair.input(Input::Disconnected);
    assert_eq!((pair.engine.released.len(), pair.running_ids().len()), (2, 0));
    assert_eq!((pair.session.phase(), pair.session.poll_timeout()), (Phase::Closed, None));
}

#[test]
fn rule_74_a_reset_after_the_close_frees_nothing_twice() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.input(Input::Binary);
    pair.input(Input::Disconnected);
    pair.input(Input::Disconnected);
    assert_eq!((pair.engine.released.len(), pair.session.phase()), (1, Phase::Closed));
}

#[test]
fn rule_75_a_half_open_socket_is_freed_by_the_ping_timeout() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    pair.advance(seconds(24));
    assert_eq!((pair.code(), pair.engine.released.len()), (Some(3008), 1));
    assert_eq!(pair.closed.as_ref().map(|close| close.code().stock_client()), Some(Retry::Always));
    assert!(pair.queue.is_empty(), "nobody reads it");
}

#[test]
fn rule_76_no_action_but_releases_follows_a_disconnect() {
    let mut pair = Pair::ready();
    let now = pair.now;
    pair.subscribe("a");
    for input in [Input::Text(super::PING), Input::Text(&super::subscribe("b")), Input::Disconnected, Input::Binary] {
        pair.session.handle(input, now);
    }
    pair.settle();
    assert_eq!((pair.hears().len(), pair.code()), (0, None));
    assert_eq!((pair.running_ids().len(), pair.engine.released.len()), (0, 2));
}

#[test]
fn rule_77_shutdown_sends_what_is_queued_and_closes_1001_without_completing_anybody() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    let _ = pair.next("a", 1);
    pair.input(Input::GoingAway(Close::shutting_down()));
    assert_eq!((pair.code(), pair.engine.released.len()), (Some(1001), 1));
    assert!(pair.queue.closing().is_some_and(Close::flush) && !pair.queue.is_empty());
    assert_eq!(pair.hears(), [next("a", 1)]);
    assert_eq!(pair.closed.as_ref().map(|close| close.code().stock_client()), Some(Retry::Always));
}

#[test]
fn rule_77_shutdown_does_not_wait_for_ever_for_a_client_that_does_not_read() {
    let mut pair = Pair::ready();
    pair.subscribe("a");
    let _ = pair.next("a", 1);
    pair.input(Input::GoingAway(Close::shutting_down()));
    pair.advance(seconds(11));
    assert!(pair.queue.overdue(pair.now).is_some());
    assert_eq!(pair.queue.closing(), Some(&Close::shutting_down().at_once()));
    assert!(pair.queue.is_empty());
}

#[test]
fn rule_78_a_slow_client_closes_1013_with_the_last_delivered_cursor() {
    let mut pair = Pair::ready_with(Limits { queue_bytes_max: 2000, ..Limits::default() });
    pair.subscribe("a");
    let _ = (pair.next("a", 1), pair.next("a", 2));
    assert_eq!(pair.hears().len(), 2);
    let overflow = (3..1000).find_map(|n| match pair.next("a", n) {
        Pushed::Overflow(overflow) => Some(overflow),
        _ => None,
    });
    pair.too_slow(overflow.unwrap());
    assert_eq!((pair.code(), pair.reason()), (Some(1013), "slow client; resume after 0/2-0"));
    assert_eq!((pair.queue.len(), pair.queue.bytes(), pair.engine.released.len()), (0, 0, 1));
}

#[test]
fn rule_78_a_flood_of_pings_that_nobody_reads_the_answers_of_ends_like_any_slow_client() {
    let mut pair = Pair::ready();
    for _ in 0..1_000_000 {
        pair.says(super::PING);
        if pair.code().is_some() {
            break;
        }
    }
    assert_eq!((pair.code(), pair.reason()), (Some(1013), "slow client"));
}

#[test]
fn rule_79_expired_credentials_close_4403_which_the_stock_client_retries() {
    let mut pair = Pair::new();
    pair.says(INIT);
    let expires = Some(pair.now + seconds(5));
    pair.input(Input::Accepted { ack_payload: None, expires });
    pair.subscribe("a");
    let _ = pair.next("a", 1);
    pair.advance(seconds(4));
    assert_eq!(pair.code(), None);
    pair.advance(seconds(1));
    assert_eq!((pair.code(), pair.reason()), (Some(4403), "Forbidden: credentials expired"));
    assert!(pair.queue.is_empty(), "what was seen with them may not be delivered without them");
}

#[test]
fn rule_79_credentials_that_are_already_expired_get_no_further_than_the_ack() {
    let mut pair = Pair::new();
    pair.says(INIT);
    let expires = Some(pair.now);
    pair.input(Input::Accepted { ack_payload: None, expires });
    pair.advance(seconds(0));
    assert_eq!(pair.code(), Some(4403));
}

#[test]
fn the_first_close_is_the_only_one() {
    let mut pair = Pair::ready();
    pair.input(Input::GoingAway(Close::restarting()));
    pair.input(Input::GoingAway(Close::overloaded()));
    pair.input(Input::Binary);
    pair.advance(seconds(3600));
    assert_eq!((pair.code(), pair.session.phase()), (Some(1012), Phase::Closing));
}
